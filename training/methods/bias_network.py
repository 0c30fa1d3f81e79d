"""What RUBi, ReBias, LearnedMixin and SoftCon share: a network beside the classifier that sees the bias and little else.

Made of 1x1 convolutions, it sees single pixels: colours and grey levels, as in the comparison of Bahng et al., ReBias (ICML
2020). Where the bias shows in shapes, as a marker on a film does, it sees little of it. It learns the target by a
cross-entropy of its own. Over several processes its batch norm has the statistics of each process's own share, unless
`--sync-bn`.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import ModelConfig, Output, build_classifier
from training.methods import Setup
from training.methods.precision import widen


class BiasNetworkMethod(nn.Module, ABC):
    """A method whose subclass gives its `terms`; the bias network's own cross-entropy, `bias_ce`, is added to them."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.bias_network = build_classifier(ModelConfig("simple_convnet_1x1", len(setup.info.targets), setup.in_chans))

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return all terms, computed in float32 or wider."""
        with torch.autocast(output.logits.device.type, enabled=False):
            biased = self.bias_network(widen(batch.image))
            terms = self.terms(Output(*map(widen, output)), biased, batch)
            return terms | {"bias_ce": F.cross_entropy(biased.logits, batch.target)}

    @abstractmethod
    def terms(self, output: Output, biased: Output, batch: Sample) -> dict[str, Tensor]:
        """Return the method's own terms, from outputs in float32 or wider; it may want to cut the gradient of `biased`."""
