"""Leaving one source out: which sources, that finished folds stay, what is compared, and mistakes in words."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from datasets.film.preprocessing import Preprocessing
from datasets.phantom.cohort import load_phantom
from training.bias.numbers.uncertainty import Interval
from training.crossval import folds
from training.crossval.__main__ import main
from training.crossval.comparison import compare_sources, verdict
from training.crossval.folds import choose_sources
from training.run.config import parse

pytestmark = pytest.mark.trains

FAST = [
    "--dataset",
    "phantom",
    "--films",
    "300",
    "--rho",
    "0.8",
    "--model",
    "test_resnet",
    "--img-size",
    "32",
    "--epochs",
    "1",
]


def crossval(output: Path, *arguments: str) -> None:
    main([*FAST, "--output", str(output), *arguments])


def test_folds_are_trained_once_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--sources", "north", "--method", "erm", "--method", "end", "--alpha", "0.5")
    crossval(tmp_path, *arguments)
    shown = capsys.readouterr().out
    assert "SYNTHETIC" in shown and "not held out: east (not asked for)" in shown
    record = json.loads((tmp_path / "crossval.json").read_text())
    assert [row["part"] for row in record["rows"]] == ["north"] and record["methods"] == ["erm", "end"]
    runs = sorted((tmp_path / "without-north").iterdir())
    assert [run.name for run in runs] == ["phantom-end-test_resnet-s0", "phantom-erm-test_resnet-s0"]
    settings = yaml.safe_load((runs[0] / "config.yaml").read_text())
    assert settings["external_sources"] == "north" and settings["alpha"] == 0.5
    tables = [pd.read_parquet(run / "predictions.parquet") for run in runs]
    assert (tables[0]["patient"] == tables[1]["patient"]).all(), "one key for all folds"
    external = tables[0]["split"] == "external"
    assert set(tables[0]["source"][external]) == {"north"} and "north" not in set(tables[0]["source"][~external])
    assert set(tables[0]["patient"][external]).isdisjoint(tables[0]["patient"][~external])
    row = record["rows"][0]
    assert row["films"] == external.sum() and row["auroc"]["end"]["low"] < row["auroc"]["end"]["estimate"]
    assert set(row["against"]["end"]) == {"estimate", "low", "high", "p", "detectable", "verdict"}

    before = {run: (run / "model.safetensors").stat().st_mtime_ns for run in runs}
    crossval(tmp_path, *arguments)
    assert {run: (run / "model.safetensors").stat().st_mtime_ns for run in runs} == before
    assert sorted((tmp_path / "without-north").iterdir()) == runs
    assert json.loads((tmp_path / "crossval.json").read_text())["rows"] == record["rows"]


def test_sources_in_training_with_enough_patients_of_each_class() -> None:
    cohort = load_phantom(Preprocessing(32), rho=0.8, films=300)
    chosen, skipped = choose_sources(cohort, ())
    assert chosen == ["east", "north", "west"]
    assert skipped == dict.fromkeys(("harbour", "hill", "south"), "it is not in training anyway")
    assert choose_sources(cohort, ("hill", "east"))[0] == ["east", "hill"]
    scarce = cohort.without(
        dict.fromkeys(np.flatnonzero((cohort.table["source"] == "east") & (cohort.table["target"] == 1)), "")
    )
    assert choose_sources(scarce, ())[1]["east"] == "0 patients of class covid, 10 are needed"
    assert "east" in choose_sources(scarce, ("east",))[0], "what is asked for is done"
    with pytest.raises(ValueError, match="no film comes from 'moon'; sources are east, harbour"):
        choose_sources(cohort, ("moon",))


def test_pooling_reads_ranks_within_a_source_alone() -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(300) < 0.5
    scores = pd.DataFrame({"source": np.repeat(["a", "b"], 150), "row": range(300), "is_positive": positive})
    scores["patient"] = scores["row"].astype(str)
    for method, skill in (("erm", 0.3), ("end", 2.0)):
        for seed in (0, 1):
            scores[f"{method}:{seed}"] = skill * positive + rng.normal(size=300)
    rows = compare_sources(scores, ["erm", "end"])
    assert [row["part"] for row in rows] == ["a", "b", "pooled within sources"]
    assert all(row["against"]["end"]["verdict"] == "better" for row in rows)
    pairs = [row["auroc"]["end"]["estimate"] for row in rows]
    assert min(pairs[:2]) <= pairs[2] <= max(pairs[:2])
    assert rows[2]["against"]["end"]["detectable"] < min(row["against"]["end"]["detectable"] for row in rows[:2])
    moved = scores.copy()
    for method in ("erm", "end"):  # one source's models on another scale: only ranks within a source may count
        moved.loc[moved["source"] == "a", [f"{method}:0", f"{method}:1"]] -= 100
    again = compare_sources(moved, ["erm", "end"])
    assert again[2]["auroc"] == rows[2]["auroc"] and again[2]["against"] == rows[2]["against"]


def test_too_few_patients_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    scores = pd.DataFrame({"source": "a", "row": range(12), "is_positive": [True, False] * 6, "patient": range(12)})
    scores["erm:0"], scores["end:0"] = np.linspace(0, 1, 12), np.linspace(1, 0, 12)
    row = compare_sources(scores, ["erm", "end"])[0]
    assert row["auroc"]["erm"]["estimate"] is None and row["against"]["end"]["verdict"] == "cannot conclude"


def test_a_verdict_needs_both_the_interval_and_the_permutation() -> None:
    assert verdict(Interval(0.1, 0.01, 0.2), 0.01) == "better" and verdict(Interval(-0.1, -0.2, -0.01), 0.01) == "worse"
    assert verdict(Interval(0.1, 0.01, 0.2), 0.06) == verdict(Interval(0.1, -0.01, 0.2), 0.01) == "cannot conclude"


def test_flags_of_one_method_do_not_reach_another(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--epochs", "3", "--alpha", "1", "--form=absolute", "-b", "8", "--beta=2", "--amp"]
    erm = parse(line, ["erm", "end"])
    assert (erm.method, erm.epochs, erm.batch_size, erm.amp) == ("erm", 3, 8, True)
    end = erm.with_settings(method="end", seed=1)
    assert (end.parameters.alpha, end.parameters.form, end.parameters.beta) == (1, "absolute", 2)
    assert (end.seed, end.epochs, end.batch_size) == (1, 3, 8)
    assert end.with_settings(method="erm", seed=0) == erm
    with pytest.raises(SystemExit):
        parse(line, ["erm"])
    assert "--alpha belongs to --method end" in capsys.readouterr().err


def test_mistakes_get_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        crossval(tmp_path, "--sources", "moon")
    assert "no film comes from 'moon'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        crossval(tmp_path, "--epochz", "3")
    assert "did you mean --epochs?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        crossval(tmp_path, "--method", "irm")
    assert "invalid choice: 'irm'" in capsys.readouterr().err


def test_a_source_that_can_not_be_held_out_makes_the_command_fail_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = pd.DataFrame({"source": ["a", "a", "b"]})
    record = {"rows": [], "failed": {"c": "no film"}, "seeds": [0], "not_left_out": {}, "synthetic": False}
    monkeypatch.setattr(folds, "cross_validate", lambda options, console: (scores, dict(record)))
    monkeypatch.setattr(folds, "compare_sources", lambda scores, methods: [])
    with pytest.raises(SystemExit) as stopped:
        main(["--dataset", "phantom", "--output", str(tmp_path)])
    assert stopped.value.code == 1
    assert "error: 1 of 3 sources could not be held out: c" in capsys.readouterr().err
    assert (tmp_path / "crossval.json").is_file()
