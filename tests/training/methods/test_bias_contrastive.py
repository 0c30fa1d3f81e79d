"""BiasCon against a loop over anchors and positives, and which films it pulls and pushes."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import BiasContrastiveParameters
from training.methods.bias_balance import log_prior
from training.methods.bias_contrastive import BiasContrastive, bias_contrastive_loss


def naive(features: Tensor, target: Tensor, bias: Tensor, temperature: float) -> Tensor:
    z = features / features.norm(dim=1, keepdim=True)
    anchors = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        positives = [j for j in others if target[j] == target[i] and bias[j] != bias[i]]
        values = []
        for j in positives:
            total = torch.stack([torch.exp(z[i] @ z[k] / temperature) for k in others]).sum()
            values.append(-torch.log(torch.exp(z[i] @ z[j] / temperature) / total))
        anchors.append(torch.stack(values).mean() if values else features.sum() * 0)
    return torch.stack(anchors).mean()


def batch(seed: int, size: int = 20, targets: int = 3, biases: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(size, 6, generator=rng, dtype=torch.float64) * 3
    return features, torch.randint(targets, (size,), generator=rng), torch.randint(biases, (size,), generator=rng)


@pytest.mark.trains
@pytest.mark.parametrize(("seed", "size", "targets", "biases"), [(0, 20, 3, 4), (1, 12, 2, 2), (2, 9, 6, 2)])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_value_and_gradient_equal_the_loop(seed: int, size: int, targets: int, biases: int, temperature: float) -> None:
    features, target, bias = batch(seed, size, targets, biases)
    x, y = features.clone().requires_grad_(), features.clone().requires_grad_()
    value, expected = bias_contrastive_loss(x, target, bias, temperature), naive(y, target, bias, temperature)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
    (ours,), (theirs,) = torch.autograd.grad(value, x), torch.autograd.grad(expected, y)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10)
    assert ours.any()


def test_hand_value() -> None:
    """Two films of one target across biases, at right angles, and one of another target, opposite to the first."""
    features = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    loss = bias_contrastive_loss(features, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), 0.5)
    first, second = math.log(1 + math.exp(-2)), math.log(1 + 1)
    assert loss.item() == pytest.approx((first + second) / 3, rel=1e-6)


def test_films_of_one_target_meet_across_biases_and_part_within_one() -> None:
    angles = torch.tensor([0.0, 0.6, 1.2])  # the second shares the first's bias, the third its target only
    features = torch.stack([angles.cos(), angles.sin()], 1).requires_grad_()
    bias_contrastive_loss(features, torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1]), 0.5).backward()
    assert features.grad is not None
    towards = -features.grad  # where a step goes; tangents point to larger angles
    tangents = torch.stack([-angles.sin(), angles.cos()], 1)
    turn = (towards * tangents).sum(1)
    assert turn[2] < 0  # the conflicting film comes nearer
    assert turn[1] > turn[0] + 0.05  # the aligned two part


@pytest.mark.parametrize(
    ("target", "bias"),
    [([0], [0]), ([0, 0, 1, 1], [0, 0, 1, 1]), ([0, 1, 2], [0, 1, 2])],
    ids=["one film", "bias is target", "all different"],
)
def test_no_positive_gives_zero_and_a_zero_finite_gradient(target: list[int], bias: list[int]) -> None:
    features = torch.randn(len(target), 4, requires_grad=True)
    loss = bias_contrastive_loss(features, torch.tensor(target), torch.tensor(bias), 0.07)
    loss.backward()
    assert loss.item() == 0
    assert features.grad is not None and torch.equal(features.grad, torch.zeros_like(features))


def test_order_and_scale_do_not_matter() -> None:
    features, target, bias = batch(3)
    order = torch.argsort(bias)
    moved = (features * (torch.rand(len(features), 1, dtype=torch.float64) + 0.1))[order]
    torch.testing.assert_close(
        bias_contrastive_loss(moved, target[order], bias[order], 0.1),
        bias_contrastive_loss(features, target, bias, 0.1),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_under_autocast(dtype: torch.dtype) -> None:
    features, target, bias = batch(4, 32)
    half = features.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        value = bias_contrastive_loss(half, target, bias, 0.07)
    assert value.dtype == torch.float32
    torch.testing.assert_close(
        value.double(), bias_contrastive_loss(half.double(), target, bias, 0.07), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("cross_entropy", ["plain", "balanced"])
def test_terms_are_weighted_and_both_reach_the_features(cross_entropy: str) -> None:
    features, target, bias = batch(5)
    features = features.float().requires_grad_()
    head, setup = torch.nn.Linear(6, 3), setup_of()
    logits = head(features)
    method = BiasContrastive(BiasContrastiveParameters(0.2, 0.5, cross_entropy), setup)
    terms = method(Output(features, logits), Sample(features, target, bias, target))
    assert list(terms) == ["ce", "contrastive"]
    shift = log_prior(setup.counts)[bias] if cross_entropy == "balanced" else 0
    torch.testing.assert_close(terms["ce"], 0.5 * F.cross_entropy(logits + shift, target))
    torch.testing.assert_close(
        terms["contrastive"].double(), naive(features.double(), target, bias, 0.2), rtol=1e-4, atol=1e-5
    )
    for term in terms.values():
        assert torch.autograd.grad(term, features, retain_graph=True)[0].any()
