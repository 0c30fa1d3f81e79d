"""The hyper-parameters that a candidate is tried with.

Every candidate has the same budget: its defaults, and seven points spread over the ranges that its method names (Halton's
sequence, scrambled; Owen 2017), on a logarithmic scale where a range is above 0.
"""

import dataclasses
import math
import zlib

from training.benchmark.biased_mnist.protocol import TRIALS
from training.methods import METHODS
from training.recipe.candidate import Candidate


def settings_to_try(candidate: Candidate) -> list[dict[str, float]]:
    """Hyper-parameters to try, the defaults (an empty mapping) first; those alone where the method has no range."""
    from scipy.stats import qmc  # half a second that --help does without

    ranges = {
        field.name: field.metadata["search"]
        for field in dataclasses.fields(METHODS[candidate.method].parameters)
        if field.metadata["search"] and field.name not in dict(candidate.fixed)
    }
    if not ranges:
        return [{}]
    seed = zlib.crc32(candidate.method.encode())  # forms of one method are tried with the same points
    points = qmc.Halton(len(ranges), seed=seed).random(TRIALS - 1)
    return [{}, *({name: _place(u, *ranges[name]) for name, u in zip(ranges, row, strict=True)} for row in points)]


def _place(share: float, low: float, high: float) -> float:
    """The value at this share of the way from low to high, to three digits."""
    value = low * (high / low) ** share if low > 0 else low + share * (high - low)
    return float(f"{value:.3g}") if math.isfinite(value) else value
