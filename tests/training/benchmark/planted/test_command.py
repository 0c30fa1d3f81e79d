"""The command from its flags to its tables, on phantom films as a user's own."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from training.benchmark import __main__ as benchmark
from training.benchmark.planted import execution
from training.console.interruption import EXIT_SAVED, InterruptedTrainingError
from training.run.index import run_index

pytestmark = pytest.mark.trains

SMALL = ["--target", "normal,pneumonia", "--rho", "0.9", "--model", "test_resnet", "--img-size", "32", "--epochs", "1"]
METHODS = ["--method", "erm", "end:sampler=balanced"]


@pytest.fixture(autouse=True)
def no_cohort_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("END_CXR_DATA", raising=False)


def command(own_films: Path, place: Path, *more: str) -> list[str]:
    return ["planted", "--data-dir", str(own_films), *SMALL, *METHODS, "--output", str(place), *more]


def copied(own_films: Path, folder: Path) -> tuple[Path, pd.DataFrame]:
    """A folder of the same films, and its table, to be written to it with changes."""
    shutil.copytree(own_films, folder)
    return folder, pd.read_csv(folder / "metadata.csv")


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in file.read_text().splitlines()]


def words(text: str) -> str:
    """Without line breaks."""
    return " ".join(text.split())


def test_it_trains_records_and_does_not_train_again(
    own_films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "here" / "record.jsonl"
    ours = command(own_films, tmp_path / "out", "--record", str(record))
    benchmark.main([*ours, "--seeds", "1"])
    shown = words(capsys.readouterr().out)
    assert "Films of clinic alone, without far: their own shortcuts would mix with the planted one" in shown
    assert "seed 0, rho 0.9, end:sampler=balanced (3 of 3, about 1 min left)" in shown
    assert "truth (rho 0.5)" in shown and "pneumonia against normal; planted" in shown

    lines = lines_of(record)
    assert [(line["rho"], line["method"], line["variant"]) for line in lines] == [
        (0.5, "erm", ""), (0.9, "erm", ""), (0.9, "end", "sampler=balanced"),
    ]  # fmt: skip
    assert (
        not any(str(place) in record.read_text() for place in (tmp_path, own_films)) and "DOE" not in record.read_text()
    )
    runs = {entry.name: entry for entry in run_index(tmp_path / "out")}
    assert [re.sub(r"-\w{8}-", "-", name) for name in runs] == [
        "rho-0.5/rho-0.5-seed-0-erm-test_resnet-s0", "rho-0.9/rho-0.9-seed-0-end-test_resnet-s0",
        "rho-0.9/rho-0.9-seed-0-erm-test_resnet-s0",
    ]  # fmt: skip
    for line, name in zip(lines, [list(runs)[i] for i in (0, 2, 1)], strict=True):
        scored = pd.read_parquet(runs[name].folder / "predictions.parquet")
        test = scored[scored["split"] == "test"]
        assert line["test"]["logit"] == pytest.approx(test["logit"].tolist(), abs=6e-4)
        assert test.groupby("patient")["source"].nunique().eq(2).all(), "every test patient under both signatures"
        assert set(test["patient"]).isdisjoint(scored["patient"][scored["split"] != "test"])
        report = json.loads((runs[name].folder / "report.json").read_text())["runs"][0]["metrics"]["test"]
        assert line["auroc"] == report["auroc"] and line["leak"] == report["leak"]
        right = sum(map(int, line["test"]["right"])) / len(test)
        assert right == pytest.approx(report["accuracy"])
    with Image.open(record.with_suffix(".png")) as page:
        assert page.width > 3 * 32 and page.height > 4 * 32

    trained = []
    real = execution.run
    monkeypatch.setattr(execution, "run", lambda job, *rest: trained.append(job.name) or real(job, *rest))
    benchmark.main([*ours, "--seeds", "2"])
    assert trained == ["seed 1, rho 0.5, truth", "seed 1, rho 0.9, erm", "seed 1, rho 0.9, end:sampler=balanced"]
    assert lines_of(record)[:3] == lines and "mean over 2 seeds" in words(capsys.readouterr().out)
    first, second = (
        set(map(tuple, zip(line["test"]["patient"], line["test"]["source"], strict=True))) for line in lines[:2]
    )
    assert first == second and lines_of(record)[3]["test"]["positive"] == lines[0]["test"]["positive"]

    benchmark.main(["planted", "--show", "--record", str(record)])
    assert "mean over 2 seeds" in words(capsys.readouterr().out) and len(trained) == 3

    with pytest.raises(SystemExit):
        benchmark.main([*ours, "--epochs", "2"])
    assert "with epochs 1, not 2: give another --record" in capsys.readouterr().err


def test_a_training_that_is_stopped_goes_on(
    own_films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = command(own_films, tmp_path, "--seeds", "1")
    record, real = tmp_path / "record.jsonl", execution.run

    def stopped(job: Any, *rest: Any) -> dict[str, Any]:
        if job.rho == 0.9:
            raise InterruptedTrainingError("stopped by SIGTERM; the same command resumes it")
        return real(job, *rest)

    monkeypatch.setattr(execution, "run", stopped)
    with pytest.raises(SystemExit) as ended:
        benchmark.main(ours)
    assert ended.value.code == EXIT_SAVED and len(lines_of(record)) == 1
    record.write_text(record.read_text() + '{"design": "pla')  # and a line cut short
    monkeypatch.setattr(execution, "run", real)
    benchmark.main(ours)
    assert len(lines_of(record)) == 3

    record.write_text("")  # a record that is lost is made from the runs that are there
    monkeypatch.setattr("training.loop.obtain.train", lambda *_: pytest.fail("trained again"))
    benchmark.main(ours)
    assert [line["rho"] for line in lines_of(record)] == [0.5, 0.9, 0.9]


def test_settings_are_chosen_without_the_test_patients(
    own_films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, table = copied(own_films, tmp_path / "split")
    number = table["patient_id"].str[-3:].astype(int)
    table["split"] = np.select([number < 10, number < 30], ["test", "validation"], "train")
    table.to_csv(folder / "metadata.csv", index=False)
    ours = command(folder, tmp_path / "out", "--method", "end", "--seeds", "1")
    benchmark.main([*ours, "--choose"])
    made = [pd.read_csv(file) for file in (tmp_path / "out" / "cohorts").glob("*/metadata.csv")]
    assert len(made) == 2 and len(lines_of(tmp_path / "out" / "record.jsonl")) == 3
    for cohort in made:
        assert set(cohort["split"]) == {"train", "validation", "test"}
        assert not set(cohort["line"]) & set(np.flatnonzero(number < 10) + 2)

    with pytest.raises(SystemExit):
        benchmark.main([*ours, "--choose", "--real-sources"])
    assert "leave --real-sources out" in words(capsys.readouterr().err)


def test_real_sources_are_drawn_and_nothing_is_planted(
    own_films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, table = copied(own_films, tmp_path / "three")
    number, positive = table["patient_id"].str[-3:].astype(int), table["label"] == "pneumonia"
    usual = [
        "east" if is_positive == (n % 20 < 14) else "west" for n, is_positive in zip(number, positive, strict=True)
    ]
    table["source"] = pd.Series(usual).where(number < 110, "far")  # east has mostly pneumonia, west mostly not
    table[number < 130].to_csv(folder / "metadata.csv", index=False)
    ours = ["planted", "--data-dir", str(folder), *SMALL, "--method", "end", "--real-sources", "--seeds", "1"]
    ours[ours.index("0.9")] = "0.8"
    benchmark.main([*ours, "--external-sources", "far", "--output", str(tmp_path / "out")])
    shown = words(capsys.readouterr().out)
    assert "real sources, each one's own label: east pneumonia, west normal" in shown
    assert "AUROC on sources never seen, rho 0.8" in shown
    line = lines_of(tmp_path / "out" / "record.jsonl")[1]
    assert line["design"] == "real sources" and line["external"]["sources"] == ["far"]
    assert not (tmp_path / "out" / "record.png").exists()
    people = pd.DataFrame(
        {name: list(line["test"][name]) for name in ("patient", "source", "positive")}
    ).drop_duplicates()
    counts = pd.crosstab(people["source"], people["positive"])
    assert (counts["0"] == counts["1"]).all(), "as many patients of each label a source"


def test_a_training_that_diverges_is_an_answer(
    own_films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = command(own_films, tmp_path, "--seeds", "1")
    ours[ours.index("end:sampler=balanced")] = "erm:lr=1e30"
    benchmark.main(ours)
    lines = lines_of(tmp_path / "record.jsonl")
    assert "is not finite" in lines[2]["failed"] and "test" not in lines[2]
    assert str(tmp_path) not in lines[2]["failed"]
    assert "failed: erm:lr=1.0e+30, rho 0.9, seed 0: ce" in words(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rho", "0.5"], "--rho 0.5: must be above 0.5"),
        (["--rho", "0.999"], "training patients of class normal leaves none that breaks the rule"),
        (["--seeds", "0"], "--seeds 0: must be 1 or more"),
        (["--method", "ned"], "there is no method ned"),
        (["--method", "end:alpha=-1"], "--alpha -1"),
        (["--target", "normal"], "--target normal: name two labels"),
        (["--target", "covid,normal"], "write normal,covid"),
        (["--target", "normal,flu"], "no row has label 'flu'"),
        (["--sources", "moon"], "no film comes from 'moon'; sources are clinic, far"),
        (["--sources", "far"], "the test set has 4 patients of class normal: 10 are needed"),
        (["--external-sources", "far"], "--external-sources goes with --real-sources"),
        (["--real-sources"], "needs two sources of both classes, and there are 1 (far: 0 patients of class pneumonia"),
        (["--seed", "3"], "--seed: --seeds says how many"),
        (["--classes", "normal,pneumonia"], "--classes: --target names the two labels"),
        (["--redraw", "0.5"], "--redraw: each seed draws training patients anyway"),
        (["--dataset", "phantom"], "--data-dir"),
        (["--epochz", "3"], "did you mean --epochs?"),
        (["--show"], "holds no finished run"),
    ],
)
def test_mistakes_get_a_sentence_before_anything_is_trained(
    arguments: list[str], expected: str, own_films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(execution, "run", lambda *_: pytest.fail("trained"))
    with pytest.raises(SystemExit):
        benchmark.main(command(own_films, tmp_path, *arguments))
    assert expected in words(capsys.readouterr().err)
    assert not (tmp_path / "record.jsonl").exists()


def test_without_films_it_says_where_they_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        benchmark.main(["planted"])
    assert "planted needs films to plant into: give --data-dir" in capsys.readouterr().err
