"""The bar of a training run: how far it is, and what its terms are at."""

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from training.report import ERRORS


def progress_bar() -> Progress:
    """Steps of the whole training, with the terms of the running epoch."""
    elapsed, note = TimeElapsedColumn(), TextColumn("{task.fields[note]}")
    return Progress(
        TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), elapsed, note, console=ERRORS
    )


def describe(means: dict[str, float], pairs: np.ndarray, rate: float) -> str:
    """The terms, the speed, and the pairs a batch that R_perp and R_par see."""
    terms = " ".join(f"{name} {value:.3f}" for name, value in means.items())
    return f"{terms} · {rate:.0f}/s · pairs {pairs[0]:.0f} + {pairs[1]:.0f}"
