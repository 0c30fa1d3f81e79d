"""Group DRO: the group with the highest loss gets the largest weight, in an online game of network against weights.

Sagawa, Koh, Hashimoto, Liang, "Distributionally robust neural networks for group shifts", ICLR 2020, Algorithm 1. Groups
are target x bias; L_g is the mean cross-entropy of the batch's films of group g, n_g its training films. Each step

    q_g <- q_g exp(eta (L_g + C / sqrt(n_g))),  normalised;   loss = sum over g of q_g L_g

C is the generalisation adjustment (section 3.3), which lifts small groups. The paper draws groups equally often (train with
`--sampler balanced`) and finds that strong regularisation is what makes the worst group better; without it every group is
fitted and the weights have no effect.

Deviations from the released code: log q is kept, so that no weight is ever lost to underflow; a group that is absent from a
batch gets no update, where the released code adds its adjustment even then; groups without training films start, and
stay, at 0; the adjustment, whose gradient is 0, is left out of the loss shown.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import GroupDroParameters, Setup
from training.methods.precision import widen
from training.parallel.reductions import sum_over_ranks


class GroupDro(nn.Module):
    """Cross-entropy weighted by q, whose logarithm is a buffer of targets x biases that training updates."""

    log_q: Tensor
    lift: Tensor

    def __init__(self, parameters: GroupDroParameters, setup: Setup) -> None:
        super().__init__()
        self.step_size = parameters.step_size
        counts = torch.as_tensor(setup.counts, dtype=torch.float32)
        self.register_buffer("log_q", torch.where(counts > 0, 0.0, -torch.inf).flatten().log_softmax(0).view_as(counts))
        self.register_buffer("lift", parameters.adjustment / counts.clamp(min=1).sqrt(), persistent=False)

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Update q unless in eval mode, and return `{"robust_ce": ...}` under the new q, in nats."""
        ce = F.cross_entropy(widen(output.logits), batch.target, reduction="none")
        group = batch.target * self.log_q.shape[1] + batch.bias
        sums = ce.new_zeros(self.log_q.numel()).index_add(0, group, ce)
        films = torch.zeros_like(sums).index_add(0, group, torch.ones_like(ce))
        sums, films = sum_over_ranks(sums, films)
        losses = (sums / films.clamp(min=1)).view_as(self.log_q)
        if self.training:
            with torch.no_grad():
                gains = torch.where(films.view_as(losses) > 0, losses + self.lift, 0)
                raised = self.log_q + self.step_size * gains
                self.log_q.copy_(raised.flatten().log_softmax(0).view_as(raised))
        return {"robust_ce": (self.log_q.exp() * losses).sum()}
