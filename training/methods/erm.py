"""Empirical risk minimisation: mean cross-entropy of the batch, the baseline of every method."""

from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import NoParameters, Setup
from training.methods.precision import widen


class Erm(nn.Module):
    """Cross-entropy, blind to the bias."""

    def __init__(self, parameters: NoParameters, setup: Setup) -> None:
        super().__init__()

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `{"ce": ...}` in nats."""
        return {"ce": F.cross_entropy(widen(output.logits), batch.target)}
