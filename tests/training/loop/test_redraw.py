"""Trainings that each draw some of the training patients by their seed: what is drawn, recorded, found again, evaluated."""

import json
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console

from training.console.interruption import InterruptedTrainingError
from training.loop.assembly import Assembly
from training.loop.obtain import obtain
from training.loop.prepare import decode, draw, prepare
from training.recipe.jtt import second_config
from training.recipe.parent import RecipeError, read_parent
from training.run.checkpoint import load_checkpoint
from training.run.config import TrainConfig, parse
from training.run.existing import find_run
from training.scoring.films import films_of, same_films
from training.scoring.subjects import load_subjects
from training.train import main

pytestmark = pytest.mark.trains

FAST = [
    "--dataset", "phantom", "--films", "160", "--rho", "0.7", "--model", "test_resnet", "--img-size", "32", "--in-chans", "1",
    "--epochs", "1",
]  # fmt: skip


def settings(output: Path, *flags: str) -> TrainConfig:
    return parse([*FAST, "--output", str(output), *flags])


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of both methods with seed 0, and of erm with seed 1."""
    root = tmp_path_factory.mktemp("redraw")
    main([*FAST, "--redraw", "0.6", "--paired", "--output", str(root)])
    main([*FAST, "--redraw", "0.6", "--method", "erm", "--seed", "1", "--output", str(root)])
    return root


def folder(output: Path, method: str, seed: int) -> Path:
    return output / f"phantom-{method}-test_resnet-s{seed}-redraw0.6"


def films(run: Path, split: str) -> set[str]:
    table = pd.read_parquet(run / "predictions.parquet")
    return set(table["file"][table["split"] == split])


def test_seeds_draw_their_own_training_patients_and_share_all_others(output: Path) -> None:
    erm, end, again = folder(output, "erm", 0), folder(output, "end", 0), folder(output, "erm", 1)
    for split in ("validation", "test", "external"):
        assert films(erm, split) == films(end, split) == films(again, split) != set()
    assert films(erm, "train") == films(end, "train") != films(again, "train")
    config = settings(output)
    everything = decode(config, Console(quiet=True)).table
    patients = everything.query("split == 'train'")["patient"].nunique()
    for run in (erm, again):
        trained_on = pd.read_parquet(run / "predictions.parquet").query("split == 'train'")
        assert trained_on["patient"].nunique() == pytest.approx(0.6 * patients, abs=6)
        cells = everything.query("split == 'train'").groupby(["source", "target_name"]).size()
        assert set(trained_on.groupby(["source", "target"]).size().index) == set(cells.index)


def test_the_run_says_what_it_drew(output: Path) -> None:
    run = folder(output, "end", 0)
    assert yaml.safe_load((run / "config.yaml").read_text())["redraw"] == 0.6
    assert load_checkpoint(run).settings["redraw"] == 0.6
    report = json.loads((run / "report.json").read_text())
    reasons = {row["reason"] for row in report["excluded"]}
    assert reasons == {"its patient is not in this run's draw (--redraw 0.6, --seed 0)"}
    assert report["runs"][-1]["metrics"]["train"]["n"] + len(report["excluded"]) == 160


def test_a_run_without_a_draw_has_the_old_name_and_all_films(output: Path) -> None:
    config = settings(output)
    cohort = decode(config, Console(quiet=True))
    assert draw(config, cohort, Console(quiet=True)).table.equals(cohort.table)
    run = obtain(config, lambda: cohort).folder
    assert run.name == "phantom-end-test_resnet-s0"
    old = yaml.safe_load((run / "config.yaml").read_text())
    del old["redraw"]  # as versions before this setting wrote it
    (run / "config.yaml").write_text(yaml.safe_dump(old))
    assert find_run(config)[0] == run
    assert find_run(settings(output, "--redraw", "0.6"))[0] == folder(output, "end", 0)


def test_an_interrupted_run_goes_on_with_its_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(tmp_path, "--redraw", "0.6", "--method", "erm")
    update = Assembly.update

    def stopped(self: Assembly, step: int) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return update(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(Assembly, "update", stopped)
        with pytest.raises(InterruptedTrainingError):
            obtain(config, lambda: prepare(config, Console(quiet=True)))
    begun = find_run(config)[1]
    assert begun is not None
    main(["--resume", str(begun)])
    assert (begun / "report.json").is_file() and begun.name.endswith("-redraw0.6")


def test_an_evaluation_of_training_films_takes_those_that_all_its_runs_drew(output: Path) -> None:
    runs = [folder(output, "erm", 0), folder(output, "erm", 1)]
    (together,) = same_films(load_subjects(runs, "cpu"), None)
    found = set(films_of(together, None, "train").table["row"])
    own = [set(pd.read_parquet(run / "predictions.parquet").query("split == 'train'")["row"]) for run in runs]
    assert found == own[0] & own[1] and found != own[0]
    assert len(films_of(together, None, "test").table) == len(films(runs[0], "test"))


def test_just_train_twice_keeps_the_first_draw(output: Path) -> None:
    parent = read_parent(folder(output, "erm", 1), {})
    assert second_config(parent, None, None).redraw == 0.6
    with pytest.raises(RecipeError, match=r"drew its training patients by its seed \(--redraw 0.6\): .* give 1"):
        second_config(parent, 0, None)


@pytest.mark.parametrize("share", ["0", "1.2", "-0.1"])
def test_an_impossible_share_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([*FAST, f"--redraw={share}"])
    assert "a share above 0, up to 1" in capsys.readouterr().err
