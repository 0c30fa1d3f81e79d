"""When a training is saved, and what is said when it ends before its time: stopped, diverged, or a film unreadable."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datasets.cohort import CohortError, UnreadableFilmError
from training.assembly import Assembly
from training.checkpoint import write_aside
from training.divergence import DivergenceError
from training.interruption import InterruptedTrainingError, Interruption
from training.ranks import is_first, ranks
from training.resume import Progress, save_progress, state_files

SHOWN = 8  # films of a batch that a message names


class Keeper:
    """The states of one training.

    Attributes:
        folder: of the run.
        lost: reason by position, of films that could not be decoded when they were to be measured.
    """

    def __init__(self, training: Assembly, done: Progress, folder: Path) -> None:
        self.training, self.done, self.folder = training, done, folder
        self.config, self.saved = training.config, time.monotonic()
        self.lost: dict[int, str] = {}

    def due(self) -> bool:
        """Whether the last state is older than `--save-minutes`."""
        return time.monotonic() - self.saved >= 60 * self.config.save_minutes

    def save(self) -> None:
        """Write the state; all processes must call it."""
        save_progress(self.training, self.done, self.folder, self.config.keep)
        self.saved = time.monotonic()

    @contextmanager
    def leaving_when_told(self, interruption: Interruption, save: bool = True) -> Iterator[None]:
        """A signal ends the block at once, for what it does can be done again; several processes finish it first.

        Args:
            interruption: who listens.
            save: whether there is something that is not on disk yet.
        """
        if ranks() > 1:
            yield
            return
        try:
            with interruption.raising():
                yield
        except InterruptedTrainingError:
            if save:
                self.save()
            raise self.stopped(interruption) from None

    def stopped(self, interruption: Interruption) -> InterruptedTrainingError:
        """What is raised once a signal is answered and the state is saved."""
        done, steps = self.done, self.training.steps
        where = f"step {done.step} of {steps} of epoch {done.epoch + 1}" if done.step else f"epoch {done.epoch}"
        why = interruption.asked or "a signal to another process"
        return InterruptedTrainingError(f"stopped by {why} after {where}, and saved; {self._way_on()}")

    def gave_up(self, error: CohortError) -> UnreadableFilmError:
        """What is raised when a film can't be decoded, after the steps before it are saved.

        Other processes are in the middle of a step and can't join in saving, so that theirs is the last state on disk.
        """
        if ranks() == 1:
            self.save()
        # A worker process passes on its traceback, whose last line is the sentence.
        sentence = str(error).strip().splitlines()[-1].rpartition("UnreadableFilmError: ")[2]
        return UnreadableFilmError(
            f"{sentence}. Repair or remove it, or let others stand in with --on-bad-image skip; {self._way_on()}"
        )

    def diverged(self, step: int) -> DivergenceError:
        """What is raised when a term was not finite at a step of the running epoch; diverged.json has the batch's rows."""
        rows = self.training.rows(step).tolist()
        names = [name for name, value in self.done.totals.sums.items() if not value.isfinite()]
        record = {"epoch": self.done.epoch + 1, "step": step, "terms": names, "rows": rows}
        if is_first():
            text = json.dumps(record, indent=1)
            write_aside(self.folder / "diverged.json", lambda file: file.write_text(text + "\n", encoding="utf-8"))
        films = ", ".join(map(str, rows[:SHOWN])) + (", …" if len(rows) > SHOWN else "")
        return DivergenceError(
            f"{', '.join(names) or 'a term'} is not finite at step {step} of epoch {self.done.epoch + 1}, on the films of "
            f"rows {films} (all in {self.folder.name}/diverged.json): try a lower --lr, or --clip-grad 1; {self.last_good()}"
        )

    def last_good(self) -> str:
        """Where the newest state is, in words."""
        return f"the last good state is {self.folder.name}/{state_files(self.folder)[-1].name}"

    def _way_on(self) -> str:
        return f"go on with --resume {self.folder}, or with the same command and --resume auto"
