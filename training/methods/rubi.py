"""RUBi: a mask made of the bias alone turns up the loss where the bias misleads, and down where it answers by itself.

Cadene, Dancette, Ben-younes, Cord, Parikh, "RUBi: reducing unimodal biases for visual question answering", NeurIPS 2019,
arXiv 1906.10169. With f the classifier's logits and q a linear layer on the features of a bias network,

    loss = CE(f * sigmoid(q)) + lambda CE(q)

At test time f predicts alone. The bias network is 1x1 convolutions, as in the comparison of Bahng et al., ReBias (ICML 2020):
there, too, it learns by a cross-entropy of its own, neither loss above passes its features, and q predicts without the
paper's further layer c_q. Deviations, on purpose:

1. Both networks take one joint step; ReBias's code updates the bias network first.
2. The layer behind q learns by both losses, as in the paper. In ReBias's code it isn't handed to any optimiser and keeps its
   random weights.

Over several processes the bias network's batch norm has the statistics of each process's own share, unless `--sync-bn`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import ModelConfig, Output, build_classifier, feature_width
from training.methods import Setup
from training.methods.parameters import RubiParameters
from training.methods.precision import widen


class Rubi(nn.Module):
    """Cross-entropy of the masked logits, of the mask, and of the bias network."""

    def __init__(self, parameters: RubiParameters, setup: Setup) -> None:
        super().__init__()
        self.mask_weight = parameters.mask_weight
        classes = len(setup.info.targets)
        self.bias_network = build_classifier(ModelConfig("simple_convnet_1x1", classes, setup.in_chans))
        self.mask = nn.Linear(feature_width(self.bias_network.backbone), classes)

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `masked_ce`, `mask_ce` (already weighted by lambda) and `bias_ce`; float32 or wider throughout."""
        with torch.autocast(output.logits.device.type, enabled=False):
            biased = self.bias_network(widen(batch.image))
            mask = self.mask(biased.features.detach())
            return {
                "masked_ce": F.cross_entropy(widen(output.logits) * mask.sigmoid(), batch.target),
                "mask_ce": self.mask_weight * F.cross_entropy(mask, batch.target),
                "bias_ce": F.cross_entropy(biased.logits, batch.target),
            }
