"""The bar of a training run: how far it is, how fast, and what its terms are at."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from training.console.messages import ERRORS


class NotedProgress(Progress):
    """Bars, each with a line of words below it that may be as wide as the terminal."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, then the notes."""
        yield from super().get_renderables()
        yield from (Text(f"  {task.fields['note']}") for task in self.tasks if task.fields["note"])


@contextmanager
def progress_bar(method: str, steps: int) -> Iterator[Callable[[int, str], None]]:
    """Steps of the whole training; yields what moves it to a step, with a note on the terms of the running epoch."""
    columns = TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn()
    with NotedProgress(*columns, console=ERRORS) as bar:
        task = bar.add_task(method, total=steps, note="")
        yield lambda step, note: bar.update(task, completed=step, note=note)


def describe(means: dict[str, float], pairs: np.ndarray, rate: float) -> str:
    """The terms, the speed, and the pairs a batch that R_perp and R_par see."""
    terms = " ".join(f"{name} {value:.3f}" for name, value in means.items())
    return f"{terms} · {rate:.0f}/s · pairs {pairs[0]:.0f} + {pairs[1]:.0f}"
