"""The register of methods: a name on the command line, its hyper-parameters, and the class that computes its terms.

A method is an `nn.Module` called as `method(output, batch) -> dict[str, Tensor]`: named scalar terms whose sum is the loss.
To add one: write `training/methods/<name>.py`, its hyper-parameters in `parameters.py`, and one entry of `METHODS` here. This
file stays free of torch, so that `--help` can list every method's flags at once.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from training.methods.parameters import EndParameters, ErmParameters

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from datasets.sample import DatasetInfo


@dataclass(frozen=True)
class Setup:
    """What a method is built for.

    Attributes:
        info: names of targets and biases; their numbers size the tables.
        counts: training films by target (rows) and bias (columns).
        width: of the bottleneck features.
        in_chans: channels of the image, 1 or 3.
        rows: every `Sample.row` of the training films is below this number.
        steps: of the whole training, for methods that change their weights on the way.
    """

    info: "DatasetInfo"
    counts: "np.ndarray"
    width: int
    in_chans: int
    rows: int
    steps: int


@dataclass(frozen=True)
class Entry:
    """One registered method.

    Attributes:
        parameters: frozen dataclass of hyper-parameters; its fields become flags of this method alone.
        location: `module:class` of the `nn.Module`, imported when it is built.
        uses_bias: whether training reads bias labels; reports say so.
        summary: one line for `--help`.
        detached_head: the last layer learns from features that pass no gradient back, as after contrastive training.
    """

    parameters: type
    location: str
    uses_bias: bool
    summary: str
    detached_head: bool = False


METHODS: dict[str, Entry] = {
    "erm": Entry(ErmParameters, "training.methods.erm:Erm", False, "cross-entropy alone, the baseline"),
    "end": Entry(EndParameters, "training.methods.end:End", True, "entangling and disentangling (CVPR 2021)"),
}


def build_method(name: str, parameters: Any, setup: Setup) -> "nn.Module":
    """Return the method as a module; `parameters` is an instance of its entry's dataclass."""
    module, _, attribute = METHODS[name].location.partition(":")
    method: nn.Module = getattr(import_module(module), attribute)(parameters, setup)
    return method
