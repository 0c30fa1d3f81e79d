"""Trainings that are killed at any moment, and go on from there to the weights of an undisturbed one."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training_process import codes, start
from training.run.checkpoint import load_checkpoint
from training.run.checkpoint_header import state_files
from training.run.report import machine

pytestmark = pytest.mark.process

SMALL = [
    "--dataset", "phantom", "--films", "64", "--model", "test_resnet", "--img-size", "32", "--in-chans", "1", "-b", "16",
    "--epochs", "3", "--select", "loss", "--device", "cpu", "--cache", "disk", "--save-minutes", "0", "--keep", "2",
    "--model-kwargs", "drop_path_rate=0.3", "--ema", "0.9", "--resume", "auto",
]  # fmt: skip
STEPS = 12


def progress_of(output: Path) -> int:
    """Steps that are saved."""
    return max((int(file.stem.split("-")[1]) for file in output.glob("*/resume-*.pt")), default=-1)


def kill(count: int, place: Path, say: Callable[[str], object]) -> None:
    """Kill so many trainings, each going on where the one before it was stopped; compare the weights of those that end.

    A moment is drawn for each: some time after its start, or some milliseconds after some more steps are saved, which is in
    the middle of a step, of writing a state, of measuring an epoch or of writing the results.
    """
    assert codes(start([*SMALL, "--output", str(place / "whole")])) == [0]
    (whole,) = (path for path in (place / "whole").iterdir() if path.name.startswith("phantom"))
    weights, metrics = load_checkpoint(whole).weights, load_checkpoint(whole).metrics
    say(f"{machine()}; {STEPS} steps in 3 epochs, undisturbed")
    draw = random.Random(count)
    killed = compared = 0
    while killed < count or compared == 0:
        output = place / f"killed {compared}"
        (process,) = start([*SMALL, "--output", str(output)])
        began, before = time.monotonic(), progress_of(output)
        last = killed >= count
        early = draw.random() < 0.1
        moment, more, delay = draw.uniform(0, 1.5), draw.randint(1, 6), draw.uniform(0, 0.08)
        while process.is_alive():
            ripe = time.monotonic() > began + moment if early else progress_of(output) >= before + more
            if ripe and not last:
                time.sleep(0 if early else delay)
                process.kill()
                break
            process.join(0.002)
        process.join()
        if process.exitcode == 0:
            (folder,) = (path for path in output.iterdir() if path.name.startswith("phantom"))
            found = load_checkpoint(folder)
            assert all(torch.equal(value, found.weights[name]) for name, value in weights.items())
            assert found.metrics == metrics and not state_files(folder)
            assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3
            assert not [file.name for file in folder.iterdir() if file.name.startswith(".")]
            compared += 1
            say(f"training {compared} came to its end: weights equal to the bit")
            continue
        assert process.exitcode == -9
        killed += 1
        when = "after a time" if early else "after a step"
        say(f"kill {killed:3d} ({when}): {max(progress_of(output), 0)} of {STEPS} steps")
    say(f"{killed} kills, {compared} trainings came to their end: all with the weights of the undisturbed one")


def test_five_kills_change_nothing(tmp_path: Path) -> None:
    kill(5, tmp_path, print)


@pytest.mark.slow
def test_two_hundred_kills_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    say("")
    kill(200, tmp_path, say)
