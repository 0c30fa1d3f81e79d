"""Which epoch of a training is kept, judged on validation."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Best(NamedTuple):
    """The epoch kept so far: what it was chosen by, its number from 1, its weights."""

    value: float
    epoch: int
    weights: dict[str, Tensor]


def selection_value(
    rule: str, validation: dict[str, float | None], epoch: int, by_bias: Sequence[str] = ("worst_group_accuracy",)
) -> float:
    """What the kept epoch is highest in; an undefined measure never wins over a defined one.

    Args:
        by_bias: the names of the worst group's accuracy, one for each bias that training reads; the lowest counts.
    """
    if rule == "last":
        return float(epoch)
    if rule == "worst_group_accuracy":
        known = [value for value in (validation[name] for name in by_bias) if value is not None]
        return min(known, default=float("-inf"))
    value = validation["ce"] if rule == "loss" else validation[rule]
    if rule == "auroc" and value is None:
        value = validation["accuracy"]
    if value is None:
        return float("-inf")
    return -value if rule == "loss" else value
