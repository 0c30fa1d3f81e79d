"""EnD: entangling and disentangling terms on the bottleneck features.

Tartaglione, Barbano, Grangetto, "EnD: Entangling and Disentangling deep representations for bias correction", CVPR 2021,
arXiv 2103.02023. With z_i the L2-normalised feature of sample i, y its target and b its bias,

    loss = CE + alpha R_perp + beta R_par
    R_perp = how far the cosines of pairs with b_i = b_j are from 0, whatever their targets (Eq. 7)
    R_par  = mean of (1 - cos) / 2 over pairs with y_i = y_j and b_i != b_j                  (Eq. 8, as the authors code it)

Pairs are unordered. Deviations from the released code, on purpose:

1. R_par sees every such pair. The released mask (`tril` of an asymmetric product) drops each pair whose later row has the
   higher bias, so its value depends on the order of the batch.
2. Features are normalised here, whatever their shape, and cosines are never clamped, which would cut their gradient.
3. Signed R_perp and R_par are computed from group sums in O(batch x width), with no Gram matrix and no loop over classes:
   the cosines of all pairs inside a set sum to (|sum of z|^2 - sum of |z|^2) / 2.
4. A term without pairs is 0 with a zero gradient; the training loop counts pairs and warns.

Over several processes the terms are those of the whole batch. For 3 the group sums travel, whose size doesn't depend on the
batch; what needs the cosine of each pair gathers the features of all.

Beyond the paper, all off by default: `cross_entropy` takes the shifted logits of `bias_balance` in place of plain ones,
`spread` adds FairKL's second-order constraint, whose authors hold EnD to constrain means alone (Barbano et al., ICLR 2023),
and `warmup` lets the terms rise from 0 in the first steps. `pairs` can go back to the released mask, for comparison.
"""

from typing import Literal

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import Setup
from training.methods.bias_balance import log_prior
from training.methods.fairkl import spread_difference
from training.methods.parameters import EndParameters
from training.methods.precision import widen
from training.parallel.distributed import gather_rows, gather_shares, sum_over_ranks


def disentangling_loss(
    features: Float[Tensor, "batch dim"],
    bias: Int[Tensor, " batch"],
    form: Literal["signed", "absolute"] | str = "signed",
    num_biases: int | None = None,
    group: dist.ProcessGroup | None = None,
    equal_shares: bool = False,
) -> Float[Tensor, ""]:
    """R_perp, in [0, 1]: 0 where features that share a bias are orthogonal (`absolute`) or cancel out (`signed`).

    `signed` is the authors' code: sum over biases of |sum of cosines|, over the number of same-bias pairs; linear in the
    batch. `absolute` is Eq. 7 as the first author reads it: mean |cosine| over these pairs; quadratic in the batch. The two
    agree when no cosine is negative, as after a ReLU. On Biased MNIST, whose features are signed, `absolute` debiased more
    where few digits conflict (docs/results), hence the default of `training.train`.

    Args:
        features: bottleneck features, not necessarily normalised; half precision is computed in float32.
        bias: bias of each sample.
        form: which of the two.
        num_biases: number of bias values; labels then index it and nothing waits for the device. Without it labels are
            any integers.
        group: in an initialised process group the term is that of all ranks' samples.
        equal_shares: every rank holds equally many; without it `absolute` has the host wait for their numbers.

    Returns:
        Scalar; 0 with zero gradient when no two samples share a bias.
    """
    if form not in ("signed", "absolute"):
        raise ValueError(f"form must be signed or absolute, not {form!r}")
    with torch.autocast(features.device.type, enabled=False):
        if form == "absolute":
            if equal_shares:
                features, bias = gather_shares(features, bias, group=group)
            else:
                features, bias = gather_rows(features, group), gather_rows(bias, group)
            return _mean_absolute_cosine(_normalise(features), bias)
        z = _normalise(features)
        (bias,), (biases,) = _index([bias], [num_biases], group)
        parts = z, z.square().sum(1), torch.ones_like(z[:, 0])
        sums, squares, counts = sum_over_ranks(*(_sum_by(part, bias, biases) for part in parts), group=group)
        cosines = (sums.square().sum(1) - squares) / 2
        pairs = counts * (counts - 1) / 2
        # Rounding can leave a tiny sum where a bias has one sample and no pair.
        total = torch.where(pairs > 0, cosines, 0).abs().sum()
        return total / pairs.sum().clamp(min=1)


def entangling_loss(
    features: Float[Tensor, "batch dim"],
    target: Int[Tensor, " batch"],
    bias: Int[Tensor, " batch"],
    num_targets: int | None = None,
    num_biases: int | None = None,
    group: dist.ProcessGroup | None = None,
) -> Float[Tensor, ""]:
    """R_par, in [0, 1]: mean (1 - cosine) / 2 over pairs of one target and different biases; linear in the batch.

    Args:
        features: bottleneck features, not necessarily normalised; half precision is computed in float32.
        target: target of each sample.
        bias: bias of each sample.
        num_targets: number of targets; given with `num_biases`, labels index them and nothing waits for the device.
        num_biases: number of bias values.
        group: in an initialised process group the term is that of all ranks' samples.

    Returns:
        Scalar; 0 with zero gradient when there is no such pair (every target comes from one source).
    """
    with torch.autocast(features.device.type, enabled=False):
        z = _normalise(features)
        (target, bias), (targets, biases) = _index([target, bias], [num_targets, num_biases], group)
        cell = target * biases + bias
        tables = (_sum_by(part, cell, targets * biases) for part in (z, torch.ones_like(z[:, 0])))
        sums, counts = (table.unflatten(0, (targets, biases)) for table in sum_over_ranks(*tables, group=group))
        cosines = (sums.sum(1).square().sum() - sums.square().sum()) / 2
        pairs = (counts.sum(1).square().sum() - counts.square().sum()) / 2
        mean = (pairs - cosines) / (2 * pairs.clamp(min=1))
        return torch.where(pairs > 0, mean, 0)


def released_entangling_loss(
    features: Float[Tensor, "batch dim"], target: Int[Tensor, " batch"], bias: Int[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """R_par of the pairs that the released mask keeps: the later sample has the lower bias. Quadratic in the batch.

    Its value depends on the order of the batch, and a batch sorted by bias has none. For the ablation of `pairs` alone.
    """
    with torch.autocast(features.device.type, enabled=False):
        z = _normalise(features)
        seen = ((target[:, None] == target[None, :]) & (bias[:, None] < bias[None, :])).tril(diagonal=-1)
        return ((1 - z @ z.T) / 2 * seen).sum() / seen.sum().clamp(min=1)


class End(nn.Module):
    """Cross-entropy plus the two terms; takes part in training only, the classifier is unchanged."""

    step: Tensor
    log_prior: Tensor | None

    def __init__(self, parameters: EndParameters, setup: Setup) -> None:
        super().__init__()
        self.parameters_ = parameters
        self.num_targets, self.num_biases = len(setup.info.targets), len(setup.info.biases)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.warm_steps = parameters.warmup * setup.steps
        prior = log_prior(setup.counts) if parameters.cross_entropy == "balanced" else None
        self.register_buffer("log_prior", prior, persistent=False)

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `ce`, `r_perp`, `r_par` and, where it is asked for, `spread`, already weighted."""
        p, (features, logits) = self.parameters_, output
        mine = features, batch.target, batch.bias
        logits = widen(logits) if self.log_prior is None else widen(logits) + self.log_prior[batch.bias]
        apart = disentangling_loss(features, batch.bias, p.form, self.num_biases, equal_shares=True)
        terms = {"r_perp": p.alpha * apart}
        if p.pairs == "released":
            terms["r_par"] = p.beta * released_entangling_loss(*gather_shares(*mine))
        else:
            sizes = self.num_targets, self.num_biases
            terms["r_par"] = p.beta * entangling_loss(*mine, *sizes)
        if p.spread:
            terms["spread"] = p.spread * spread_difference(*gather_shares(*mine))
        if self.warm_steps:
            share = (self.step / self.warm_steps).clamp(max=1)
            terms = {name: share * term for name, term in terms.items()}
            self.step += self.training
        return {"ce": F.cross_entropy(logits, batch.target), **terms}


def _normalise(features: Tensor) -> Tensor:
    return F.normalize(widen(features), dim=1)


def _sum_by(values: Tensor, index: Tensor, size: int) -> Tensor:
    return values.new_zeros((size, *values.shape[1:])).index_add(0, index, values)


def _index(
    labels: list[Tensor], sizes: list[int | None], group: dist.ProcessGroup | None
) -> tuple[list[Tensor], list[int]]:
    """Labels as indices below their sizes; where a size is missing, over the labels that any rank holds."""
    indexed, known = [], []
    for label, size in zip(labels, sizes, strict=True):
        if size is None:
            values = torch.unique(gather_rows(label, group))
            label, size = torch.searchsorted(values, label), len(values)
        indexed.append(label)
        known.append(size)
    return indexed, known


def _mean_absolute_cosine(z: Tensor, bias: Tensor) -> Tensor:
    same = (bias[:, None] == bias[None, :]).triu(diagonal=1)
    return (z @ z.T).abs().mul(same).sum() / same.sum().clamp(min=1)
