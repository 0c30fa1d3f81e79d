"""The methods: for each a file, and below an entry with its settings and what `--help` says of it.

A method is an `nn.Module` called as `method(output, batch) -> dict[str, Tensor]`: named scalar terms whose sum is the loss.
Over several processes each calls it with its equal share of the batch; terms that are no mean over samples, and buffers, take
what they need of the others from `training.parallel.reductions`, so that training equals one process with the whole batch.

The settings stand here and not beside the class, because `--help` and `--config` need those of every method and answer
without torch; a method's own file is imported when the method is built. docs/adding-a-method.md adds one.

bias_network.py  what RUBi, ReBias, LearnedMixin and SoftCon share
precision.py     losses in float32 or wider
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from training.console.commandline import NOT_NEGATIVE, POSITIVE, SHARE, SHARE_BELOW_1, Limits, option

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from datasets.sample import DatasetInfo


@dataclass(frozen=True)
class Setup:
    """What a method is built for.

    Attributes:
        counts: training films by target (rows) and bias (columns), the first where there are several.
        width: of the features.
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
class NoParameters:
    """The settings of a method that has none."""


class Entry(NamedTuple):
    """One registered method.

    Attributes:
        location: `file.py:Class` in this folder.
        summary: one line for `--help`.
        parameters: frozen dataclass of settings; its fields become flags of this method alone. Defaults are the paper's,
            where it names them, and `search` is the range in which `training.sweep` looks.
        uses_bias: whether training reads bias labels; reports say so.
        takes_several: whether `Sample.bias` may have several attributes; a method that reads no bias takes any.
        detached_head: the last layer learns from features that pass no gradient back, as after contrastive training.
    """

    location: str
    summary: str
    parameters: type = NoParameters
    uses_bias: bool = False
    takes_several: bool = False
    detached_head: bool = False


METHODS: dict[str, Entry] = {}


def build_method(name: str, parameters: Any, setup: Setup) -> "nn.Module":
    """Import the method's file and build it; `parameters` is an instance of its entry's dataclass."""
    file, _, class_name = METHODS[name].location.partition(".py:")
    method: nn.Module = getattr(import_module(f"training.methods.{file}"), class_name)(parameters, setup)
    return method


METHODS["erm"] = Entry("erm.py:Erm", "cross-entropy alone, the baseline")


@dataclass(frozen=True)
class EndParameters:
    """EnD's two weights, the reading of its first term, and what goes beyond the paper."""

    alpha: float = option(
        1.0,
        "weight of R_perp, which disentangles features that share the bias",
        search=(0.01, 10.0),
        limits=NOT_NEGATIVE,
    )
    beta: float = option(
        1.0,
        "weight of R_par, which entangles features of one target across biases",
        search=(0.1, 50.0),
        limits=NOT_NEGATIVE,
    )
    form: str = option(
        "absolute",
        "R_perp: mean |cosine| (quadratic in the batch), or the authors' |sum of cosines| per bias (linear)",
        choices=("absolute", "signed"),
    )
    pairs: str = option(
        "all", "pairs of R_par: all, or the half that the released code sees (quadratic)", choices=("all", "released")
    )
    cross_entropy: str = option(
        "plain", "plain, or balanced: log p(target | bias) is added to the logits", choices=("plain", "balanced")
    )
    spread: float = option(
        0.0, "weight of the difference of cosines' standard deviations within and across biases", limits=NOT_NEGATIVE
    )
    warmup: float = option(0.0, "share of all steps in which alpha, beta and spread rise from 0", limits=SHARE)


METHODS["end"] = Entry(
    "end.py:End", "entangling and disentangling (CVPR 2021)", EndParameters, uses_bias=True, takes_several=True
)


METHODS["bias_balance"] = Entry("bias_balance.py:BiasBalance", "bias-balanced logits (NeurIPS 2021)", uses_bias=True)


@dataclass(frozen=True)
class SoftContrastiveParameters:
    """The contrast's temperature and its balance with the cross-entropy."""

    temperature: float = option(
        0.07, "what cosines of the contrastive term are divided by", search=(0.05, 0.5), limits=POSITIVE
    )
    ce_weight: float = option(
        0.01, "weight of the cross-entropy beside the contrastive term", search=(0.001, 1.0), limits=NOT_NEGATIVE
    )


@dataclass(frozen=True)
class BiasContrastiveParameters(SoftContrastiveParameters):
    """BiasCon's settings: those of SoftCon, and which cross-entropy."""

    cross_entropy: str = option(
        "plain", "plain, or balanced: log p(target | bias) is added to the logits", choices=("plain", "balanced")
    )


METHODS["bias_contrastive"] = Entry(
    "bias_contrastive.py:BiasContrastive",
    "supervised contrast whose positives have another bias (NeurIPS 2021)",
    BiasContrastiveParameters,
    uses_bias=True,
)


@dataclass(frozen=True)
class FairklParameters:
    """eps-SupInfoNCE and FairKL."""

    temperature: float = option(
        0.1, "what cosines of the contrastive term are divided by", search=(0.05, 0.5), limits=POSITIVE
    )
    epsilon: float = option(
        0.0, "margin of positives over negatives, after division by the temperature", limits=NOT_NEGATIVE
    )
    contrastive_weight: float = option(1.0, "weight of the contrastive term", search=(0.01, 1.0), limits=NOT_NEGATIVE)
    fairkl_weight: float = option(1.0, "weight of FairKL", search=(0.1, 50.0), limits=NOT_NEGATIVE)
    kld: float = option(
        1.0, "weight of differing standard deviations within FairKL", search=(0.1, 10.0), limits=NOT_NEGATIVE
    )


METHODS["fairkl"] = Entry(
    "fairkl.py:Fairkl",
    "supervised contrast with equal spread of cosines (ICLR 2023)",
    FairklParameters,
    uses_bias=True,
    detached_head=True,
)


@dataclass(frozen=True)
class GroupDroParameters:
    """Group DRO's game between network and group weights."""

    step_size: float = option(0.01, "eta, step of the group weights", search=(1e-4, 1.0), limits=POSITIVE)
    adjustment: float = option(
        0.0, "C: adds C / sqrt(films) to a group's loss when weights move", search=(0.0, 5.0), limits=NOT_NEGATIVE
    )


METHODS["group_dro"] = Entry(
    "group_dro.py:GroupDro", "the worst group weighs most (ICLR 2020)", GroupDroParameters, uses_bias=True
)


METHODS["reweight"] = Entry("reweight.py:Reweight", "every target x bias group weighs the same", uses_bias=True)


@dataclass(frozen=True)
class LnlParameters:
    """How hard the features work against the bias head."""

    reversal: float = option(
        0.1, "mu, strength of the bias head's reversed gradient", search=(0.01, 10.0), limits=NOT_NEGATIVE
    )
    confusion_weight: float = option(
        0.01, "lambda, weight of the bias head's certainty", search=(0.001, 1.0), limits=NOT_NEGATIVE
    )


METHODS["lnl"] = Entry("lnl.py:Lnl", "a bias head behind gradient reversal (CVPR 2019)", LnlParameters, uses_bias=True)


@dataclass(frozen=True)
class HexParameters:
    """How HEX reads texture, and how strictly it projects it out."""

    grey_levels: int = option(
        16, "grey levels of the texture matrix", limits=Limits("from 2 to 256", low=2, high=256, without_high=False)
    )
    ridge: float = option(
        1e-4, "ridge of the projection, relative to the texture logits", search=(1e-6, 1.0), limits=POSITIVE
    )


METHODS["hex"] = Entry("hex.py:Hex", "texture projected out of the logits (ICLR 2019)", HexParameters)


@dataclass(frozen=True)
class LearnedMixinParameters:
    """Weight of +H, as in ReBias's comparison, and the bias network's head start."""

    entropy_weight: float = option(
        0.36, "weight of the mixed-in bias's entropy", search=(0.01, 10.0), limits=NOT_NEGATIVE
    )
    bias_pretrain: float = option(
        0.06, "share of all steps, at first, in which the bias network alone learns", limits=SHARE_BELOW_1
    )


METHODS["learned_mixin"] = Entry(
    "learned_mixin.py:LearnedMixin", "mixture with a bias network, and its entropy (EMNLP 2019)", LearnedMixinParameters
)


@dataclass(frozen=True)
class RubiParameters:
    """RUBi's one weight."""

    mask_weight: float = option(
        1.0, "lambda, weight of the mask's own cross-entropy", search=(0.01, 10.0), limits=NOT_NEGATIVE
    )


METHODS["rubi"] = Entry("rubi.py:Rubi", "logits masked by a bias network (NeurIPS 2019)", RubiParameters)


@dataclass(frozen=True)
class RebiasParameters:
    """The two weights of ReBias's game and the kernel of HSIC."""

    lambda_f: float = option(1.0, "weight of HSIC in the classifier's loss", search=(0.01, 100.0), limits=NOT_NEGATIVE)
    lambda_g: float = option(
        1.0, "weight of HSIC in the bias network's gain", search=(0.01, 100.0), limits=NOT_NEGATIVE
    )
    kernel: str = option(
        "fixed", "radius of HSIC's kernels: sigma, or sigma median distances", choices=("fixed", "median")
    )
    sigma: float = option(1.0, "radius of HSIC's kernels, see --kernel", search=(0.1, 10.0), limits=POSITIVE)


METHODS["rebias"] = Entry("rebias.py:Rebias", "HSIC to a bias network's features (ICML 2020)", RebiasParameters)


@dataclass(frozen=True)
class LffParameters:
    """LfF's biased network, and how slowly it forgets."""

    bias_model: str = option(
        "simple_convnet", "timm backbone of the biased network, for any image size; best the classifier's own"
    )
    gce_power: float = option(
        0.7,
        "q of the biased network's loss; the larger, the easier what it learns",
        search=(0.1, 1.0),
        limits=Limits("above 0, up to 1", high=1.0, without_low=True, without_high=False),
    )
    loss_memory: float = option(0.7, "share of a film's average loss that its next visit keeps", limits=SHARE_BELOW_1)


METHODS["lff"] = Entry("lff.py:Lff", "films that a biased network fails on weigh most (NeurIPS 2020)", LffParameters)


METHODS["soft_contrastive"] = Entry(
    "soft_contrastive.py:SoftContrastive",
    "supervised contrast whose positives differ to a bias network (NeurIPS 2021)",
    SoftContrastiveParameters,
)
