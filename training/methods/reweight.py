"""Inverse-frequency weights: every target x bias group weighs the same in the cross-entropy, however many films it has.

With n_g films in group g, N in all and G groups that have any,

    loss = mean over the batch of w_g CE,   w_g = N / (G n_g)

so that the weights of the training films have mean 1. The loss is divided by the films of the batch, not by their weights:
it stays an unbiased estimate of the mean over groups. Its twin by sampling is `--method erm --sampler balanced`; both
together would weigh rare groups twice. Large networks that fit every film lose most of the effect (Byrd and Lipton, "What
is the effect of importance weighting in deep learning?", ICML 2019).
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


def group_weights(counts: Int[np.ndarray, "targets biases"]) -> Float[Tensor, "targets biases"]:
    """Weight of a film of each group, of mean 1 over the films counted; 0 where a group has none."""
    counted = torch.as_tensor(counts, dtype=torch.float64)
    fair = counted.sum() / (counted > 0).sum()
    return torch.where(counted > 0, fair / counted.clamp(min=1), 0).float()


class Reweight(nn.Module):
    """Cross-entropy with one weight a group."""

    weights: Tensor

    def __init__(self, parameters: NoParameters, setup: Setup) -> None:
        super().__init__()
        self.register_buffer("weights", group_weights(setup.counts), persistent=False)

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `{"weighted_ce": ...}` in nats."""
        ce = F.cross_entropy(widen(output.logits), batch.target, reduction="none")
        return {"weighted_ce": (self.weights[batch.target, batch.bias] * ce).mean()}
