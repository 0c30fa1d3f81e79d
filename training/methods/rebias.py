"""ReBias: features independent of those of a network that sees little but the bias.

Bahng, Chun, Yun, Choo, Oh, "Learning de-biased representations with biased representations", ICML 2020, arXiv 1910.02806.
The classifier f and the bias network g, here 1x1 convolutions, play a game over the dependence of their features:

    f minimises CE(f) + lambda_f HSIC(f, g),    g minimises CE(g) - lambda_g HSIC(f, g)

HSIC is the unbiased estimator of Song et al. (JMLR 2012) with kernels exp(-|x - x'|^2 / (2 sigma^2)); it may be negative.
Both weights and sigma are 1 in the authors' Biased MNIST; for larger images they set sigma to the median distance.
Deviations, on purpose:

1. Both networks take one joint step, the other's features detached; the authors update g, then f against the new g.
2. The median is that of the batch, not of a quarter of the training set once an epoch.

A sigma of 1 suits features of unit length. On unbounded ones every kernel value is near 0 and HSIC passes no gradient.
Over several processes HSIC is that of the whole batch.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import RebiasParameters, Setup
from training.methods.bias_network import BiasNetworkMethod
from training.methods.precision import widen
from training.parallel.reductions import gather_shares


def hsic(
    x: Float[Tensor, "batch dim_x"], y: Float[Tensor, "batch dim_y"], sigma: float = 1.0, kernel: str = "fixed"
) -> Float[Tensor, ""]:
    """Unbiased estimate of how dependent two sets of features of the same samples are, on average 0 for independent ones.

    It is 0 with zero gradient for fewer than four samples, where the estimator is undefined. Half precision is computed in
    float32.

    Args:
        sigma: radius of both kernels; in units of the median distance where `kernel` is `median`.
    """
    if kernel not in ("fixed", "median"):
        raise ValueError(f"kernel must be fixed or median, not {kernel!r}")
    with torch.autocast(x.device.type, enabled=False):
        kernel_x, kernel_y = _kernel(x, sigma, kernel), _kernel(y, sigma, kernel)
        n = len(kernel_x)
        if n < 4:
            return 0 * (kernel_x.sum() + kernel_y.sum())
        rows_x, rows_y = kernel_x.sum(0), kernel_y.sum(0)
        product = rows_x.sum() * rows_y.sum() / ((n - 1) * (n - 2))
        return ((kernel_x * kernel_y).sum() + product - 2 * rows_x @ rows_y / (n - 2)) / (n * (n - 3))


class Rebias(BiasNetworkMethod):
    """Cross-entropy of both networks and the two sides of their game."""

    def __init__(self, parameters: RebiasParameters, setup: Setup) -> None:
        super().__init__(setup)
        self.parameters_ = parameters

    def terms(self, output: Output, biased: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `ce`, `hsic` and `bias_hsic`, already weighted and signed."""
        p = self.parameters_
        features, bias_features = gather_shares(output.features, biased.features)
        return {
            "ce": F.cross_entropy(output.logits, batch.target),
            "hsic": p.lambda_f * hsic(features, bias_features.detach(), p.sigma, p.kernel),
            "bias_hsic": -p.lambda_g * hsic(features.detach(), bias_features, p.sigma, p.kernel),
        }


def _kernel(features: Tensor, sigma: float, kernel: str) -> Tensor:
    """Kernel values minus 1: the estimator ignores a constant off the diagonal, on which it needs 0.

    In this form the kernels of close features keep their digits, which the 1 would cost them.
    """
    wide = widen(features)
    wide = wide - wide.mean(0)  # distances don't change, and their difference of squares is exact to more digits
    squares = wide.square().sum(1)
    distances = (squares[:, None] + squares - 2 * wide @ wide.T).clamp(min=0)
    distances = distances * (1 - torch.eye(len(wide), dtype=wide.dtype, device=wide.device))
    radius = sigma**2 * (distances.detach().median().clamp(min=1e-6) if kernel == "median" else 1)
    return torch.expm1(-distances / (2 * radius))
