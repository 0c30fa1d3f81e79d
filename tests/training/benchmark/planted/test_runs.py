"""Which runs there are, in which order, and when a record is of another study."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from training.benchmark.planted.runs import (
    Job,
    films_of,
    jobs_of,
    key_of,
    recorded,
    require_same,
    settings_of,
    whole_key_of,
)
from training.recipe.candidate import Candidate
from training.run.config import TrainConfig, configure

STUDY = {"design": "planted", "films": "00ff", "targets": ["normal", "pneumonia"], "own": {"site-a": "pneumonia"}}


@pytest.fixture
def given(tmp_path: Path) -> TrainConfig:
    return configure({"dataset": "covid", "method": "erm", "data_dir": tmp_path, "epochs": 3})


def line_of(job: Job, given: TrainConfig) -> dict[str, Any]:
    names = {"rho": job.rho, "seed": job.seed, "method": job.candidate.method, "variant": job.candidate.variant}
    return STUDY | names | {"settings": recorded(settings_of(job, given))}


def test_a_seed_is_a_whole_table() -> None:
    end = Candidate.parse("end:sampler=balanced")
    jobs = jobs_of([end, end], [0.9, 0.95], range(2))
    assert [(job.seed, job.rho, job.candidate.name) for job in jobs[:5]] == [
        (0, 0.5, "erm"), (0, 0.9, "erm"), (0, 0.9, end.name), (0, 0.95, "erm"), (0, 0.95, end.name),
    ]  # fmt: skip
    assert [job.seed for job in jobs] == [0] * 5 + [1] * 5
    assert len({job.key for job in jobs}) == 10
    assert jobs[0].name == "seed 0, rho 0.5, truth"


def test_a_line_tells_its_job_and_no_place(given: TrainConfig, tmp_path: Path) -> None:
    job = Job(Candidate.parse("end:sampler=balanced,alpha=2"), 0.9, 3)
    line = line_of(job, given.with_settings(weights=tmp_path / "weights.safetensors"))
    assert key_of(line) == job.key
    assert line["settings"]["sampler"] == "balanced" and line["settings"]["alpha"] == 2
    assert line["settings"]["weights"] == "weights.safetensors" and str(tmp_path) not in str(line)
    with pytest.raises(KeyError):
        key_of({"protocol": "short", "method": "erm", "variant": "", "rho": 0.9, "seed": 0})


@pytest.mark.parametrize("name", ["test", "leak", "targets"])
def test_a_finished_line_without_its_numbers_is_refused(name: str, given: TrainConfig) -> None:
    films = {"positive": "01", "follows": "10", "right": "11", "patient": [0, 1], "source": [0, 0], "logit": [0.1, -2]}
    job = Job(Candidate("end"), 0.9, 3)
    line = line_of(job, given) | {"leak": None, "test": films}
    assert whole_key_of(line) == job.key == whole_key_of(line_of(job, given) | {"failed": "NaN"})
    with pytest.raises(ValueError, match="different numbers of films"):
        whole_key_of(line | {"test": films | {"logit": [0.1]}})
    line.pop(name)
    with pytest.raises(KeyError):
        whole_key_of(line)


def test_another_study_is_told_from_this_one(given: TrainConfig) -> None:
    jobs = jobs_of([Candidate("end")], [0.9], range(2))
    lines = [line_of(job, given) for job in jobs]
    require_same(lines, jobs, given, STUDY)
    with pytest.raises(ValueError, match=r"of other films \(00ff, here 00aa\): give another --record"):
        require_same(lines, jobs, given, STUDY | {"films": "00aa"})
    with pytest.raises(ValueError, match=r"seed 0, rho 0\.9, end with alpha 0\.1, not 2\.0"):
        require_same(lines, jobs, configure(given.given | {"method": "end", "alpha": 2.0}), STUDY)
    with pytest.raises(ValueError, match="truth with epochs 3, not 4: give another --record"):
        require_same(lines, jobs, given.with_settings(epochs=4), STUDY)
    lines[0]["settings"].pop("epochs")  # a setting that an earlier version lacked
    require_same(lines[:1], jobs, given.with_settings(epochs=4), STUDY)


def test_films_of_a_line_have_no_name() -> None:
    scored = pd.DataFrame(
        {
            "patient": ["a9", "a9", "b2", "c1"],
            "source": ["site-b", "site-a", "site-a", "far"],
            "target": ["pneumonia", "pneumonia", "normal", "normal"],
            "prediction": ["pneumonia", "normal", "normal", "pneumonia"],
            "logit": [1.23456, -1.0, -2.0, 0.5],
        }
    )
    assert films_of(scored, "pneumonia", {"site-a": 1, "site-b": 0}) == {
        "patient": [0, 0, 1, 2],
        "sources": ["far", "site-a", "site-b"],
        "source": [2, 1, 1, 0],
        "positive": "1100",
        "follows": "0102",
        "right": "1010",
        "logit": [1.235, -1.0, -2.0, 0.5],
    }
