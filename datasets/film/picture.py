"""Whether grey values still make a picture: some films are one grey, and some become so by their own window."""

import numpy as np

FEWEST = 16  # grey levels of a radiograph; the poorest 8-bit copies have more than a hundred
NEARLY_ALL = 0.95  # of a film's pixels; collimation and burnt-out air leave more than the rest
TELLING = 512  # rows and columns that tell whether there is a picture
MEASURED = 1024  # rows and columns for percentiles, about a million pixels


def sampled(film: np.ndarray, lines: int = TELLING) -> np.ndarray:
    """Rows and columns of a film at equal distances, from `lines` to twice as many on the shorter side; all if fewer."""
    step = max(1, min(film.shape) // lines)
    return film[::step, ::step]


def is_picture(counts: np.ndarray) -> bool:
    """Whether stored values make a picture: 16 levels or more between the 0.5th and 99.5th percentile.

    Args:
        counts: how many pixels have each value, in the values' order; padding not counted.
    """
    below = np.cumsum(counts)
    if below[-1] == 0:
        return False
    low, high = np.searchsorted(below, np.array([0.005, 0.995]) * below[-1])
    return int(np.count_nonzero(counts[low : high + 1])) >= FEWEST


def is_collapsed(values: np.ndarray, counts: np.ndarray) -> bool:
    """Whether greys in [0, 1] leave nothing to see of stored values: a handful of 8-bit levels, or nearly all at an end.

    Args:
        values: the grey of each stored value.
        counts: how many pixels have it; padding not counted.
    """
    levels = np.bincount(np.rint(255 * np.clip(values, 0, 1)).astype(int), counts, minlength=256)
    total = levels.sum()
    return bool(not is_picture(levels) or max(levels[0], levels[-1]) > NEARLY_ALL * total)
