"""When a training is saved, and what is said when it ends before its time: stopped, diverged, or a film unreadable."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from datasets.cohort.films import CohortError, UnreadableFilmError
from datasets.files import write_text
from training.console.interruption import InterruptedTrainingError, Interruption
from training.console.messages import ERRORS
from training.loop.assembly import Assembly
from training.loop.divergence import DivergenceError
from training.loop.resume import Progress, save_progress
from training.parallel.device import TrainingError
from training.parallel.ranks import is_first, ranks, stacked
from training.run.checkpoint_header import state_files

SHOWN = 8  # films of a batch that a message names


class DeviceFullError(TrainingError):
    """A batch that does not fit into the device's memory; the message says what to do."""


class Keeper:
    """The states of one training.

    Attributes:
        folder: of the run.
        lost: reason by position, of films that could not be decoded when they were to be measured; None where one such film
            ends the training.
    """

    def __init__(self, training: Assembly, done: Progress, folder: Path, again: str) -> None:
        """`again` says how to go on, in words."""
        self.training, self.done, self.folder, self.again = training, done, folder, again
        self.config, self.saved = training.config, time.monotonic()
        self.lost: dict[int, str] | None = {} if self.config.on_bad_image == "skip" else None
        self.told: set[int] = set()

    def due(self) -> bool:
        """Whether the last state is older than `--save-minutes`."""
        return time.monotonic() - self.saved >= 60 * self.config.save_minutes

    def save(self) -> None:
        """Write the state; all processes must call it."""
        save_progress(self.training, self.done, self.folder, self.config.keep)
        self.saved = time.monotonic()

    def require_finite(self) -> None:
        """Raise DivergenceError if a term of the running epoch, or a weight, is no number; all processes must call it.

        No state is saved without this: the one before it would go. A slope that is no number shows in the weights first.
        """
        bad = stacked(torch.tensor(self.done.totals.first_bad()))
        if (bad > 0).any():
            raise self.diverged(int(bad[bad > 0].min()))
        whole = [weight.detach().isfinite().all() for weight in self.training.joint.parameters()]
        if not torch.stack(whole).all():
            raise self.diverged(self.done.step)

    @contextmanager
    def leaving_when_told(self, interruption: Interruption, save: bool = True) -> Iterator[None]:
        """A signal ends the block at once, for what it does can be done again; several processes finish it first.

        So does a film that can't be decoded, unless it is left out, which is said.

        Args:
            interruption: who listens.
            save: whether there is something that is not on disk yet.
        """
        try:
            with interruption.raising() if ranks() == 1 else nullcontext():
                yield
        except InterruptedTrainingError:
            if save:
                self.save()
            raise self.stopped(interruption) from None
        except UnreadableFilmError as error:
            raise self.gave_up(error, save) from None
        for film, reason in (self.lost or {}).items():
            if film not in self.told:
                self.told.add(film)
                ERRORS.print(
                    f"{reason}; it is left out of what is measured", style="yellow", markup=False, highlight=False
                )

    def stopped(self, interruption: Interruption) -> InterruptedTrainingError:
        """What is raised once a signal is answered and the state is saved."""
        done, steps = self.done, self.training.steps
        where = f"step {done.step} of {steps} of epoch {done.epoch + 1}" if done.step else f"epoch {done.epoch}"
        why = interruption.asked or "a signal to another process"
        return InterruptedTrainingError(f"stopped by {why} after {where}, and saved; {self.again}")

    def gave_up(self, error: CohortError, save: bool = True) -> UnreadableFilmError:
        """What is raised when a film can't be decoded, after the steps before it are saved.

        Other processes are in the middle of a step and can't join in saving, so that theirs is the last state on disk.
        """
        if save and ranks() == 1:
            self.require_finite()
            self.save()
        # A worker process passes on its traceback, whose last line is the sentence.
        sentence = str(error).strip().splitlines()[-1].rpartition("UnreadableFilmError: ")[2]
        return UnreadableFilmError(
            f"{sentence}. Repair it, and {self.again}; or let others stand in for it with --on-bad-image skip, with which "
            "--resume auto goes on too"
        )

    def broke_off(self, error: RuntimeError) -> Exception:
        """What is raised in place of an error that is the machine's, in the middle of a step; another error as it is."""
        if isinstance(error, torch.OutOfMemoryError):
            why = "the device's memory is full: train with a smaller --batch-size, or with --accumulate 2"
            return DeviceFullError(f"{why}; {self.last_good()}")
        if "DataLoader worker (pid" in str(error):
            why = f"one of the {self.config.workers} processes of --workers was killed, which short memory does: {self.again}"
            return TrainingError(f"{why}; {self.last_good()}")
        return error

    def diverged(self, step: int) -> DivergenceError:
        """What is raised when a term was not finite at a step of the running epoch; diverged.json has the batch's rows."""
        rows = self.training.rows(step).tolist()
        names = [name for name, value in self.done.totals.sums.items() if not value.isfinite()] or ["a weight"]
        record = {"epoch": self.done.epoch + 1, "step": step, "terms": names, "rows": rows}
        if is_first():
            text = json.dumps(record, indent=1)
            write_text(self.folder / "diverged.json", text + "\n")
        films = ", ".join(map(str, rows[:SHOWN])) + (", …" if len(rows) > SHOWN else "")
        return DivergenceError(
            f"{', '.join(names)} is not finite at step {step} of epoch {self.done.epoch + 1}, on the films of "
            f"rows {films} (all in {self.folder.name}/diverged.json): try a lower --lr, or --clip-grad 1; {self.last_good()}"
        )

    def last_good(self) -> str:
        """Where the newest state is, in words."""
        return f"the last good state is {self.folder.name}/{state_files(self.folder)[-1].name}"
