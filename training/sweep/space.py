"""Which hyper-parameters a sweep searches, and where: the ranges that stand beside them in the code.

`training.methods` gives a method's fields their `search` range; those not fixed by the user are searched. Words to
choose from, and the learning rate and weight decay of the training, are searched where `--search` asks for them.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from training.console.commandline import fields_of, flag_name, option_fields
from training.run.config import TrainConfig

# What a sweep can seek, always on validation.
DIRECTIONS = dict.fromkeys(("accuracy", "auroc", "worst_group_accuracy"), "maximize")
DIRECTIONS |= {"leak": "minimize", "ce": "minimize"}
# Of these, what reads the bias labels of validation films.
USES_BIAS = ("worst_group_accuracy", "leak")


class Dimension(NamedTuple):
    """One hyper-parameter: a float or int from `low` to `high`, or one of some words."""

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
    """The hyper-parameters to search, in the order of their fields, without those `given`, which the user has fixed.

    Raises ValueError where nothing is left to search, or what is requested can't be searched.
    """
    of_method = _dimensions(type(parameters))
    extra = of_method | {name: d for name, d in _dimensions(TrainConfig).items() if not d.choices}
    for name in requested:
        if name not in extra:
            raise ValueError(f"--search {name}: no such setting can be searched; choose from {', '.join(extra)}")
        if name in given:
            raise ValueError(f"--search {name}: {flag_name(name)} fixes it; leave one of the two out")
    ranges = {name for name, dimension in of_method.items() if not dimension.choices}
    space = [extra[name] for name in extra if name in requested or (name in ranges and name not in given)]
    if not space:
        why = "every one is fixed on the command line" if ranges else f"{method} has none with a range"
        raise ValueError(
            f"--method {method}: there is no hyper-parameter to search, {why}; --search takes {', '.join(extra)}"
        )
    return space


def _dimensions(options: type) -> dict[str, Dimension]:
    """Of the fields of a dataclass that have a range or choices."""
    kinds, dimensions = fields_of(options), {}
    for name, field in option_fields(options).items():
        if field.metadata["search"]:
            dimensions[name] = Dimension(name, kinds[name], *field.metadata["search"])
        elif field.metadata["choices"]:
            dimensions[name] = Dimension(name, kinds[name], choices=tuple(field.metadata["choices"]))
    return dimensions
