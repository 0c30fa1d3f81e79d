"""Learning not to learn: features from which a head can't predict the bias, however it tries.

Kim, Kim, Kim, Kim, Kim, "Learning not to learn: training deep neural networks with biased data", CVPR 2019,
arXiv 1812.10352. With q the softmax of a head h on the features f, the game is

    min over f, max over h of   CE + lambda E[sum over biases of q log q] - mu CE_bias(h)

The entropy term makes h's answers uncertain and moves the features alone; the head learns by CE_bias, whose gradient reaches
the features reversed and times mu (as in Ganin et al., "Domain-adversarial training of neural networks", JMLR 2016: lambda
0 is that method). lambda 0.01 and mu 0.1 are the released ones (github feidfoe/learning-not-to-learn). Where bias and target
nearly agree, features that say nothing of the bias say little of the target.

Deviations from the released code: the head is two linear layers on the bottleneck, where theirs is convolutions on the
second block; features and head take one joint step, where theirs take a step for each half of the loss.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import LnlParameters, Setup
from training.methods.precision import widen


def reverse_gradient(features: Tensor, strength: float) -> Tensor:
    """The features themselves, whose gradient comes back times -strength."""
    fixed = features.detach()
    return fixed + strength * (fixed - features)


class Lnl(nn.Module):
    """Cross-entropy, and a bias head that the features are trained to defeat."""

    def __init__(self, parameters: LnlParameters, setup: Setup) -> None:
        super().__init__()
        self.parameters_ = parameters
        self.bias_head = nn.Sequential(
            nn.Linear(setup.width, setup.width), nn.ReLU(), nn.Linear(setup.width, setup.counts.shape[1])
        )

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `ce`, `bias_ce` (of the head, with weight 1) and `certainty`, already weighted by lambda."""
        p = self.parameters_
        with torch.autocast(output.features.device.type, enabled=False):
            features = widen(output.features)
            bias_logits = self.bias_head(reverse_gradient(features, p.reversal))
            frozen = {name: weight.detach() for name, weight in self.bias_head.named_parameters()}
            log_q = functional_call(self.bias_head, frozen, (features,)).log_softmax(1)
            return {
                "ce": F.cross_entropy(widen(output.logits), batch.target),
                "bias_ce": F.cross_entropy(bias_logits, batch.bias),
                "certainty": p.confusion_weight * (log_q.exp() * log_q).sum(1).mean(),
            }
