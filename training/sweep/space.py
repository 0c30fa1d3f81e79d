"""Which hyper-parameters a sweep searches, and where: the ranges that stand beside them in the code.

`training.methods` gives a method's fields their `search` range; those not fixed by the user are searched. Words to
choose from, and the learning rate and weight decay of the training, are searched where `--search` asks for them.
"""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from training.console.commandline import fields_of, flag_name, option_fields
from training.run.config import TrainConfig

# What a sweep can seek, always on validation.
DIRECTIONS = {
    "accuracy": "maximize",
    "auroc": "maximize",
    "worst_group_accuracy": "maximize",
    "leak": "minimize",
    "ce": "minimize",
}
# Of these, what reads the bias labels of validation films.
USES_BIAS = ("worst_group_accuracy", "leak")


class Dimension(NamedTuple):
    """One hyper-parameter.

    Attributes:
        kind: float, int or str.
        low: of its range; 0 where there are choices.
        choices: words, where it is one of them.
    """

    name: str
    kind: type
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    @property
    def logarithmic(self) -> bool:
        """Whether it is searched on a logarithmic scale."""
        return self.low > 0

    def within(self, value: Any) -> Any:
        """The value, moved to the nearest end of the range where it lies outside."""
        return value if self.choices else self.kind(min(max(value, self.low), self.high))


def search_space(parameters: Any, given: Collection[str], requested: Sequence[str], method: str) -> list[Dimension]:
    """The hyper-parameters to search, in the order of their fields.

    Args:
        given: settings that the user has fixed.

    Raises:
        ValueError: nothing is left to search, or what is wanted can't be searched.
    """
    of_method = {field.name: _dimension(type(parameters), field) for field in option_fields(type(parameters)).values()}
    of_training = {field.name: _dimension(TrainConfig, field) for field in option_fields(TrainConfig).values()}
    extra = {name: dimension for name, dimension in of_method.items() if dimension}
    extra |= {name: dimension for name, dimension in of_training.items() if dimension and not dimension.choices}
    for name in requested:
        if name not in extra:
            raise ValueError(f"--search {name}: no such setting can be searched; choose from {', '.join(extra)}")
        if name in given:
            raise ValueError(f"--search {name}: {flag_name(name)} fixes it; leave one of the two out")
    ranges = {name for name, dimension in of_method.items() if dimension and not dimension.choices}
    space = [extra[name] for name in extra if name in requested or (name in ranges and name not in given)]
    if not space:
        why = "every one is fixed on the command line" if ranges else f"{method} has none with a range"
        raise ValueError(
            f"--method {method}: there is no hyper-parameter to search, {why}; --search takes {', '.join(extra)}"
        )
    return space


def _dimension(options: type, field: dataclasses.Field) -> Dimension | None:
    kind = fields_of(options)[field.name]
    if field.metadata["search"]:
        return Dimension(field.name, kind, *field.metadata["search"])
    return Dimension(field.name, kind, choices=tuple(field.metadata["choices"])) if field.metadata["choices"] else None
