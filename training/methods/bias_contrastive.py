"""BiasCon: supervised contrast in which an anchor's positives are its target's films of another bias.

Hong and Yang, "Unbiased classification through bias-contrastive and bias-balanced learning", NeurIPS 2021. With s_ij the
cosine of samples i and j, T a temperature, and P(i) the samples with i's target and another bias,

    BiasCon = mean over anchors i and positives j in P(i) of log(sum over k != i of exp(s_ik / T)) - s_ij / T
    loss = BiasCon + w CE

Films that share both target and bias are in the sum alone: they are pushed apart, so that the bias doesn't hold them
together. With `balanced` cross-entropy (that of `bias_balance`) it is the paper's joint BC+BB. T = 0.07 and w = 0.01 are the
released ones of Biased MNIST. An anchor without positives counts as 0, as in the released code, so the term fades as bias
and target grow alike; where they are the same, w CE alone is left.

Deviation: the released training draws a second batch for this term, twice augmented with colour jitter and with conflicting
films ten times oversampled. Here it is the batch at hand, seen once; `--sampler balanced` brings the oversampling.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import BiasContrastiveParameters, Setup
from training.methods.bias_balance import log_prior
from training.methods.precision import widen
from training.parallel.reductions import gather_shares

EXCLUDED = -1e4  # stands for a sample's cosine with itself: its exponential is 0, and a batch of one stays finite
SMALLEST = 1e-6  # a weight below is rounding, and would count in full where its anchor has no other positive


def bias_contrastive_loss(
    features: Float[Tensor, "batch dim"], target: Int[Tensor, " batch"], bias: Int[Tensor, " batch"], temperature: float
) -> Float[Tensor, ""]:
    """The contrastive term, in nats; quadratic in the batch, 0 with a zero gradient where no anchor has a positive.

    Features need not be normalised; half precision is computed in float32. T is above 0.
    """
    positives = (target[:, None] == target[None, :]) & (bias[:, None] != bias[None, :])
    return weighted_contrast(features, positives.float(), temperature)


def weighted_contrast(
    features: Float[Tensor, "batch dim"], weights: Float[Tensor, "batch batch"], temperature: float
) -> Float[Tensor, ""]:
    """Mean over anchors (rows) of the weighted mean over positives (columns) of BiasCon's summand.

    Weights of pairs are relative within their row, 0 or at least `SMALLEST`; the diagonal is 0.
    """
    with torch.autocast(features.device.type, enabled=False):
        z = F.normalize(widen(features), dim=1)
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        scaled = (z @ z.T / temperature).masked_fill(itself, EXCLUDED)
        share = weights.to(z.dtype) / weights.sum(1, keepdim=True).clamp(min=SMALLEST)
        return (share * (scaled.logsumexp(1, keepdim=True) - scaled)).sum(1).mean()


class BiasContrastive(nn.Module):
    """The term and the cross-entropy, which here passes its gradient to the features too."""

    shift: Tensor

    def __init__(self, parameters: BiasContrastiveParameters, setup: Setup) -> None:
        super().__init__()
        self.parameters_ = parameters
        prior = log_prior(setup.counts)
        shift = prior if parameters.cross_entropy == "balanced" else torch.zeros_like(prior)
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `ce`, already weighted, and `contrastive`."""
        p = self.parameters_
        ce = F.cross_entropy(widen(output.logits) + self.shift[batch.bias], batch.target)
        features, target, bias = gather_shares(output.features, batch.target, batch.bias)
        contrastive = bias_contrastive_loss(features, target, bias, p.temperature)
        return {"ce": p.ce_weight * ce, "contrastive": contrastive}
