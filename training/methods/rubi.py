"""RUBi: a mask computed from the bias alone raises the loss where the bias misleads, and lowers it where the bias is right.

Cadene, Dancette, Ben-younes, Cord, Parikh, "RUBi: reducing unimodal biases for visual question answering", NeurIPS 2019,
arXiv 1906.10169. With f the classifier's logits and q a linear layer on the features of a bias network,

    loss = CE(f * sigmoid(q)) + lambda CE(q)

At test time f predicts alone. The bias network is 1x1 convolutions, as in the comparison of Bahng et al., ReBias (ICML 2020):
there, too, it learns by a cross-entropy of its own, neither loss above passes its features, and q predicts without the
paper's further layer c_q. Deviations, on purpose:

1. Both networks take one joint step; ReBias's code updates the bias network first.
2. The layer behind q learns by both losses, as in the paper. In ReBias's code it isn't handed to any optimiser and keeps its
   random weights.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output, feature_width
from training.methods import RubiParameters, Setup
from training.methods.bias_network import BiasNetworkMethod


class Rubi(BiasNetworkMethod):
    """Cross-entropy of the masked logits, of the mask, and of the bias network."""

    def __init__(self, parameters: RubiParameters, setup: Setup) -> None:
        super().__init__(setup)
        self.mask_weight = parameters.mask_weight
        self.mask = nn.Linear(feature_width(self.bias_network.backbone), len(setup.info.targets))

    def terms(self, output: Output, biased: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `masked_ce` and `mask_ce`, which is already weighted by lambda."""
        mask = self.mask(biased.features.detach())
        return {
            "masked_ce": F.cross_entropy(output.logits * mask.sigmoid(), batch.target),
            "mask_ce": self.mask_weight * F.cross_entropy(mask, batch.target),
        }
