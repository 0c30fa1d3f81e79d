"""Which epoch of a training is kept, judged on validation."""

from typing import NamedTuple

from torch import Tensor


class Best(NamedTuple):
    """The epoch kept so far: what it was chosen by, its number from 1, its weights."""

    value: float
    epoch: int
    weights: dict[str, Tensor]


def selection_value(rule: str, validation: dict[str, float | None], epoch: int) -> float:
    """What the kept epoch is highest in; an undefined measure never wins over a defined one."""
    if rule == "last":
        return float(epoch)
    value = validation["ce"] if rule == "loss" else validation[rule]
    if rule == "auroc" and value is None:
        value = validation["accuracy"]
    if value is None:
        return float("-inf")
    return -value if rule == "loss" else value
