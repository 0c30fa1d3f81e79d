"""Hyper-parameters of every method, and the space in which `training.sweep` looks for them.

Apart from the methods themselves, and free of torch, so that `--help` can list every method's flags at once. Defaults are
the papers', where a paper names them. Each file of `training/methods/` has the equations that these stand in.
"""

from dataclasses import dataclass

from training.console.commandline import NOT_NEGATIVE, POSITIVE, SHARE, SHARE_BELOW_1, Limits, option

GREY_LEVELS = Limits("from 2 to 256", low=2, high=256, without_high=False)
POWER = Limits("above 0, up to 1", high=1.0, without_low=True, without_high=False)


@dataclass(frozen=True)
class ErmParameters:
    """Empirical risk minimisation has none."""


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
        "plain", "plain, or balanced: of logits that are given log p(target | bias)", choices=("plain", "balanced")
    )
    spread: float = option(
        0.0, "weight of the difference of cosines' standard deviations within and across biases", limits=NOT_NEGATIVE
    )
    warmup: float = option(0.0, "share of all steps in which alpha, beta and spread rise from 0", limits=SHARE)


@dataclass(frozen=True)
class BiasBalanceParameters:
    """BiasBal has none: its shift is counted from the training films."""


@dataclass(frozen=True)
class ReweightParameters:
    """Inverse-frequency weights are counted from the training films."""


@dataclass(frozen=True)
class GroupDroParameters:
    """Group DRO's game between network and group weights."""

    step_size: float = option(0.01, "eta, step of the group weights", search=(1e-4, 1.0), limits=POSITIVE)
    adjustment: float = option(
        0.0, "C: adds C / sqrt(films) to a group's loss when weights move", search=(0.0, 5.0), limits=NOT_NEGATIVE
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


@dataclass(frozen=True)
class BiasContrastiveParameters:
    """BiasCon's temperature and its balance with the cross-entropy."""

    temperature: float = option(
        0.07, "what cosines of the contrastive term are divided by", search=(0.05, 0.5), limits=POSITIVE
    )
    ce_weight: float = option(
        0.01, "weight of the cross-entropy beside the contrastive term", search=(0.001, 1.0), limits=NOT_NEGATIVE
    )
    cross_entropy: str = option(
        "plain", "plain, or balanced: of logits that are given log p(target | bias)", choices=("plain", "balanced")
    )


@dataclass(frozen=True)
class LnlParameters:
    """How hard the features work against the bias head."""

    reversal: float = option(
        0.1, "mu, strength of the bias head's reversed gradient", search=(0.01, 10.0), limits=NOT_NEGATIVE
    )
    confusion_weight: float = option(
        0.01, "lambda, weight of the bias head's certainty", search=(0.001, 1.0), limits=NOT_NEGATIVE
    )


@dataclass(frozen=True)
class HexParameters:
    """How HEX reads texture, and how strictly it projects it out."""

    grey_levels: int = option(16, "grey levels of the texture matrix", limits=GREY_LEVELS)
    ridge: float = option(
        1e-4, "ridge of the projection, relative to the texture logits", search=(1e-6, 1.0), limits=POSITIVE
    )


@dataclass(frozen=True)
class LearnedMixinParameters:
    """Weight of +H, as in ReBias's comparison, and the bias network's head start."""

    entropy_weight: float = option(
        0.36, "weight of the mixed-in bias's entropy", search=(0.01, 10.0), limits=NOT_NEGATIVE
    )
    bias_pretrain: float = option(
        0.06, "share of all steps, at first, in which the bias network alone learns", limits=SHARE_BELOW_1
    )


@dataclass(frozen=True)
class RubiParameters:
    """RUBi's one weight."""

    mask_weight: float = option(
        1.0, "lambda, weight of the mask's own cross-entropy", search=(0.01, 10.0), limits=NOT_NEGATIVE
    )


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


@dataclass(frozen=True)
class LffParameters:
    """LfF's biased network, and what it is allowed to forget."""

    bias_model: str = option(
        "simple_convnet", "timm backbone of the biased network, one for any image size; best the classifier's own"
    )
    gce_power: float = option(
        0.7, "q of the biased network's loss; the larger, the easier what it learns", search=(0.1, 1.0), limits=POWER
    )
    loss_memory: float = option(0.7, "share of a film's average loss that its next visit keeps", limits=SHARE_BELOW_1)


@dataclass(frozen=True)
class SoftContrastiveParameters:
    """SoftCon's temperature and its balance with the cross-entropy."""

    temperature: float = option(
        0.07, "what cosines of the contrastive term are divided by", search=(0.05, 0.5), limits=POSITIVE
    )
    ce_weight: float = option(
        0.01, "weight of the cross-entropy beside the contrastive term", search=(0.001, 1.0), limits=NOT_NEGATIVE
    )
