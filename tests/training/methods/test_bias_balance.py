"""BiasBal's shift of the logits, written out with a loop, and what it does to the gradient."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import NoParameters
from training.methods.bias_balance import BiasBalance, log_prior

COUNTS = np.array([[98, 0, 3, 0], [1, 5, 3, 0], [1, 5, 3, 0]])  # the last bias has no training film


def loss_of(logits: Tensor, target: Tensor, bias: Tensor) -> Tensor:
    method = BiasBalance(NoParameters(), dataclasses.replace(setup_of(), counts=COUNTS))
    terms = method(Output(logits, logits), Sample(logits, target, bias, target))
    assert list(terms) == ["ce"]
    return terms["ce"]


def naive(logits: Tensor, target: Tensor, bias: Tensor) -> Tensor:
    losses = []
    for row, y, b in zip(logits, target.tolist(), bias.tolist(), strict=True):
        films = COUNTS[:, b].tolist()
        terms = [row[t] + math.log(films[t] / max(sum(films), 1) + 1e-9) for t in range(3)]
        losses.append(torch.stack(terms).exp().sum().log() - terms[y])
    return torch.stack(losses).mean()


def batch(seed: int, size: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, 3, generator=rng) * 2
    return logits, torch.randint(3, (size,), generator=rng), torch.randint(4, (size,), generator=rng)


@pytest.mark.parametrize("seed", range(5))
def test_value_and_gradient_equal_the_loop(seed: int) -> None:
    logits, target, bias = batch(seed)
    x, y = logits.clone().requires_grad_(), logits.double().requires_grad_()
    value, expected = loss_of(x, target, bias), naive(y, target, bias)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    (ours,), (theirs,) = torch.autograd.grad(value, x), torch.autograd.grad(expected, y)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-7)
    assert ours.any()


def test_hand_values() -> None:
    """With equal logits the shifted softmax is p(y | b) itself."""
    prior = log_prior(COUNTS)
    torch.testing.assert_close(prior[0], torch.tensor([0.98, 0.01, 0.01]).log())
    assert prior[1, 0].item() == pytest.approx(math.log(1e-9), rel=1e-6)
    for target, bias, share in ((0, 0, 0.98), (1, 0, 0.01), (2, 1, 0.5), (1, 2, 1 / 3)):
        loss = loss_of(torch.zeros(1, 3), torch.tensor([target]), torch.tensor([bias]))
        assert loss.item() == pytest.approx(-math.log(share), rel=1e-5)


def test_conflicting_films_pull_harder_than_aligned_ones() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    loss_of(logits, torch.tensor([0, 1]), torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert logits.grad[1].norm() > 20 * logits.grad[0].norm()


def test_a_bias_without_training_films_leaves_plain_cross_entropy() -> None:
    logits, target, _ = batch(0)
    bias = torch.full_like(target, 3)
    torch.testing.assert_close(loss_of(logits, target, bias), F.cross_entropy(logits, target), rtol=1e-5, atol=1e-6)


def test_order_of_the_batch_does_not_matter_and_logits_are_left_alone() -> None:
    logits, target, bias = batch(1)
    kept, order = logits.clone(), torch.randperm(len(logits), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loss_of(logits[order], target[order], bias[order]), loss_of(logits, target, bias))
    assert torch.equal(logits, kept)  # the released code adds to them in place


def test_half_precision_logits_are_computed_in_float32() -> None:
    logits, target, bias = batch(2)
    half = logits.bfloat16()
    assert loss_of(half, target, bias).dtype == torch.float32
    torch.testing.assert_close(loss_of(half, target, bias), loss_of(half.float(), target, bias))
