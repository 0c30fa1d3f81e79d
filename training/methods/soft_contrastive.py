"""SoftCon: supervised contrast whose positives weigh as much as their bias differs, without bias labels.

Hong and Yang, "Unbiased classification through bias-contrastive and bias-balanced learning", NeurIPS 2021. A bias network,
here 1x1 convolutions as in the authors' Biased MNIST, learns the target beside the classifier; what it can see stands for
the bias. With s_ij the cosine of the classifier's features of samples i and j, c_ij that of the bias network's, T a
temperature, and positives j of i those of the same target,

    v_ij = 1 - c_ij, divided by its sum over i's positives
    SoftCon = mean over i of sum over positives j of v_ij [log(sum over k != i of exp(s_ik / T)) - s_ij / T]
    loss = SoftCon + w CE + CE of the bias network

With bias features that are equal within a bias and at right angles between biases this is `bias_contrastive`, without its
bias labels. T = 0.07 and w = 0.01 are the released ones of Biased MNIST. It needs a bias that shows in single pixels' values;
v is relative, so an anchor whose positives nearly all share its bias is drawn to those even then. Bias features never receive
the contrast's gradient.

Deviations, on purpose:

1. The released bias network is trained for as many epochs beforehand and then fixed. Here it learns beside the classifier,
   by its own cross-entropy alone; with random weights too its features tell colours apart.
2. The released training draws a second batch for this term, twice augmented with colour jitter, films that differ from
   others of their class up to ten times as often. Here it is the batch at hand, seen once.
3. Weights below 1e-6 are 0: among equal biases they are rounding, which dividing by their sum would blow up.

Over several processes the contrast is that of the whole batch.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import Setup, SoftContrastiveParameters
from training.methods.bias_contrastive import SMALLEST, weighted_contrast
from training.methods.bias_network import BiasNetworkMethod
from training.methods.precision import widen
from training.parallel.reductions import gather_shares


def soft_contrastive_loss(
    features: Float[Tensor, "batch dim"], target: Int[Tensor, " batch"], bias_features: Float[Tensor, "batch bias_dim"],
    temperature: float,
) -> Float[Tensor, ""]:  # fmt: skip
    """The contrastive term, in nats; quadratic in the batch, 0 with a zero gradient where no positive has another bias.

    Features need not be normalised; half precision is computed in float32. Those of the bias network get no gradient.
    """
    with torch.autocast(features.device.type, enabled=False):
        z = F.normalize(widen(bias_features.detach()), dim=1)
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        distance, positives = 1 - z @ z.T, (target[:, None] == target[None, :]) & ~itself
        return weighted_contrast(features, distance.where(positives & (distance >= SMALLEST), 0), temperature)


class SoftContrastive(BiasNetworkMethod):
    """The term, the classifier's cross-entropy and the bias network's own."""

    def __init__(self, parameters: SoftContrastiveParameters, setup: Setup) -> None:
        super().__init__(setup)
        self.parameters_ = parameters

    def terms(self, output: Output, biased: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `ce`, already weighted, and `contrastive`."""
        p = self.parameters_
        features, target, bias_features = gather_shares(output.features, batch.target, biased.features.detach())
        return {
            "ce": p.ce_weight * F.cross_entropy(output.logits, batch.target),
            "contrastive": soft_contrastive_loss(features, target, bias_features, p.temperature),
        }
