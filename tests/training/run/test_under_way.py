"""How far a training is that has not finished: running, stopped, or nothing to resume."""

import os
import time
from pathlib import Path

import pytest

from training.run.index import run_index
from training.run.under_way import under_way


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A training of five epochs of which one is done, saved just now."""
    run = tmp_path / "covid-end-net-s0"
    run.mkdir()
    (run / "config.yaml").write_text("epochs: 5\nsave_minutes: 20.0\n")
    (run / "metrics.jsonl").write_text('{"epoch": 1}\n')
    (run / "resume-000000031.pt").touch()
    return run


def age(folder: Path, minutes: float) -> None:
    for file in folder.iterdir():
        os.utime(file, (time.time() - 60 * minutes,) * 2)


def test_a_training_is_told_from_one_that_stopped(folder: Path) -> None:
    found = under_way(folder)
    assert found is not None and (found.done, found.epochs, found.live) == (1, 5, True)
    assert str(found) == "training, epoch 2 of 5"
    age(folder, 50)
    found = under_way(folder)
    assert found is not None and found.live, "three times as long as it takes to save are 60 minutes"
    age(folder, 70)
    found = under_way(folder)
    assert found is not None and not found.live and found.minutes == pytest.approx(70, abs=1)
    assert str(found) == "its training stopped in epoch 2 of 5: --resume continues it"


def test_settings_that_cannot_be_read_leave_the_number_of_epochs_open(folder: Path) -> None:
    (folder / "config.yaml").write_text(": [")
    assert str(under_way(folder)) == "training, epoch 2"
    (folder / "config.yaml").unlink()
    (folder / "metrics.jsonl").unlink()
    assert str(under_way(folder)) == "training, epoch 1"


def test_the_end_and_what_is_no_training(folder: Path, tmp_path: Path) -> None:
    (folder / "metrics.jsonl").write_text("{}\n" * 5)
    assert str(under_way(folder)) == "training, measured after epoch 5 of 5"
    assert under_way(tmp_path) is None


def test_the_index_says_so(folder: Path) -> None:
    (entry,) = run_index(folder.parent)
    assert entry.problem == "training, epoch 2 of 5" and not entry.usable
    assert entry.training is not None and entry.training.live
