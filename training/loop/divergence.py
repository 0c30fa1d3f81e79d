"""Divergence: a loss term or an output that is not finite."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


class DivergenceError(ValueError):
    """A training whose numbers are not finite; the message says where and what to try."""


def require_finite(numbers: Mapping[str, float | np.ndarray], when: str) -> None:
    """Raise DivergenceError where a number is not finite; the message names it, and says `when`, as in `on test films`."""
    bad = [name for name, value in numbers.items() if not np.isfinite(value).all()]
    if bad:
        raise DivergenceError(f"{', '.join(bad)} is not finite {when}: try a lower --lr, or --clip-grad 1")


class Totals:
    """Sums of an epoch's terms, and the first step at which one was not finite; on the device, so that no step waits.

    Those of an interrupted epoch go on from its `state`.
    """

    def __init__(self, state: dict[str, Tensor] | None = None) -> None:
        self.sums = dict(state or {})
        self.bad: Tensor | None = None

    def add(self, terms: dict[str, Tensor], step: int) -> None:
        """Take in the terms of a step, counted from 1."""
        not_finite = torch.zeros((), dtype=torch.bool, device=next(iter(terms.values())).device)
        for name, term in terms.items():
            value = term.detach()
            self.sums[name] = self.sums[name].to(value) + value if name in self.sums else value
            not_finite = not_finite | ~value.isfinite()
        first = torch.where(not_finite, step, 0)
        self.bad = first if self.bad is None else torch.where(self.bad > 0, self.bad, first)

    def first_bad(self) -> int:
        """The step, from 1, at which a term was first not finite since this was made; 0 for none. Waits for the device."""
        return 0 if self.bad is None else int(self.bad)

    def state(self) -> dict[str, Tensor]:
        """The sums, on the CPU."""
        return {name: value.cpu() for name, value in self.sums.items()}
