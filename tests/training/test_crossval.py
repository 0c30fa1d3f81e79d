"""Leaving one source out: which sources, that finished folds stay, what is compared, and mistakes in words."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from datasets.film.preprocessing import Preprocessing
from datasets.listed import quoted, split_names
from datasets.phantom.cohort import load_phantom
from tests.datasets.test_covid import good, load, write
from training.bias.numbers.compare import holm
from training.crossval import folds
from training.crossval.__main__ import main
from training.crossval.comparison import compare_held_out, show
from training.crossval.folds import choose_values
from training.crossval.lines import films_of, scores_of, seeds_in, whole_key_of
from training.recipe.candidate import Candidate
from training.run.config import parse
from training.run.record import append_line, read_lines

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
    arguments = ("--sources", "north", "--method", "erm", "end", "--alpha", "0.5", "--seeds", "0", "1")
    crossval(tmp_path, *arguments)
    shown = capsys.readouterr().out
    assert "SYNTHETIC" in shown and "not held out: east (not asked for)" in shown
    record = json.loads((tmp_path / "crossval.json").read_text())
    assert [row["part"] for row in record["rows"]] == ["north"] and record["methods"] == ["erm", "end"]
    runs = sorted((tmp_path / "without-north").iterdir())
    assert [run.name for run in runs] == [
        f"phantom-{method}-test_resnet-s{seed}-redraw0.8" for method in ("end", "erm") for seed in (0, 1)
    ]
    settings = yaml.safe_load((runs[0] / "config.yaml").read_text())
    assert settings["external_sources"] == "north" and settings["alpha"] == 0.5
    tables = [pd.read_parquet(run / "predictions.parquet") for run in runs]
    trained_on = [set(table["patient"][table["split"] == "train"]) for table in tables]
    assert trained_on[0] == trained_on[2] != trained_on[1], "one key for all folds, and one draw for both methods"
    held_out = [table[table["split"] == "external"]["patient"].tolist() for table in tables]
    assert held_out[0] == held_out[1] == held_out[2]
    external = tables[0]["split"] == "external"
    assert set(tables[0]["source"][external]) == {"north"} and "north" not in set(tables[0]["source"][~external])
    assert set(tables[0]["patient"][external]).isdisjoint(tables[0]["patient"][~external])
    row = record["rows"][0]
    assert row["films"] == external.sum() and row["auroc"]["end"]["low"] < row["auroc"]["end"]["estimate"]
    assert set(row["against"]["end"]) == {"estimate", "low", "high", "p", "p_holm", "detectable", "verdict"}

    lines = [json.loads(line) for line in (tmp_path / "record.jsonl").read_text().splitlines()]
    assert len(lines) == 4 and not {"data_dir", "output"} & set(lines[0]["settings"])

    before = {run: (run / "model.safetensors").stat().st_mtime_ns for run in runs}
    crossval(tmp_path, *arguments)
    assert {run: (run / "model.safetensors").stat().st_mtime_ns for run in runs} == before
    assert sorted((tmp_path / "without-north").iterdir()) == runs
    assert json.loads((tmp_path / "crossval.json").read_text())["rows"] == record["rows"]


def test_sources_in_training_with_enough_patients_of_each_class() -> None:
    cohort = load_phantom(Preprocessing(32), rho=0.8, films=300)
    chosen, skipped = choose_values(cohort, "source", ())
    assert chosen == ["east", "north", "west"]
    assert skipped == dict.fromkeys(("harbour", "hill", "south"), "it is not in training anyway")
    assert choose_values(cohort, "source", ("hill", "east"))[0] == ["east", "hill"]
    scarce = cohort.without(
        dict.fromkeys(np.flatnonzero((cohort.table["source"] == "east") & (cohort.table["target"] == 1)), "")
    )
    assert choose_values(scarce, "source", ())[1]["east"] == "0 patients of class covid, 10 are needed"
    assert "east" in choose_values(scarce, "source", ("east",))[0], "what is asked for is done"
    with pytest.raises(ValueError, match="no film comes from 'moon'; sources are east, harbour"):
        choose_values(cohort, "source", ("moon",))


def simulated_scores(skills: dict[str, float], seeds: int = 3) -> pd.DataFrame:
    """Scores of methods of these skills, of two held-out values with films of two sources each."""
    rng = np.random.default_rng(0)
    positive = rng.random(300) < 0.5
    scores = pd.DataFrame({"held_out": np.repeat(["a", "b"], 150), "row": range(300), "is_positive": positive})
    scores["source"], scores["patient"] = np.tile(["x", "y"], 150), scores["row"].astype(str)
    for method, skill in skills.items():
        for seed in range(seeds):
            scores[f"{method}:{seed}"] = skill * positive + rng.normal(size=300)
    return scores


def test_pooling_reads_ranks_within_a_fold_alone() -> None:
    scores = simulated_scores({"erm": 0.3, "end": 2.0})
    rows = compare_held_out(scores, ["erm", "end"])
    assert [row["part"] for row in rows] == ["a", "b", "pooled within sources"]
    assert all(row["against"]["end"]["verdict"] == "better" for row in rows)
    pairs = [row["auroc"]["end"]["estimate"] for row in rows]
    assert min(pairs[:2]) <= pairs[2] <= max(pairs[:2])
    assert rows[2]["against"]["end"]["detectable"] < min(row["against"]["end"]["detectable"] for row in rows[:2])
    moved = scores.copy()
    for method in ("erm", "end"):  # one fold's models on another scale: only ranks within a fold may count
        moved.loc[moved["held_out"] == "a", [f"{method}:{seed}" for seed in range(3)]] -= 100
    again = compare_held_out(moved, ["erm", "end"])
    assert again[2] == rows[2]


def test_folds_that_are_no_sources_are_pooled_within_sources_too() -> None:
    scores = simulated_scores({"erm": 0.5, "end": 0.5, "group_dro": 0.5})
    rows = compare_held_out(scores, ["erm", "end", "group_dro"], "view")
    assert [row["part"] for row in rows] == ["a", "b", "pooled within view", "pooled within view and source"]
    p = [row["against"][method][name] for row in rows for method in ("end", "group_dro") for name in ("p", "p_holm")]
    assert p[1::2] == pytest.approx(holm(np.array(p[::2])))
    moved = scores.copy()
    seeds = [name for name in scores if ":" in name]
    moved.loc[moved["source"] == "x", seeds] -= 100
    again = compare_held_out(moved, ["erm", "end", "group_dro"], "view")
    assert again[3] == rows[3] and again[2] != rows[2]


@pytest.mark.parametrize(("seeds", "patients"), [(3, 12), (1, 300)])
def test_too_few_patients_or_seeds_are_said(seeds: int, patients: int, capsys: pytest.CaptureFixture[str]) -> None:
    scores = simulated_scores({"erm": 0.3, "end": 2.0}, seeds)
    scores["patient"] = scores["row"] % patients
    rows = compare_held_out(scores.head(patients), ["erm", "end"])
    assert all(row["against"]["end"]["verdict"] == "cannot conclude" for row in rows)
    record = {"rows": rows, "leave_out": "source", "seeds": list(range(seeds)), "methods": ["erm", "end"]}
    show(record | {"not_left_out": {}, "failed": {}, "synthetic": False}, Console())
    shown = capsys.readouterr().out
    assert "cannot conclude" in shown and ("too few" in shown) == (patients == 12)
    assert "No verdict: it takes ten patients of each class, and two or more --seeds." in shown


def test_the_table_fits_80_columns_whatever_the_methods(capsys: pytest.CaptureFixture[str]) -> None:
    methods = ["erm", "learned_mixin", "bias_contrastive", "erm:sampler=balanced"]
    rows = compare_held_out(simulated_scores(dict.fromkeys(methods, 1.0)), methods)
    record = {"rows": rows, "leave_out": "source", "seeds": [0, 1, 2], "methods": methods}
    show(record | {"not_left_out": {}, "failed": {}, "synthetic": True}, Console(width=80))
    shown = capsys.readouterr().out
    assert "…" not in shown and "bias_contrastive" in shown and "cannot conclude" in shown
    assert all(f"{row['against'][method]['estimate']:+.3f}" in shown for row in rows for method in methods[1:])


def test_any_column_may_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crossval(tmp_path, "--leave-out", "view", "--method", "erm", "--seeds", "0", "--redraw", "1")
    record = json.loads((tmp_path / "crossval.json").read_text())
    parts = [row["part"] for row in record["rows"]]
    assert parts[-2:] == ["pooled within view", "pooled within view and source"] and record["leave_out"] == "view"
    cohort = load_phantom(Preprocessing(32), rho=0.8, films=300).table
    for view in parts[:-2]:
        (run,) = (tmp_path / f"without-view-{view}").iterdir()
        table = pd.read_parquet(run / "predictions.parquet")
        external = table["split"] == "external"
        assert set(table["view"][external]) == {view} and view not in set(table["view"][~external])
        assert set(table["patient"][external]).isdisjoint(table["patient"][~external])
        assert set(table["row"][external]) == set(cohort["row"][cohort["view"] == view])
    assert "view never seen" in capsys.readouterr().out


def test_values_in_training_with_enough_patients_of_each_class_and_films_without_any() -> None:
    cohort = load_phantom(Preprocessing(32), rho=0.8, films=300)
    bands, skipped = choose_values(cohort, "age_band", ())
    assert bands and set(bands) | set(skipped) == set(cohort.table["age_band"])
    table = cohort.table.assign(maker=np.where(cohort.table["row"] % 3 == 0, "", "Siemens, Inc."))
    table.loc[table["row"] % 3 == 1, "maker"] = "unknown"
    makers, skipped = choose_values(dataclasses.replace(cohort, table=table), "maker", ())
    assert makers == ["Siemens, Inc."]
    assert skipped == {"films of unknown maker": f"{(table['row'] % 3 < 2).sum()}, which no fold trains on either"}
    with pytest.raises(ValueError, match="column scanner: there is no such column; choose from age, age_band, "):
        choose_values(cohort, "scanner", ())
    with pytest.raises(ValueError, match="column label: its values are no groups of films"):
        choose_values(cohort, "label", ())
    with pytest.raises(ValueError, match="no film has view 'oblique'; there are AP, PA"):
        choose_values(cohort, "view", ("oblique",))


@pytest.mark.parametrize("names", [("a",), ("a b", "c"), ("Siemens, Inc.", 'the "old" one'), ()])
def test_names_with_commas_survive_a_setting(names: tuple[str, ...]) -> None:
    assert split_names(", ".join(map(quoted, names))) == names


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
    assert "there is no method irm; choose from erm, end," in capsys.readouterr().err


def recorded_line(value: str, method: str, seed: int, patients: int = 6, redraw: float = 0.8) -> dict[str, Any]:
    """A line of a record, with scores of its own."""
    candidate = Candidate.parse(method)
    films = {
        "row": list(range(patients)),
        "patient": list(range(patients)),
        "source": [],
        "positive": "01" * (patients // 2),
    }
    films["score"] = np.random.default_rng([seed, len(method)]).random(patients).tolist()
    line = {"column": "source", "value": value, "seed": seed, "method": candidate.method, "variant": candidate.variant}
    line |= {"settings": {"redraw": redraw}, "synthetic": False, "machine": "here", "films": "0" * 16}
    return line | {"held_out": films}


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        (lambda line: line["held_out"].pop("score"), "line 1: no record"),
        (lambda line: line["held_out"].update(score=[0.5]), "line 1: no record"),
        (lambda line: line["held_out"]["score"].__setitem__(0, float("nan")), "line 1: no record"),
        (lambda line: line["held_out"]["score"].__setitem__(0, "high"), "line 1: no record"),
        (lambda line: line["held_out"].update(positive=["0", "1"] * 3), "line 1: no record"),
        (lambda line: line.pop("machine"), "line 1: no record"),
        (lambda line: line.pop("films"), "line 1: no record"),
        (lambda line: line.update(seed=1), "line 2: the run of line 1 again"),
    ],
)
def test_an_edited_record_is_refused(edited: Any, expected: str, tmp_path: Path) -> None:
    lines = [recorded_line("a", "erm", seed) for seed in (0, 1)]
    path = tmp_path / "record.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_lines(path, whole_key_of) == lines
    path.write_text("\ufeff" + path.read_text(), newline="\r\n")  # as Windows' Notepad saves it
    assert read_lines(path, whole_key_of) == lines
    edited(lines[0])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match=expected):
        read_lines(path, whole_key_of)


def test_only_seeds_that_every_method_has_are_compared() -> None:
    lines = [
        recorded_line(value, method, seed) for value in "ab" for method in ("erm", "end:beta=5") for seed in (0, 1)
    ]
    lines += [recorded_line("a", "erm", 2), recorded_line("c", "erm", 0)]
    scores = scores_of(lines)
    assert scores["held_out"].unique().tolist() == ["a", "b"], "c was trained with one method alone"
    assert [name for name in scores if ":" in name] == ["erm:0", "erm:1", "end:beta=5.0:0", "end:beta=5.0:1"]
    assert seeds_in(scores) == [0, 1] and scores["is_positive"].tolist() == [False, True] * 6
    with pytest.raises(ValueError, match="no seed is finished with every method yet"):
        scores_of([recorded_line("a", "erm", 0), recorded_line("a", "end", 1)])
    with pytest.raises(ValueError, match="other films of a in seed 1"):
        scores_of([recorded_line("a", "erm", 0), recorded_line("a", "erm", 1, patients=4)])


def test_a_record_of_other_settings_is_not_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films = films_of(load_phantom(Preprocessing(32), rho=0.8, films=300), "source")
    append_line(tmp_path / "record.jsonl", recorded_line("north", "erm", 0, redraw=1.0) | {"films": films})
    with pytest.raises(SystemExit):
        crossval(tmp_path, "--sources", "north", "--method", "erm", "--seeds", "0")
    assert "erm without north, seed 0, with redraw 1.0, not 0.8: give another --record" in capsys.readouterr().err
    crossval(tmp_path, "--show")
    assert "north" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        crossval(tmp_path / "empty", "--show")
    assert "holds no finished run" in capsys.readouterr().err


def test_a_record_of_other_films_is_not_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append_line(tmp_path / "record.jsonl", recorded_line("north", "erm", 0))
    with pytest.raises(SystemExit):
        crossval(tmp_path, "--sources", "north", "--method", "erm", "--seeds", "0")
    assert "--record holds runs on other films" in capsys.readouterr().err


@pytest.mark.parametrize("column", ["path", "label", "source", "patient_id"])
def test_films_are_told_from_others_by_every_column_that_a_fold_is_made_of(tmp_path: Path, column: str) -> None:
    records = good()
    before = load(write(tmp_path, records))
    assert films_of(before, "source") == films_of(load(tmp_path), "source")
    records[3][column] = {"path": "films/new.png", "label": "covid", "source": "north", "patient_id": "p4"}[column]
    after = load(write(tmp_path, records))
    assert films_of(after, "source") != films_of(before, "source")


def test_a_source_that_can_not_be_held_out_makes_the_command_fail_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [recorded_line(value, "erm", 0) for value in "ab"]
    monkeypatch.setattr(folds, "cross_validate", lambda *_: (lines, {}, {"c": "no film"}))
    monkeypatch.setattr(folds, "compare_held_out", lambda *_: [])
    with pytest.raises(SystemExit) as stopped:
        main(["--dataset", "phantom", "--output", str(tmp_path)])
    assert stopped.value.code == 1
    assert "error: 1 of 3 sources could not be held out: c" in capsys.readouterr().err
    assert (tmp_path / "crossval.json").is_file()
