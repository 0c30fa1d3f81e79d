"""FairKL with eps-SupInfoNCE: contrastive features whose cosines are spread alike within a bias and across biases.

Barbano, Dufumier, Tartaglione, Grangetto, Gori, "Unbiased supervised contrastive learning", ICLR 2023, arXiv 2211.05568.
s_ij is the cosine of samples i and j; positives share the target, negatives do not; aligned pairs share the bias,
conflicting ones do not. For each positive j of anchor i, averaged over j and then over anchors,

    eps-SupInfoNCE = log(exp(s_ij / T - epsilon) + sum over negatives k of exp(s_ik / T)) - s_ij / T

and with mean m and standard deviation d of the cosines over the four kinds of pairs (+ positive, - negative; a aligned,
c conflicting),

    FairKL = (m+a - m+c)^2 + (m-a - m-c)^2 + kld [(d+a - d+c)^2 + (d-a - d-c)^2] - m+c + m-a

The last two summands are the released code's, not the paper's equation: they pull conflicting positives together and push
aligned negatives apart. The last layer learns by cross-entropy from detached features. Defaults are the released settings
of Biased MNIST (temperature 0.1, epsilon 0, kld 1), but for the weight of FairKL: theirs was searched, ours starts at 1.

Deviations from the released code (github EIDOSLAB/unbiased-contrastive-learning at 532f998):

1. Deviations are over the pairs of a kind alone. The released ones are over the whole batch x batch matrix, with 0 for
   pairs of another kind, so they also depend on how many pairs there are.
2. A sample is no pair with itself; the released aligned positives hold every self-pair, whose cosine is 1.
3. A difference counts only where both sides have pairs (two, for the deviations, which divide by their number); an empty
   side is 0 in the released code.
4. eps-SupInfoNCE has no factor T / 0.07, is computed as a log-sum-exp without 1e-6 inside, and takes its weight once.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import FairklParameters, Setup
from training.methods.precision import widen
from training.parallel.reductions import gather_shares


def eps_sup_info_nce(
    features: Float[Tensor, "batch dim"], target: Int[Tensor, " batch"], temperature: float, epsilon: float
) -> Float[Tensor, ""]:
    """The contrastive term; an anchor without positives counts as 0, one without negatives as -epsilon.

    Args:
        features: bottleneck features, not necessarily normalised; half precision is computed in float32.
        temperature: T, above 0; small ones look at the hardest negatives only.
        epsilon: margin by which a positive should win, in units of s / T, 0 or more.
    """
    with torch.autocast(features.device.type, enabled=False):
        scaled = _cosines(features) / temperature
        same = target[:, None] == target[None, :]
        negatives = scaled.masked_fill(same, -torch.inf)
        # logaddexp of the row's negatives keeps each positive's own denominator without a batch^3 tensor.
        rivals = torch.logsumexp(torch.cat([negatives, torch.full_like(scaled[:, :1], FLOOR)], 1), 1, keepdim=True)
        per_pair = torch.logaddexp(scaled - epsilon, rivals) - scaled
        positives = same & ~torch.eye(len(target), dtype=torch.bool, device=target.device)
        means = per_pair.masked_fill(~positives, 0).sum(1) / positives.sum(1).clamp(min=1)
        return means.mean()


def fairkl(
    features: Float[Tensor, "batch dim"], target: Int[Tensor, " batch"], bias: Int[Tensor, " batch"], kld: float
) -> Float[Tensor, ""]:
    """The regulariser, at least -2; where a difference has no pairs on one side it is 0 with a zero gradient.

    Features as in `eps_sup_info_nce`; kld, 0 or more, weighs the differences of standard deviations.
    """
    with torch.autocast(features.device.type, enabled=False):
        mean, deviation, pairs = _moments(features, target, bias)
        shift = _squared_differences(mean, pairs >= 2)  # ordered pairs: 2 are one
        spread = _squared_differences(deviation, pairs >= 4)
        return shift + kld * spread - mean[1] + mean[2]


def spread_difference(
    features: Float[Tensor, "batch dim"], target: Int[Tensor, " batch"], bias: Int[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """FairKL's second-order part alone: (d+a - d+c)^2 + (d-a - d-c)^2, for methods that constrain the means otherwise."""
    with torch.autocast(features.device.type, enabled=False):
        _, deviation, pairs = _moments(features, target, bias)
        return _squared_differences(deviation, pairs >= 4)


class Fairkl(nn.Module):
    """Both terms, and the cross-entropy that trains the last layer; registered with `detached_head`."""

    def __init__(self, parameters: FairklParameters, setup: Setup) -> None:
        super().__init__()
        self.parameters_ = parameters

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `ce`, `contrastive` and `fairkl`, the last two already weighted."""
        p = self.parameters_
        features, target, bias = gather_shares(output.features, batch.target, batch.bias)
        return {
            "ce": F.cross_entropy(widen(output.logits), batch.target),
            "contrastive": p.contrastive_weight * eps_sup_info_nce(features, target, p.temperature, p.epsilon),
            "fairkl": p.fairkl_weight * fairkl(features, target, bias, p.kld),
        }


FLOOR = -1e4  # exp of it is 0: the row of an anchor without negatives has a finite log-sum-exp


def _cosines(features: Tensor) -> Tensor:
    z = F.normalize(widen(features), dim=1)
    return z @ z.T


def _squared_differences(values: Tensor, known: Tensor) -> Tensor:
    """Aligned against conflicting, of positives and of negatives, where both are known."""
    both = known.view(2, 2).all(1)
    return torch.where(both, (values[0::2] - values[1::2]).square(), 0).sum()


def _moments(features: Tensor, target: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and deviation of the cosines and number of ordered pairs: +a, +c, -a, -c."""
    cosines = _cosines(features)
    positive, aligned = target[:, None] == target[None, :], bias[:, None] == bias[None, :]
    other = ~torch.eye(len(target), dtype=torch.bool, device=target.device)
    kinds = torch.stack([positive & aligned & other, positive & ~aligned, ~positive & aligned, ~positive & ~aligned])
    weights = kinds.to(cosines.dtype)
    pairs = weights.sum((1, 2))
    mean = (weights * cosines).sum((1, 2)) / pairs.clamp(min=1)
    variance = (weights * (cosines - mean[:, None, None]).square()).sum((1, 2)) / pairs.clamp(min=1)
    # The slope of a square root at 0 is infinite, and infinity times 0 is NaN.
    deviation = torch.where(variance > 0, torch.where(variance > 0, variance, 1).sqrt(), 0)
    return mean, deviation, pairs
