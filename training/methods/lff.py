"""LfF: learning from failure. Films that a biased network finds harder than the classifier does weigh most.

Nam, Cha, Ahn, Lee, Shin, "Learning from failure: training debiased classifier from biased classifier", NeurIPS 2020,
arXiv 2007.02561. A second network B learns beside the classifier D, by a loss that trusts what is easy, with softmax p:

    loss of B = GCE = mean of (1 - p_y^q) / q         gradient: that of the cross-entropy times p_y^q
    loss of D = mean of W CE(D)
    W = l_B / (l_B + l_D)                             relative difficulty of a film, in [0, 1]

l is a film's cross-entropy, a moving average over its visits, divided by the largest of its class. q = 0.7 and the memory
of 0.7 are the released ones (github alinlab/LfF); bias labels are not read. W is 1/2 where both find a film equally hard, so
B must fail where the bias does. What B learns as easily as the bias counts as bias: with few conflicting films and long
training B fits them too, and their weight falls. Where there is no bias, the method only slows learning down.

B should be as capable as D, hence `bias_model` names any timm backbone; the presets give each dataset its own classifier's.
The default is that of Biased MNIST. One pixel wide (`simple_convnet_1x1`), B sees colours and greys alone.

Deviations from the released code: it scales GCE by q; one optimiser updates both networks, with separate gradients as there;
a film that is twice in a batch enters its average once, with the mean; a class whose losses are all 0 has weight 0, not NaN.

Over several processes each remembers the films of all, so that weights are those of one process with the whole batch; but B's
batch norm has the statistics of each process's own share, unless `--sync-bn`.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import ModelConfig, Output, build_classifier
from training.methods import LffParameters, Setup
from training.methods.precision import widen
from training.parallel.reductions import gather_shares

TINY = 1e-8  # of the released code; keeps 0 / 0 out


def generalised_cross_entropy(
    logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"], q: float
) -> Float[Tensor, ""]:
    """Mean of (1 - p^q) / q, from the cross-entropy (q to 0) to the mean error 1 - p (q = 1); finite for p = 0.

    The larger q, in (0, 1], the less a hard film counts.
    """
    return (-torch.expm1(-q * F.cross_entropy(logits, target, reduction="none")) / q).mean()


class Lff(nn.Module):
    """Both networks' losses; `losses` remembers every training film's two difficulties, B's first."""

    losses: Tensor
    seen: Tensor
    target: Tensor

    def __init__(self, parameters: LffParameters, setup: Setup) -> None:
        super().__init__()
        self.parameters_, self.classes = parameters, len(setup.info.targets)
        self.bias_network = build_classifier(ModelConfig(parameters.bias_model, self.classes, setup.in_chans))
        self.register_buffer("losses", torch.zeros(2, setup.rows))
        self.register_buffer("seen", torch.zeros(setup.rows, dtype=torch.bool))
        self.register_buffer("target", torch.zeros(setup.rows, dtype=torch.long))

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `weighted_ce` of the classifier and `bias_gce` of the biased network; float32 or wider throughout."""
        with torch.autocast(output.logits.device.type, enabled=False):
            biased, logits = self.bias_network(widen(batch.image)).logits, widen(output.logits)
            hard = F.cross_entropy(logits, batch.target, reduction="none")
            if self.training:
                both = torch.stack([F.cross_entropy(biased, batch.target, reduction="none"), hard], dim=1)
                self.remember(*gather_shares(both.detach(), batch.target, batch.row))
            return {
                "weighted_ce": (self.weights(batch) * hard).mean(),
                "bias_gce": generalised_cross_entropy(biased, batch.target, self.parameters_.gce_power),
            }

    @torch.no_grad()
    def remember(
        self, losses: Float[Tensor, "batch 2"], target: Int[Tensor, " batch"], row: Int[Tensor, " batch"]
    ) -> None:
        """Move the averages of the batch's films, B's first; a first visit counts in full. Other films' stay to the bit."""
        latest = self.losses.scatter_reduce(
            1, row.expand(2, -1), losses.T.to(self.losses.dtype), "mean", include_self=False
        )
        step = latest - self.losses
        self.losses += torch.where(self.seen, (1 - self.parameters_.loss_memory) * step, step)
        self.seen[row] = True
        self.target[row] = target

    @torch.no_grad()
    def weights(self, batch: Sample) -> Float[Tensor, " batch"]:
        """W of each film; a film not seen yet has losses of 0, which is no class's largest."""
        largest = self.losses.new_zeros(2, self.classes)
        largest = largest.scatter_reduce(1, self.target.expand(2, -1), self.losses, "amax").clamp(min=TINY)
        biased, debiased = self.losses[:, batch.row] / largest[:, batch.target]
        return biased / (biased + debiased + TINY)
