"""When a training is lost: a number that is none any more, in its terms or in what its model says."""

from collections.abc import Mapping

import numpy as np


class DivergenceError(ValueError):
    """A training that went out of bounds; the message says where and what to try."""


def require_finite(numbers: Mapping[str, float | np.ndarray], when: str) -> None:
    """Stop where a number is none.

    Args:
        numbers: by the name that the message gives them.
        when: as in `by step 10 of epoch 2`.

    Raises:
        DivergenceError: one of them is not finite.
    """
    bad = [name for name, value in numbers.items() if not np.isfinite(value).all()]
    if bad:
        raise DivergenceError(f"{', '.join(bad)} is not finite {when}: try a lower --lr, or --clip-grad 1")
