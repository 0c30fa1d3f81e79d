"""What methods are built for in their tests: a small problem of three targets and four biases."""

import numpy as np

from datasets.sample import DatasetInfo
from training.methods import Setup

INFO = DatasetInfo("phantom", ("a", "b", "c"), ("p", "q", "r", "s"), "source", None, synthetic=True)


def setup_of(info: DatasetInfo = INFO, width: int = 7, rows: int = 64, steps: int = 100, in_chans: int = 3) -> Setup:
    """Every cell of target and bias holds another number of training films."""
    cells = len(info.targets) * len(info.biases)
    counts = np.arange(1, cells + 1).reshape(len(info.targets), len(info.biases))
    return Setup(info, counts, width, in_chans, rows, steps)
