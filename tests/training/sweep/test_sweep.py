"""Sweeps: what is searched, that finished work stays, what is summed up, and mistakes in words."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from tests.datasets.test_covid import good, write
from training.methods import EndParameters, NoParameters
from training.run.config import TrainConfig, parse
from training.sweep import study as sweep
from training.sweep.__main__ import main
from training.sweep.space import Dimension, search_space
from training.sweep.study import sampler
from training.sweep.summary import DIRECTIONS, Outcome, pareto_front, ranked, summarise

pytestmark = pytest.mark.trains

FAST = [
    "--dataset", "phantom", "--films", "120", "--model", "test_resnet", "--img-size", "32", "--in-chans", "1",
    "--epochs", "1",
]  # fmt: skip


PREPARED: dict[Any, Any] = {}


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the films takes longer than these trainings: the same ones are drawn once for all tests."""
    prepare = sweep.prepare

    def once(config: TrainConfig, console: Any) -> Any:
        key = (config.dataset, config.films, config.rho)
        if key not in PREPARED:
            PREPARED[key] = prepare(config, console)
        return PREPARED[key]

    monkeypatch.setattr(sweep, "prepare", once)


def run(output: Path, *arguments: str) -> dict[str, Any]:
    main([*FAST, "--output", str(output), *arguments])
    record: dict[str, Any] = json.loads((next(output.glob("*/summary.json"))).read_text())
    return record


def study_in(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder}/study.db")


def run_folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def test_the_space_is_what_the_method_has_ranges_for_and_the_user_left_open() -> None:
    space = search_space(EndParameters(), {"beta"}, [], "end")
    names = [dimension.name for dimension in space]
    assert "alpha" in names and "beta" not in names and "form" not in names
    alpha = space[names.index("alpha")]
    assert alpha.logarithmic and alpha.within(1e9) == alpha.high and alpha.within(0.0) == alpha.low
    asked = {dimension.name: dimension for dimension in search_space(EndParameters(), set(), ["form", "lr"], "end")}
    assert asked["form"].choices == ("absolute", "signed") and asked["lr"].low == 1e-5
    assert not Dimension("share", float, 0.0, 1.0).logarithmic


@pytest.mark.parametrize(
    ("parameters", "given", "wanted", "sentence"),
    [
        (NoParameters(), set(), [], "erm has none with a range; --search takes lr, weight_decay"),
        (EndParameters(), set(), ["epochs"], "--search epochs: no such setting can be searched; choose from alpha"),
        (EndParameters(), {"lr"}, ["lr"], "--search lr: --lr fixes it"),
    ],
)  # fmt: skip
def test_a_space_that_can_not_be_is_refused_in_words(
    parameters: Any, given: set[str], wanted: list[str], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        search_space(parameters, given, wanted, "erm" if isinstance(parameters, NoParameters) else "end")


def test_a_study_begins_with_the_defaults_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--beta=0.5", "--search", "form")
    first = run(tmp_path, "--trials", "2", *arguments)
    folder = tmp_path / "phantom-end"
    trials = study_in(folder).trials
    config = parse(FAST)
    assert trials[0].params["alpha"] == config.parameters.alpha and trials[0].params["form"] == config.parameters.form
    assert all("beta" not in trial.params for trial in trials)
    before = {name: (folder / name / "model.safetensors").stat().st_mtime_ns for name in run_folders(folder)}
    assert len(before) == 2

    again = run(tmp_path, "--trials", "2", *arguments)
    assert again["trials"] == first["trials"], "nothing is left to do"
    more = run(tmp_path, "--trials", "3", *arguments)
    assert len(more["trials"]) == 3 and len(run_folders(folder)) == 3
    assert {name: (folder / name / "model.safetensors").stat().st_mtime_ns for name in before} == before
    drawn = [trial.params["alpha"] for trial in study_in(folder).trials]
    assert len(set(drawn)) == 3, "a study that goes on repeats no draw"

    kept = more["trials"][0]
    report = json.loads((folder / kept["seeds"][0]["run"] / "report.json").read_text())
    assert kept["test"]["accuracy"] == report["runs"][0]["metrics"]["test"]["accuracy"]
    values = [trial["validation"]["accuracy"] for trial in more["trials"]]
    assert values == sorted(values, reverse=True)
    assert more["top"]["validation"]["accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert more["top"]["validation"]["accuracy"]["sd"] == pytest.approx(np.std(values))
    assert more["defaults"] == trials[0].params
    assert not more["used_bias_labels_of_validation"] and "front" not in more
    for suffix, start in (("svg", b"<svg"), ("png", b"\x89PNG")):
        assert (folder / f"sensitivity.{suffix}").read_bytes().startswith(start)
    shown = capsys.readouterr().out
    for sentence in ("3/3 trial 2: alpha", "trial 0 has the defaults", "best 3 settings", "SYNTHETIC"):
        assert sentence in shown
    assert str(tmp_path) not in json.dumps(more["question"])


def test_means_over_seeds_and_the_front_of_two_objectives(tmp_path: Path) -> None:
    record = run(tmp_path, "--trials", "2", "--seeds", "2", "--seed", "4", "--objective", "ce", "accuracy")
    best = record["trials"][0]
    assert [seed["seed"] for seed in best["seeds"]] == [4, 5]
    values = [seed["validation"]["ce"] for seed in best["seeds"]]
    assert best["validation"]["ce"] == pytest.approx(np.mean(values))
    assert record["over_seeds"]["validation"]["ce"]["sd"] == pytest.approx(np.std(values, ddof=1))
    lines = (tmp_path / "phantom-end" / best["seeds"][0]["run"] / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["validation"]["ce"] == values[0]
    assert best["trial"] in record["front"] and record["objectives"] == {"ce": "minimize", "accuracy": "maximize"}
    assert (tmp_path / "phantom-end" / "pareto.svg").is_file()


def test_the_leak_is_measured_on_validation(tmp_path: Path) -> None:
    record = run(tmp_path, "--films", "400", "--rho", "0.5", "--trials", "1", "--objective", "leak")
    (trial,) = record["trials"]
    assert 0 < trial["validation"]["leak"] < 1 and trial["validation"]["leak"] != trial["test"]["leak"]
    assert record["used_bias_labels_of_validation"]


def test_a_pruned_trial_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: trial.number == 1)
    record = run(tmp_path, "--epochs", "2", "--trials", "3")
    assert (record["finished"], record["ended_early"]) == (2, 1)
    states = [trial.state for trial in study_in(tmp_path / "phantom-end").trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    folders = run_folders(tmp_path / "phantom-end")
    assert len(folders) == 2
    assert all((tmp_path / "phantom-end" / name / "report.json").is_file() for name in folders)


def test_trials_that_diverge_end_and_leave_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, "--lr", "1e30", "--trials", "2", "--epochs", "2")
    shown = capsys.readouterr()
    assert "is not finite" in shown.out and "no trial came to an end" in shown.err
    assert run_folders(tmp_path / "phantom-end") == []


def test_an_interrupted_trial_is_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    obtain, calls = sweep.obtain, []

    def interrupted(config: Any, *rest: Any) -> Any:
        calls.append(config.parameters.alpha)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return obtain(config, *rest)

    monkeypatch.setattr(sweep, "obtain", interrupted)
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, "--trials", "2")
    assert stop.value.code == 130
    assert len(run(tmp_path, "--trials", "2")["trials"]) == 2
    assert len(calls) == 3 and calls[2] == calls[1] != calls[0]


def test_a_trial_whose_process_died_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "HEARTBEAT", 1)
    monkeypatch.setattr(sweep, "GRACE", 1)
    run(tmp_path, "--trials", "1")
    study = study_in(tmp_path / "phantom-end")
    dead = study.ask({"alpha": optuna.distributions.FloatDistribution(0.01, 10.0, log=True)})
    study._storage.record_heartbeat(dead._trial_id)  # type: ignore[attr-defined]
    time.sleep(2.5)
    record = run(tmp_path, "--trials", "2")
    assert record["failed"] == 1 and len(record["trials"]) == 2
    assert study_in(tmp_path / "phantom-end").trials[2].params["alpha"] == dead.params["alpha"]


def test_mistakes_are_sentences(tmp_path: Path, drawn_digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "--trials", "1")
    digits = ["--dataset", "biased-mnist", "--data-dir", str(drawn_digits), "--in-chans", "3", "--films", "300"]
    for arguments, sentence in (
        ((*digits, "--rho", "0.8", "--objective", "auroc"), "--objective auroc: biased-mnist has no positive class"),
        (("--method", "erm"), "erm has none with a range"),
        (("--method", "magic"), "--method magic: there is no such method"),
        (("--objective", "charm"), "invalid choice: 'charm'"),
        (("--epochs", "2"), "was begun with epochs 1, not 2: give this one another --study"),
        (("--objective", "ce"), "was begun with objective"),
        (("--storage", "abacus://secret:word@desk", "--study", "other"), "the study's database can't be opened"),
        (("--trials", "0"), "--trials 0: must be 1 or more"),
        (("--paired",), "--paired is for training.train"),
        (("--study", "../x"), "it names a folder in --output"),
    ):
        with pytest.raises(SystemExit) as stop:
            run(tmp_path, *arguments)
        shown = capsys.readouterr().err
        assert stop.value.code == 2 and sentence in shown and "word@" not in shown, arguments


def outcome(number: int, accuracy: float, leak: float) -> Outcome:
    seed = {
        "seed": 0,
        "validation": {"accuracy": accuracy, "leak": leak},
        "test": {"accuracy": accuracy / 2, "auroc": None},
    }
    return Outcome(number, {"alpha": 1.0}, [seed], {"accuracy": accuracy, "leak": leak})


def test_summary_by_hand() -> None:
    outcomes = [
        outcome(0, 0.8, 0.9),
        outcome(1, 0.7, 0.3),
        outcome(2, 0.6, 0.4),
        outcome(3, 0.9, 0.9),
        outcome(4, 0.7, 0.3),
    ]
    both = ["accuracy", "leak"]
    assert [o.number for o in ranked(outcomes, both)] == [3, 0, 1, 4, 2]
    assert pareto_front(outcomes, both) == {3, 1, 4}, "equals stand side by side"
    found = summarise(outcomes, both)
    assert found["front"] == [3, 1, 4] and found["top"]["of"] == [3, 0, 1]
    assert found["top"]["test"]["accuracy"]["mean"] == pytest.approx(0.4)
    assert found["top"]["test"]["accuracy"]["sd"] == pytest.approx(np.std([0.45, 0.4, 0.35]))
    assert found["top"]["test"]["auroc"]["mean"] is None and "over_seeds" not in found
    assert [o.number for o in ranked(outcomes, ["leak"])] == [1, 4, 2, 0, 3], "less leak is better"


def test_draws_depend_on_seed_and_trial_alone() -> None:
    def draw(seed: int, number: int) -> float:
        study = optuna.create_study(sampler=sampler(seed, number))
        return study.ask().suggest_float("alpha", 0, 1)

    assert draw(0, 3) == draw(0, 3) and len({draw(0, 3), draw(0, 4), draw(1, 3)}) == 3


def test_objectives_are_of_validation() -> None:
    assert DIRECTIONS["leak"] == DIRECTIONS["ce"] == "minimize" and DIRECTIONS["accuracy"] == "maximize"


@pytest.mark.parametrize(
    ("message", "joins"),
    [
        ("(sqlite3.OperationalError) table studies already exists", True),
        ("(sqlite3.IntegrityError) UNIQUE constraint failed: alembic_version.version_num", True),
        ("(sqlite3.OperationalError) database is locked", True),
        ("Could not parse SQLAlchemy URL from string", False),
    ],
)
def test_who_loses_the_race_for_a_new_database_joins(
    message: str, joins: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, pauses, storage = [], [], sweep.RDBStorage

    def disturbed(*arguments: Any, **options: Any) -> Any:
        made.append(arguments)
        if len(made) < 3:
            raise RuntimeError(message)
        return storage(*arguments, **options)

    monkeypatch.setattr(sweep, "RDBStorage", disturbed)
    monkeypatch.setattr(sweep.time, "sleep", pauses.append)
    if joins:
        opened = sweep.open_study("s", f"sqlite:///{tmp_path}/study.db", ["auroc"], 3)
        assert opened.study_name == "s" and len(pauses) == 2
    else:
        with pytest.raises(ValueError, match="can't be opened"):
            sweep.open_study("s", f"sqlite:///{tmp_path}/study.db", ["auroc"], 3)
        assert not pauses


def test_a_study_of_other_films_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    write(films, good())
    monkeypatch.setattr(sweep.Sweep, "run", lambda self: None)
    flags = ["--dataset", "covid", "--data-dir", str(films), "--output", str(tmp_path)]
    for _ in range(2):
        main(flags)
    write(films, [*good()[:-1], good()[-1] | {"label": "covid"}])
    with pytest.raises(SystemExit):
        main(flags)
    assert "the study covid-end is of other films" in " ".join(capsys.readouterr().err.split())
