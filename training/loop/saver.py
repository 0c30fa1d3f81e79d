"""When the state of a training is saved, and how a training ends early: stopped, diverged, or a film unreadable."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from datasets.cohort.films import UnreadableFilmError
from datasets.files import write_text
from training.console.interruption import InterruptedTrainingError, Interruption
from training.loop import mistakes
from training.loop.assembly import Assembly
from training.loop.divergence import DivergenceError
from training.loop.resume import Progress, save_progress
from training.parallel.ranks import gather, is_first, ranks


class Saver:
    """Writes the states of one training to its run folder.

    Attributes:
        how_to_resume: a clause such as "the same command resumes it", for messages.
    """

    def __init__(self, training: Assembly, progress: Progress, folder: Path, how_to_resume: str) -> None:
        self.training, self.progress, self.folder, self.how_to_resume = training, progress, folder, how_to_resume
        self.saved_at = time.monotonic()

    def due(self) -> bool:
        """Whether the last state is older than `--save-minutes`."""
        return time.monotonic() - self.saved_at >= 60 * self.training.config.save_minutes

    def save(self) -> None:
        """Write the state; all processes must call it."""
        save_progress(self.training, self.progress, self.folder, self.training.config.keep)
        self.saved_at = time.monotonic()

    def require_finite(self) -> None:
        """Raise DivergenceError if a term of the running epoch, or a weight, is not finite; all processes must call it.

        No state is saved without this, or it would replace the last good one. A gradient that is not finite shows in the
        weights first. `diverged.json` lists the films of the batch, by row from 0 and by line, from 2 as in metadata.csv.
        """
        first_bad = gather(torch.tensor(self.progress.totals.first_bad()))
        if (first_bad > 0).any():
            step = int(first_bad[first_bad > 0].min())
        elif all_finite(self.training):
            return
        else:
            step = self.progress.step
        rows = self.training.rows(step).tolist()
        lines = [row + 2 for row in rows]
        sums = self.progress.totals.sums
        terms = [name for name, value in sums.items() if not value.isfinite()] or ["a weight"]
        if is_first():
            record = {"epoch": self.progress.epoch + 1, "step": step, "terms": terms, "rows": rows, "lines": lines}
            write_text(self.folder / "diverged.json", json.dumps(record, indent=1) + "\n")
        raise DivergenceError(mistakes.diverged(terms, step, self.progress.epoch + 1, lines, self.folder))

    def stopped(self, interruption: Interruption) -> InterruptedTrainingError:
        """The exception of a training that a signal stopped and whose state is saved."""
        text = mistakes.stopped(interruption.asked, self.progress, self.training.steps, self.how_to_resume)
        return InterruptedTrainingError(text)

    def unreadable(self, error: Exception, save: bool = True) -> UnreadableFilmError:
        """The exception of a training that needs a film which can't be decoded; the steps before it are saved.

        Other processes are in the middle of a step and can't join in saving: theirs is the last state on disk.
        """
        if save and ranks() == 1:
            self.require_finite()
            self.save()
        return UnreadableFilmError(mistakes.unreadable(error, self.how_to_resume))

    @contextmanager
    def stopping_at_once(self, interruption: Interruption, save: bool = True) -> Iterator[None]:
        """A signal ends the block at once, since what it does can be repeated; several processes finish it first.

        Args:
            save: whether something is not on disk yet.
        """
        try:
            with interruption.raising() if ranks() == 1 else nullcontext():
                yield
        except InterruptedTrainingError:
            if save:
                self.save()
            raise self.stopped(interruption) from None
        except UnreadableFilmError as error:
            raise self.unreadable(error, save) from None


def all_finite(training: Assembly) -> bool:
    """Whether every weight is finite."""
    return bool(torch.stack([weight.detach().isfinite().all() for weight in training.joint.parameters()]).all())
