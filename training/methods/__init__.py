"""The register of methods: a name on the command line, its hyper-parameters, and the class that computes its terms.

A method is an `nn.Module` called as `method(output, batch) -> dict[str, Tensor]`: named scalar terms whose sum is the loss.
Over several processes each calls it with its equal share of the batch; terms that are no mean over samples, and buffers, take
what they need of the others from `training.parallel.distributed`, so that training equals one process with the whole batch.
To add one: write `training/methods/<name>.py`, its hyper-parameters in `parameters.py`, and one entry of `METHODS` here. This
file stays free of torch, so that `--help` can list every method's flags at once.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from training.methods.parameters import (
    BiasBalanceParameters,
    BiasContrastiveParameters,
    EndParameters,
    ErmParameters,
    FairklParameters,
    GroupDroParameters,
    HexParameters,
    LearnedMixinParameters,
    LffParameters,
    LnlParameters,
    RebiasParameters,
    ReweightParameters,
    RubiParameters,
    SoftContrastiveParameters,
)

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
    "bias_balance": Entry(
        BiasBalanceParameters, "training.methods.bias_balance:BiasBalance", True, "bias-balanced logits (NeurIPS 2021)"
    ),
    "bias_contrastive": Entry(
        BiasContrastiveParameters,
        "training.methods.bias_contrastive:BiasContrastive",
        True,
        "contrast whose positives are of another bias (NeurIPS 2021)",
    ),
    "fairkl": Entry(
        FairklParameters,
        "training.methods.fairkl:Fairkl",
        True,
        "supervised contrast with equal spread of cosines (ICLR 2023)",
        detached_head=True,
    ),
    "group_dro": Entry(
        GroupDroParameters, "training.methods.group_dro:GroupDro", True, "worst group weighs most (ICLR 2020)"
    ),
    "reweight": Entry(
        ReweightParameters, "training.methods.reweight:Reweight", True, "every target x bias group weighs the same"
    ),
    "lnl": Entry(LnlParameters, "training.methods.lnl:Lnl", True, "a bias head behind gradient reversal (CVPR 2019)"),
    "hex": Entry(HexParameters, "training.methods.hex:Hex", False, "texture projected out of the logits (ICLR 2019)"),
    "learned_mixin": Entry(
        LearnedMixinParameters,
        "training.methods.learned_mixin:LearnedMixin",
        False,
        "mixture with a bias network, and its entropy (EMNLP 2019)",
    ),
    "rubi": Entry(
        RubiParameters, "training.methods.rubi:Rubi", False, "logits masked by a bias network (NeurIPS 2019)"
    ),
    "rebias": Entry(
        RebiasParameters, "training.methods.rebias:Rebias", False, "HSIC to a bias network's features (ICML 2020)"
    ),
    "lff": Entry(
        LffParameters,
        "training.methods.lff:Lff",
        False,
        "films that a biased network fails on weigh most (NeurIPS 2020)",
    ),
    "soft_contrastive": Entry(
        SoftContrastiveParameters,
        "training.methods.soft_contrastive:SoftContrastive",
        False,
        "contrast whose positives differ to a bias network (NeurIPS 2021)",
    ),
}


def build_method(name: str, parameters: Any, setup: Setup) -> "nn.Module":
    """Return the method as a module; `parameters` is an instance of its entry's dataclass."""
    module, _, attribute = METHODS[name].location.partition(":")
    method: nn.Module = getattr(import_module(module), attribute)(parameters, setup)
    return method
