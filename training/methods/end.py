"""EnD: entangling and disentangling terms on the bottleneck features.

Tartaglione, Barbano, Grangetto, "EnD: Entangling and Disentangling deep representations for bias correction", CVPR 2021,
arXiv 2103.02023. With z_i the L2-normalised feature of sample i, y its target and b its bias,

    loss = CE + alpha R_perp + beta R_par
    R_perp = how far the cosines of pairs with b_i = b_j are from 0, whatever their targets (Eq. 7)
    R_par  = mean of (1 - cos) / 2 over pairs with y_i = y_j and b_i != b_j                  (Eq. 8, as the authors code it)

Pairs are unordered. Deviations from the released code, on purpose:

1. R_par is over every such pair. The released mask (`tril` of an asymmetric product) drops each pair whose later sample has
   the higher bias, so its value depends on the order of the batch. `pairs` can go back to it, for comparison.
2. Features are normalised here, whatever their shape, and cosines are never clamped, which would cut their gradient.
3. Signed R_perp and R_par are computed from sums over groups, in O(batch x width), with no Gram matrix and no loop over
   classes: the cosines of all pairs inside a set sum to (|sum of z|^2 - sum of |z|^2) / 2. Absolute R_perp needs each
   cosine, but of pairs with the same bias alone: a Gram matrix for each bias, in O(sum of n_b^2 x width).
4. A term without pairs is 0 with a zero gradient; the training loop counts pairs and warns.

Over several processes, which hold equal shares, the terms are those of the whole batch: 3 exchanges the groups' sums, whose
size doesn't depend on the batch; what needs the cosine of each pair gathers the features.

Beyond the paper: of several attributes b that must not be used, such as source and view, the terms are summed, each with a
weight of its own. Off by default: `cross_entropy` takes the shifted logits of `bias_balance` in place of plain ones, `spread`
adds FairKL's second-order constraint, whose authors hold EnD to constrain means alone (Barbano et al., ICLR 2023), and
`warmup` lets the terms rise from 0 in the first steps.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from training.methods import EndParameters, Setup
from training.methods.bias_balance import log_prior
from training.methods.fairkl import spread_difference
from training.methods.precision import widen
from training.parallel.reductions import gather_shares, sum_over_ranks


def disentangling_loss(
    features: Float[Tensor, "batch dim"], bias: Int[Tensor, " batch"], biases: int, form: str
) -> Float[Tensor, ""]:
    """R_perp, in [0, 1]: 0 where features that share a bias are orthogonal (`absolute`) or their cosines cancel (`signed`).

    `signed` is the authors' code: sum over biases of |sum of cosines|, over the number of same-bias pairs; linear in the
    batch. `absolute` is Eq. 7 as the first author reads it: mean |cosine| over these pairs; quadratic in the number of
    samples of each bias, for which the host waits once; its first derivatives alone are right. The two agree when no
    cosine is negative, as after a ReLU. On Biased MNIST, whose features are signed, `absolute` debiased more where few
    digits conflict (docs/results), hence the default of `training.train`.

    Args:
        features: bottleneck features, not necessarily normalised; half precision is computed in float32.
        bias: bias of each sample, from 0 to `biases` - 1.

    Returns:
        Scalar; 0 with zero gradient when no two samples share a bias.
    """
    if form not in ("signed", "absolute"):
        raise ValueError(f"form must be signed or absolute, not {form!r}")
    with torch.autocast(features.device.type, enabled=False):
        if form == "absolute":
            features, bias = gather_shares(features, bias)
            sizes = _sum_by(bias, biases, torch.ones_like(bias)).tolist()
            z = _normalise(features)
            # The sum is homogeneous of degree 2: z . slope is twice its value (Euler), and has its gradient.
            twice = (z * _slope_of_absolute_cosines(z, bias, sizes)).sum()
            return (twice - twice.detach() / 2) / max(sum(n * (n - 1) // 2 for n in sizes), 1)
        z = _normalise(features)
        parts = z, z.square().sum(1), torch.ones_like(z[:, 0])
        sums, squares, counts = sum_over_ranks(*(_sum_by(bias, biases, part) for part in parts))
        cosines = (sums.square().sum(1) - squares) / 2
        pairs = counts * (counts - 1) / 2
        # Rounding can leave a tiny sum where a bias has one sample and no pair.
        return torch.where(pairs > 0, cosines, 0).abs().sum() / pairs.sum().clamp(min=1)


def entangling_loss(
    features: Float[Tensor, "batch dim"], target: Int[Tensor, " batch"], bias: Int[Tensor, " batch"], targets: int,
    biases: int,
) -> Float[Tensor, ""]:  # fmt: skip
    """R_par, in [0, 1]: mean (1 - cosine) / 2 over pairs of one target and different biases; linear in the batch.

    Arguments are those of `disentangling_loss`, and the target of each sample, from 0 to `targets` - 1.

    Returns:
        Scalar; 0 with zero gradient when there is no such pair (every target comes from one source).
    """
    with torch.autocast(features.device.type, enabled=False):
        z = _normalise(features)
        cell = target * biases + bias
        tables = sum_over_ranks(*(_sum_by(cell, targets * biases, part) for part in (z, torch.ones_like(z[:, 0]))))
        sums, counts = (table.unflatten(0, (targets, biases)) for table in tables)
        # Pairs of one target less those of one target and one bias.
        cosines = (sums.sum(1).square().sum() - sums.square().sum()) / 2
        pairs = (counts.sum(1).square().sum() - counts.square().sum()) / 2
        return torch.where(pairs > 0, (pairs - cosines) / (2 * pairs.clamp(min=1)), 0)


def released_entangling_loss(
    features: Float[Tensor, "batch dim"], target: Int[Tensor, " batch"], bias: Int[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """R_par of the pairs that the released mask keeps, whose later sample has the lower bias; quadratic in the batch.

    Its value depends on the order of the batch, and is 0 for one sorted by bias.
    """
    with torch.autocast(features.device.type, enabled=False):
        features, target, bias = gather_shares(features, target, bias)
        z = _normalise(features)
        pairs = ((target[:, None] == target[None, :]) & (bias[:, None] < bias[None, :])).tril(diagonal=-1)
        return ((1 - z @ z.T) / 2 * pairs).sum() / pairs.sum().clamp(min=1)


class End(nn.Module):
    """Cross-entropy plus the two terms, of the features in training; the classifier is unchanged."""

    step: Tensor
    log_prior: Tensor | None

    def __init__(self, parameters: EndParameters, setup: Setup) -> None:
        super().__init__()
        self.parameters_ = parameters
        self.targets, self.attributes = len(setup.info.targets), setup.info.unwanted
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.warm_steps = parameters.warmup * setup.steps
        prior = log_prior(setup.counts) if parameters.cross_entropy == "balanced" else None
        self.register_buffer("log_prior", prior, persistent=False)

    def forward(self, output: Output, batch: Sample) -> dict[str, Tensor]:
        """Return `ce`, `r_perp`, `r_par` and, where its weight is above 0, `spread`, already weighted."""
        target, features = batch.target, output.features
        logits = widen(output.logits) if self.log_prior is None else widen(output.logits) + self.log_prior[batch.bias]
        by_attribute = [
            self._terms(features, target, bias, len(attribute.values))
            for attribute, bias in zip(self.attributes, batch.bias.view(len(target), -1).T, strict=True)
        ]
        weights = [attribute.weight for attribute in self.attributes]
        terms = {
            name: torch.stack([w * of[name] for w, of in zip(weights, by_attribute, strict=True)]).sum()
            for name in by_attribute[0]
        }
        if self.warm_steps:
            share = (self.step / self.warm_steps).clamp(max=1)
            terms = {name: share * term for name, term in terms.items()}
            self.step += self.training
        return {"ce": F.cross_entropy(logits, target), **terms}

    def _terms(self, features: Tensor, target: Tensor, bias: Tensor, biases: int) -> dict[str, Tensor]:
        """The terms of one attribute."""
        p = self.parameters_
        terms = {"r_perp": p.alpha * disentangling_loss(features, bias, biases, p.form)}
        if p.pairs == "released":
            terms["r_par"] = p.beta * released_entangling_loss(features, target, bias)
        else:
            terms["r_par"] = p.beta * entangling_loss(features, target, bias, self.targets, biases)
        if p.spread:
            terms["spread"] = p.spread * spread_difference(*gather_shares(features, target, bias))
        return terms


@torch.no_grad()
def _slope_of_absolute_cosines(z: Tensor, bias: Tensor, sizes: list[int]) -> Tensor:
    """Gradient of the sum of |z_i . z_j| over unordered pairs of one bias: by z_i the sum of s_ij z_j, s the signs.

    Found without a graph, one bias after the other, so that only the products of one are held at a time.
    """
    order = bias.argsort(stable=True)
    by_bias, slope = z.index_select(0, order), torch.zeros_like(z)
    for block, out in zip(by_bias.split(sizes), slope.split(sizes), strict=True):
        if len(block) > 1:
            torch.mm((block @ block.T).fill_diagonal_(0).sign_(), block, out=out)
    return torch.empty_like(z).index_copy_(0, order, slope)


def _normalise(features: Tensor) -> Tensor:
    return F.normalize(widen(features), dim=1)


def _sum_by(label: Tensor, labels: int, values: Tensor) -> Tensor:
    """Sum of the values (or rows) of each label, 0 where no sample has it."""
    return values.new_zeros((labels, *values.shape[1:])).index_add(0, label, values)
