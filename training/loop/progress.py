"""The bar of a training run: how far it is, how fast, and what its terms are at."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from training.console.messages import ERRORS


@contextmanager
def progress_bar(method: str, steps: int) -> Iterator[Callable[[int, str], None]]:
    """Steps of the whole training; yields what moves it to a step, with a note on the terms of the running epoch."""
    whole = Column(no_wrap=True, min_width=2 * len(str(steps)) + 1)
    counted, elapsed = MofNCompleteColumn(table_column=whole), TimeElapsedColumn(table_column=Column(min_width=7))
    note = TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
    bar = Progress(TextColumn("{task.description}"), BarColumn(10), counted, elapsed, note, console=ERRORS, expand=True)
    with bar:
        task = bar.add_task(method, total=steps, note="")
        yield lambda step, note: bar.update(task, completed=step, note=note)


def describe(means: dict[str, float], pairs: np.ndarray, rate: float) -> str:
    """The terms, the speed, and the pairs a batch that R_perp and R_par see."""
    terms = " ".join(f"{name} {value:.3f}" for name, value in means.items())
    return f"{terms} · {rate:.0f}/s · pairs {pairs[0]:.0f} + {pairs[1]:.0f}"
