"""The one record that travels from a dataset to a method, and what is known of a dataset as a whole."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from torch import Tensor


class Sample(NamedTuple):
    """One film, or a batch of films: the same fields with a leading axis.

    Attributes:
        image: float32, channels x height x width, normalised as the model's preprocessing says.
        target: int64, index into `DatasetInfo.targets`: what is predicted.
        bias: int64, index into `DatasetInfo.biases`: what must not be used (the hospital source, the colour).
        row: int64, 0-based row of the cohort's table, the only way back to the film.
    """

    image: Tensor
    target: Tensor
    bias: Tensor
    row: Tensor


class Split(StrEnum):
    """The four parts of a cohort; no patient is in two of them."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    EXTERNAL = "external"


@dataclass(frozen=True)
class DatasetInfo:
    """What a checkpoint must remember of the data it was trained on.

    Attributes:
        name: `covid`, `phantom` or `biased-mnist`.
        targets: class names; a sample's target indexes them.
        biases: names of every bias value, those of the external sources too; a sample's bias indexes them.
        bias_name: what the bias is, in words (`source`, `colour`).
        positive: index of the positive class, or None where no class is singled out.
        synthetic: True where no image is of a person; shown wherever a result is shown.
    """

    name: str
    targets: tuple[str, ...]
    biases: tuple[str, ...]
    bias_name: str
    positive: int | None
    synthetic: bool

    @property
    def positive_name(self) -> str | None:
        """Name of the positive class, where there is one."""
        return None if self.positive is None else self.targets[self.positive]
