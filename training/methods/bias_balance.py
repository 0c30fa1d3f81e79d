"""BiasBal: cross-entropy of logits plus log p(target | bias), so that they need not learn what the bias says of the target.

Hong and Yang, "Unbiased classification through bias-contrastive and bias-balanced learning", NeurIPS 2021. With p(y | b)
the share of target y among the training films of bias b,

    loss = CE(logits + log(p(y | b) + 1e-9), y)

1e-9 is the authors' smoothing of empty cells. Prediction uses the logits alone, which then answer for a world where every
target is as frequent in each bias. Where bias equals target, the shift of 20 nats leaves the logits nothing to learn.

Deviation: a bias without training films has no shift; the released code divides by zero there.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import NoParameters, Setup
from training.methods.precision import widen

SMOOTHING = 1e-9


def log_prior(counts: Int[np.ndarray, "targets biases"]) -> Float[Tensor, "biases targets"]:
    """log(p(target | bias) + 1e-9) of the training films, one row a bias; equal for all targets of a bias without films."""
    counted = torch.as_tensor(counts, dtype=torch.float64).T
    share = counted / counted.sum(1, keepdim=True).clamp(min=1)
    return (share + SMOOTHING).log().float()


class BiasBalance(nn.Module):
    """Cross-entropy of the shifted logits; reads the bias in training only."""

    log_prior: Tensor

    def __init__(self, parameters: NoParameters, setup: Setup) -> None:
        super().__init__()
        self.register_buffer("log_prior", log_prior(setup.counts), persistent=False)

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `{"ce": ...}` of the shifted logits, in nats."""
        return {"ce": F.cross_entropy(widen(output.logits) + self.log_prior[batch.bias], batch.target)}
