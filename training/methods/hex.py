"""HEX: the part of the logits that the texture of the image explains is projected out before the cross-entropy.

Wang, He, Lipton, Xing, "Learning robust representations by projecting superficial statistics out", ICLR 2019 (openreview
rJEjjoR9K7). A small network reads a neural grey-level co-occurrence matrix (NGLCM) of the grey image. With x the grey level
of a pixel, d the left neighbour's minus its own, and learned thresholds phi_a and phi_b,

    NGLCM_pq = mean over pixels of clamp(d - phi_a[p], 0, 1) clamp(x - phi_b[q], 0, 1)
    F_G = linear(relu(linear(NGLCM)))        logits of the texture, batch x classes
    F_P = the classifier's own logits        what predicts at test time
    F_L = (I - F_G (F_G' F_G)^-1 F_G') F_P   (Eq. 4), loss = CE(F_L)

16 levels, 32 hidden units and the left neighbour are the authors' on MNIST. Deviations, on purpose:

1. The paper projects F_A, last layer of both representations together, so F_P + F_G but for a bias; the projection sends F_G
   to 0, and what is left is written here.
2. Levels and differences are integers, so pixels are counted once into a joint histogram, on which the thresholds act: the
   same matrix in time and memory linear in pixels. It is a mean, so that films and digits of any size give one scale.
3. Levels span the darkest to the brightest grey of the batch: the image is normalised, so dividing by its own maximum, as the
   authors do, has no meaning. Grey is the luma of colours. Pixels in the first column have no left neighbour and aren't read.
4. A ridge, relative to the mean squared column of F_G, replaces the plain inverse, which fails where classes share a texture.
5. Only the hidden layer of the texture is normalised over the batch; the authors normalise the classifier's features too.

Give it batches of many more samples than classes: else nearly everything is projected out, and little is learned. On smooth
films differences are seldom above 1 level, which leaves most rows of the matrix at 0. F_G learns by CE(F_L) alone, as in the
authors' code; nothing makes it predict the label.
Over several processes each reads the texture of its own images and projects all of them: the loss is the whole batch's.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import HexParameters, Setup
from training.methods.precision import widen
from training.parallel.ranks import range_over_ranks
from training.parallel.reductions import gather_shares

HIDDEN = 32
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def quantise(image: Float[Tensor, "batch channels height width"], levels: int) -> Int[Tensor, "batch height width"]:
    """Grey levels, 0 to `levels` - 1, over the range of the whole batch, of all ranks; a flat batch is all 0."""
    grey = widen(image)
    if image.shape[1] == 3:
        red, green, blue = (weight * channel for weight, channel in zip(LUMA, grey.unbind(1), strict=True))
        grey = red + green + blue
    else:
        grey = grey.squeeze(1)
    low, high = range_over_ranks(*grey.aminmax())
    return ((grey - low) / (high - low).clamp(min=1e-6) * (levels - 1)).long()


def count_cooccurrence(
    grey: Int[Tensor, "batch height width"], levels: int, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "batch level difference"]:
    """Share of each (level, left neighbour minus level) in an image; differences start at 1 - `levels`."""
    here, left = grey[..., 1:], grey[..., :-1]
    differences = 2 * levels - 1
    cell = (here * differences + left - here + levels - 1).flatten(1)
    counts = torch.zeros(len(cell), levels * differences, dtype=dtype, device=cell.device)
    counts.scatter_add_(1, cell, counts.new_ones(()).expand_as(cell))
    return counts.unflatten(1, (levels, differences)) / cell.shape[1]


def project_out(
    logits: Float[Tensor, "batch classes"], texture: Float[Tensor, "batch columns"], ridge: float
) -> Float[Tensor, "batch classes"]:
    """Each column of `logits` less its fit by the columns of `texture`: the residual of a ridge regression.

    Solved in float64 by a Cholesky factor that is not checked, so the host waits for no device; the ridge, relative to the
    mean squared norm of the columns, keeps value and gradient finite for equal columns, and all columns 0 leave the logits.
    """
    y, x = logits.double(), texture.double()
    gram = x.T @ x
    weight = ridge * gram.diagonal().mean() + 1e-12
    factor, _ = torch.linalg.cholesky_ex(gram + weight * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    return (y - x @ torch.cholesky_solve(x.T @ y, factor)).to(logits.dtype)


class Texture(nn.Module):
    """Images of any size to the logits of their texture, batch x classes.

    Args:
        levels: grey levels, and thresholds of either kind, drawn uniformly from them.
    """

    def __init__(self, levels: int, classes: int) -> None:
        super().__init__()
        self.levels = levels
        self.difference_threshold = nn.Parameter(torch.rand(levels) * levels)
        self.level_threshold = nn.Parameter(torch.rand(levels) * levels)
        self.hidden = nn.Linear(levels**2, HIDDEN)
        self.head = nn.Linear(HIDDEN, classes)

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "all classes"]:
        """F_G, of the images of all ranks."""
        (hidden,) = gather_shares(F.relu(self.hidden(self.matrix(image).flatten(1))))
        logits: Tensor = self.head(F.normalize(hidden, dim=0))
        return logits

    def matrix(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch levels levels"]:
        """The NGLCM: rows are thresholds of the difference, columns of the level."""
        counts = count_cooccurrence(quantise(image, self.levels), self.levels, self.level_threshold.dtype)
        level = torch.arange(self.levels, device=image.device)
        difference = torch.arange(1 - self.levels, self.levels, device=image.device)
        of_difference = (difference[:, None] - self.difference_threshold).clamp(0, 1)
        of_level = (level[:, None] - self.level_threshold).clamp(0, 1)
        return of_difference.T @ counts.mT @ of_level


class Hex(nn.Module):
    """Cross-entropy of the projected logits; the texture network takes part in training only."""

    def __init__(self, parameters: HexParameters, setup: Setup) -> None:
        super().__init__()
        self.ridge = parameters.ridge
        self.texture = Texture(parameters.grey_levels, len(setup.info.targets))

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `{"ce": ...}`, of F_L; everything is float32 or wider, whatever the autocast."""
        with torch.autocast(output.logits.device.type, enabled=False):
            logits, target = gather_shares(widen(output.logits), batch.target)
            return {"ce": F.cross_entropy(project_out(logits, self.texture(batch.image), self.ridge), target)}
