"""The register of methods: a name on the command line, its hyper-parameters, and the class that computes its terms.

A method is an `nn.Module` called as `method(output, batch) -> dict[str, Tensor]`: named scalar terms whose sum is the loss.
To add one: write `training/methods/<name>.py`, then its parameters and one line of `METHODS` here. This file stays free
of torch, so that `--help` can list every method's flags at once.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from training.commandline import option

if TYPE_CHECKING:
    from torch import nn

    from datasets.sample import DatasetInfo


@dataclass(frozen=True)
class ErmParameters:
    """Empirical risk minimisation has none."""


@dataclass(frozen=True)
class EndParameters:
    """EnD's two weights and the reading of its first term; `training/methods/end.py` has the equations."""

    alpha: float = option(1.0, "weight of R_perp, which disentangles features that share the bias")
    beta: float = option(1.0, "weight of R_par, which entangles features of one target across biases")
    form: str = option(
        "signed", "R_perp: |sum of cosines| per bias, or mean |cosine| (quadratic)", choices=("signed", "absolute")
    )


@dataclass(frozen=True)
class Entry:
    """One registered method.

    Attributes:
        parameters: frozen dataclass of hyper-parameters; its fields become flags of this method alone.
        location: `module:class` of the `nn.Module`, imported when it is built.
        uses_bias: whether training reads bias labels; reports say so.
        summary: one line for `--help`.
    """

    parameters: type
    location: str
    uses_bias: bool
    summary: str


METHODS: dict[str, Entry] = {
    "erm": Entry(ErmParameters, "training.methods.erm:Erm", False, "cross-entropy alone, the baseline"),
    "end": Entry(EndParameters, "training.methods.end:End", True, "entangling and disentangling (CVPR 2021)"),
}


def build_method(name: str, parameters: Any, info: "DatasetInfo") -> "nn.Module":
    """Return the method as a module; `parameters` is an instance of its entry's dataclass."""
    module, _, attribute = METHODS[name].location.partition(":")
    method: nn.Module = getattr(import_module(module), attribute)(parameters, info)
    return method
