"""The worst finding is the first sentence, and the same one on every face of an audit."""

import html
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from app.numbers.audit import read_audit
from training.bias.evidence import Evidence
from training.bias.report.answers import YES
from training.bias.report.audit import audit, verdict_of
from training.bias.report.first_screen import first_screen
from training.bias.report.page import write_page
from training.bias.report.values import BiasReport
from training.evaluate.terminal import show

NAMES = np.array(["not covid", "covid"])


def shortcut_reader() -> Evidence:
    """A model whose score is mostly the source: AUROC 0.94 where that goes with the label, 0.5 at a source it never saw."""
    rng = np.random.default_rng(1)
    films = 600
    source = rng.choice(["north", "east", "west"], films, p=[0.4, 0.4, 0.2])
    usual = np.select([source == "north", source == "east"], [0.97, 0.03], 0.5)
    target = (rng.random(films) < usual).astype(int)
    evidence = np.select([source == "north", source == "east"], [1.5, -1.5], 0.0) + 0.05 * (target - 0.5)
    score = 1 / (1 + np.exp(-(evidence + rng.normal(size=films))))
    table = pd.DataFrame(
        {
            "file": [f"f{i}" for i in range(films)],
            "patient": [f"p{i}" for i in range(films)],
            "source": source,
            "split": np.where(source == "west", "external", "test"),
            "target": NAMES[target],
            "score": score,
            "prediction": NAMES[(score >= 0.5).astype(int)],
        }
    )
    training = pd.DataFrame({"patient": range(200), "source": ["north"] * 100 + ["east"] * 100})
    training["target"] = np.r_[["covid"] * 90, ["not covid"] * 10, ["covid"] * 10, ["not covid"] * 90]
    about = {"positive": "covid", "method": "erm", "model": "m", "seed": 0, "synthetic": False, "splits": ["test"]}
    about |= {"threshold": 0.5, "temperature": 1.0, "operating_point": "youden", "left_out": 0}
    about["training_used_source_labels"] = False
    return Evidence("run", about, "covid", table, rng.normal(size=(films, 6)), {}, training)


@pytest.fixture(scope="module")
def report() -> BiasReport:
    about = {
        "notice": "for research", "made": "now", "films": "made to order", "resamples": 200, "permutations": 200, "seed": 0,
        "synthetic": True, "versions": {"python": "3"},
    }  # fmt: skip
    return audit([shortcut_reader()], about, resamples=200, permutations=200)


def test_unseen_sources_and_the_intact_films_make_the_headline(report: BiasReport) -> None:
    assert report.verdict is not None
    works, unseen, follows = (report.verdict.answer(key, "run") for key in ("works", "unseen", "follows"))
    assert works.answer == YES and works.estimate > 0.9, "the films must show the pattern that this test is about"
    assert unseen.answer != YES and unseen.estimate < 0.6
    assert follows.answer == YES and follows.estimate > 0.7
    worst, second, *_ = report.verdict.headline.split("; ")
    assert worst.startswith("It is not shown to work at a hospital it never saw: AUROC from 0.9")
    assert second.startswith("the score follows the source: AUROC ")
    assert "no check" not in report.verdict.headline and "nothing" not in report.verdict.headline.lower()


def test_every_face_says_the_same_sentence(report: BiasReport, tmp_path: Path) -> None:
    assert report.verdict is not None
    headline = report.verdict.headline
    write_page(report, tmp_path / "report.html")
    assert headline in html.unescape((tmp_path / "report.html").read_text(encoding="utf-8"))
    terminal = io.StringIO()
    show(report, tmp_path, ["report.html"], Console(file=terminal, width=80))
    assert headline in " ".join(terminal.getvalue().split())
    found = read_audit(json.dumps(report.as_json())).only(["run"])
    assert found.verdict is not None and first_screen(found.verdict).headline == headline
    # The card of a run is written from the verdict of this run alone.
    assert first_screen(verdict_of(report.runs)).headline == headline
