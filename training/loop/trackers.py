"""Where the numbers of a run go while it trains, beside metrics.jsonl: `--tracker tensorboard` or `--tracker wandb`.

Both are extras: `pip install 'end-cxr[trackers]'`. TensorBoard's event files lie in the run folder, `tensorboard --logdir
runs` shows them. W&B sends its numbers to the account of `wandb login`; with WANDB_MODE=offline they stay in the run folder
until `wandb sync`. Neither receives the name of this machine or its user, or the place of its files. Free of torch and of
both packages until one is started, so that `--help` can list them.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

PROJECT = "end-cxr"
# What a line of metrics.jsonl calls its parts, and what trackers do.
HEADINGS = {"terms": "train", "pairs_per_batch": "pairs"}

Listener = Callable[[int, dict[str, Any]], None]


class TrackerError(ValueError):
    """A tracker that can't be started; the message says what to do."""


class Tracker(Protocol):
    """One run in one tracker, started by `Class(folder, settings)`."""

    def log(self, epoch: int, numbers: dict[str, float]) -> None:
        """Add the numbers of an epoch, counted from 1."""

    def close(self, failed: bool) -> None:
        """Write out what is pending; nothing is logged afterwards."""


class TensorBoard:
    """Event files in `tensorboard/` of the run folder; the settings are their text."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder / "tensorboard"
        self.writer = SummaryWriter(self.folder)
        table = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
        self.writer.add_text("settings", f"| setting | value |\n|---|---|\n{table}")

    def log(self, epoch: int, numbers: dict[str, float]) -> None:
        """See `Tracker`."""
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def close(self, failed: bool) -> None:
        """See `Tracker`."""
        self.writer.close()
        for file in self.folder.glob("events.out.tfevents.*"):  # the name of this machine is the writer's idea
            file.rename(self.folder / ".".join(file.name.split(".")[:4]))


class WeightsAndBiases:
    """A run of the project `end-cxr`, or of $WANDB_PROJECT; resumed with the training it belongs to."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        import wandb

        known = folder / "wandb" / "run-id"
        private = wandb.Settings(
            console="off", disable_git=True, disable_code=True, save_code=False, host="", program="", quiet=True,
            x_disable_meta=True, x_disable_machine_info=True, x_disable_stats=True, x_save_requirements=False,
        )  # fmt: skip
        try:
            self.run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT), name=folder.name, dir=folder, config=settings,
                group=f"{settings['dataset']}-{settings['method']}", resume="allow", settings=private,
                id=known.read_text(encoding="utf-8") if known.is_file() else None,
            )  # fmt: skip
        except wandb.Error as error:
            raise TrackerError(
                f"--tracker wandb: W&B does not start ({error}); run `wandb login`, or set WANDB_MODE=offline to keep "
                "the numbers in the run folder"
            ) from None
        known.parent.mkdir(exist_ok=True)
        known.write_text(self.run.id, encoding="utf-8")

    def log(self, epoch: int, numbers: dict[str, float]) -> None:
        """See `Tracker`."""
        self.run.log(numbers, step=epoch)

    def close(self, failed: bool) -> None:
        """See `Tracker`."""
        self.run.finish(exit_code=int(failed))


TRACKERS: dict[str, Callable[[Path, dict[str, Any]], Tracker]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def require_tracker(name: str | None) -> None:
    """Raise TrackerError where the package of the tracker, which bears its name, is missing."""
    if name is not None and find_spec(name) is None:
        raise TrackerError(f"--tracker {name}: the package {name} is not installed; pip install 'end-cxr[trackers]'")


@contextmanager
def tracking(name: str | None, folder: Path, settings: dict[str, Any]) -> Iterator[Listener]:
    """Start the tracker, if any, and close it when the training ends, however it ends.

    Args:
        name: a key of `TRACKERS`, or None.
        settings: of the run, without places on this machine.

    Yields:
        What takes an epoch, from 1, and its line of metrics.jsonl; the last line is `{"final": metrics by split}`.
    """
    if name is None:
        yield lambda epoch, record: None
        return
    tracker = TRACKERS[name](folder, settings)
    try:
        yield lambda epoch, record: tracker.log(epoch, numbers_of(record))
    except BaseException:
        tracker.close(failed=True)
        raise
    tracker.close(failed=False)


def numbers_of(record: dict[str, Any]) -> dict[str, float]:
    """A line of metrics.jsonl as `train/ce`, `pairs/entangling`, `validation/accuracy`; undefined numbers are left out."""
    numbers: dict[str, float] = {}

    def visit(values: dict[str, Any], path: str) -> None:
        for name, value in values.items():
            if isinstance(value, dict):
                visit(value, f"{path}{HEADINGS.get(name, name)}/")
            elif value is not None and math.isfinite(value) and name != "epoch":
                numbers[f"{path or 'train/'}{name}"] = float(value)

    visit(record, "")
    return numbers
