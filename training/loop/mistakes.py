"""What a training says when it ends early: plain functions from what happened to a sentence."""

from collections.abc import Sequence
from pathlib import Path

import torch

from datasets.listed import listed
from training.loop.resume import Progress
from training.parallel.device import TrainingError
from training.run.checkpoint_header import state_files

SHOWN = 8  # films of a batch that a message names


class DeviceFullError(TrainingError):
    """A batch that does not fit into the device's memory; the message says what to do."""


def stopped(signal: str, progress: Progress, steps: int, how_to_resume: str) -> str:
    """After a signal: its name, empty where another process got it; `steps` are those of an epoch."""
    epoch, step = progress.epoch, progress.step
    where = f"step {step} of {steps} of epoch {epoch + 1}" if step else f"epoch {epoch}"
    return f"stopped by {signal or 'a signal to another process'} after {where}, and saved; {how_to_resume}"


def unreadable(error: Exception, how_to_resume: str) -> str:
    """For a film that can't be decoded; a worker process passes on its traceback, whose last line is the sentence."""
    sentence = str(error).strip().splitlines()[-1].rpartition("UnreadableFilmError: ")[2]
    return (
        f"{sentence}. Repair it, and {how_to_resume}; or let other films replace it with --on-bad-image skip, which "
        "--resume auto accepts too"
    )


def diverged(terms: Sequence[str], step: int, epoch: int, lines: Sequence[int], folder: Path) -> str:
    """For terms that are not finite at a step of an epoch, both from 1, on the films of these lines of metadata.csv."""
    return (
        f"{', '.join(terms)} is not finite at step {step} of epoch {epoch}, on the films of lines {listed(lines, SHOWN)} "
        f"(all in {folder / 'diverged.json'}): try a lower --lr, or --clip-grad 1; {last_state(folder)}"
    )


def machine_fault(error: RuntimeError, workers: int, folder: Path, how_to_resume: str) -> Exception:
    """A full device or a killed worker as an error with a remedy; any other error as it is."""
    if isinstance(error, torch.OutOfMemoryError):
        remedy = "train with a smaller --batch-size, or with --accumulate 2"
        return DeviceFullError(f"the device's memory is full: {remedy}; {last_state(folder)}")
    if "DataLoader worker (pid" in str(error):
        cause = f"one of the {workers} processes of --workers was killed, as happens when memory runs out"
        return TrainingError(f"{cause}: {how_to_resume}; {last_state(folder)}")
    return error


def last_state(folder: Path) -> str:
    """Which file holds the newest state."""
    return f"the last good state is {state_files(folder)[-1]}"
