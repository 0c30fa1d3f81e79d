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
        bias: int64, index into the values of `DatasetInfo.unwanted`: what must not be used (the hospital source, the
            colour). Of several attributes each film has a row of indices, one an attribute.
        row: int64, 0-based row of the cohort's table, the only way back to the film.
    """

    image: Tensor
    target: Tensor
    bias: Tensor
    row: Tensor


UNKNOWN = "unknown"  # the value of an attribute that is not recorded, which is a group of films like any other


class Split(StrEnum):
    """The four parts of a cohort; no patient is in two of them."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    EXTERNAL = "external"


@dataclass(frozen=True)
class Attribute:
    """Something known of a film that a network must not use, such as its source or its view.

    Attributes:
        name: the column of the cohort's table.
        values: names of its values, `UNKNOWN` among them where some films have none.
        weight: of its terms in the loss of a method that takes several; 0: it is measured, and training never reads it.
    """

    name: str
    values: tuple[str, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class DatasetInfo:
    """What a checkpoint must remember of the data it was trained on.

    Attributes:
        name: `covid`, `phantom` or `biased-mnist`.
        targets: class names; a sample's target indexes them.
        biases: names of every source (of Biased MNIST, colour), the external ones too.
        bias_name: what these are, in words (`source`, `colour`).
        positive: index of the positive class, or None where no class is singled out.
        synthetic: True where no image is of a person; shown wherever a result is shown.
        named: the attributes that a training was told not to use, in place of the source; empty: the source.
    """

    name: str
    targets: tuple[str, ...]
    biases: tuple[str, ...]
    bias_name: str
    positive: int | None
    synthetic: bool
    named: tuple[Attribute, ...] = ()

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """What a training is measured by: how far the network uses each of them."""
        return self.named or (Attribute(self.bias_name, self.biases),)

    @property
    def unwanted(self) -> tuple[Attribute, ...]:
        """Those of them whose values a training reads."""
        return tuple(attribute for attribute in self.attributes if attribute.weight)

    @property
    def positive_name(self) -> str | None:
        """Name of the positive class, where there is one."""
        return None if self.positive is None else self.targets[self.positive]
