"""Learned-Mixin +H: the classifier learns what a bias network doesn't explain already.

Clark, Yatskar, Zettlemoyer, "Don't take the easy way out: ensemble based methods for avoiding known dataset biases", EMNLP
2019, arXiv 1909.03683. With f the classifier's logits, h its features and g the logits of a bias network, here 1x1
convolutions, as in the comparison of Bahng et al., ReBias (ICML 2020),

    m = softplus(w' h + c) g                 trust in g on this sample
    loss = CE(f + m) + w H(softmax(m))       the entropy keeps the trust from vanishing

At test time f predicts alone. Logits stand in for the paper's log-probabilities: the softmax is the same.
Deviations, on purpose:

1. ReBias's comparison trains the bias network for 5 epochs before the 80 of the classifier, then freezes it. Here it learns
   alone during a share of the steps and keeps learning beside the classifier, by its own cross-entropy only: all parameters
   are one optimiser's, whose weight decay would wear a frozen network away.
2. The layer behind the trust learns. In ReBias's code it isn't handed to any optimiser and keeps its random weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import LearnedMixinParameters, Setup
from training.methods.bias_network import BiasNetworkMethod


class LearnedMixin(BiasNetworkMethod):
    """Cross-entropy of the mixture, its entropy penalty, and the bias network's own cross-entropy."""

    steps: Tensor

    def __init__(self, parameters: LearnedMixinParameters, setup: Setup) -> None:
        super().__init__(setup)
        self.entropy_weight = parameters.entropy_weight
        self.head_start = int(parameters.bias_pretrain * setup.steps)
        self.trust = nn.Linear(setup.width, 1)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))  # on the device: a branch on it would wait

    def terms(self, output: Output, biased: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `mixin` and `entropy`, both 0 while the bias network learns alone."""
        mixed = F.softplus(self.trust(output.features)) * biased.logits.detach()
        share = F.log_softmax(mixed, dim=1)
        entropy = -(share.exp() * share).sum(1).mean()
        together = (self.steps >= self.head_start).float()
        if self.training:
            self.steps += 1
        return {
            "mixin": together * F.cross_entropy(output.logits + mixed, batch.target),
            "entropy": together * self.entropy_weight * entropy,
        }
