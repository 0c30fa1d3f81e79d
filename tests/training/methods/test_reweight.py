"""Inverse-frequency weights: their mean, and the loss as the mean over groups that it estimates."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import NoParameters
from training.methods.reweight import Reweight, group_weights

COUNTS = np.array([[9, 0, 1, 2], [1, 5, 3, 0], [1, 5, 3, 7]])


def loss_of(logits: Tensor, target: Tensor, bias: Tensor) -> Tensor:
    method = Reweight(NoParameters(), dataclasses.replace(setup_of(), counts=COUNTS))
    terms = method(Output(logits, logits), Sample(logits, target, bias, target))
    assert list(terms) == ["weighted_ce"]
    return terms["weighted_ce"]


def training_films() -> tuple[Tensor, Tensor, Tensor]:
    """Every film that COUNTS counts, in random order."""
    cells = [(t, b) for t in range(3) for b in range(4) for _ in range(COUNTS[t, b])]
    rng = torch.Generator().manual_seed(0)
    target, bias = torch.tensor(cells)[torch.randperm(len(cells), generator=rng)].T
    return torch.randn(len(cells), 3, generator=rng), target, bias


def test_over_all_training_films_it_is_the_mean_of_group_means() -> None:
    logits, target, bias = training_films()
    x, y = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = loss_of(x, target, bias)
    groups = [
        F.cross_entropy(y[(target == t) & (bias == b)], target[(target == t) & (bias == b)])
        for t in range(3)
        for b in range(4)
        if COUNTS[t, b]
    ]
    expected = torch.stack(groups).mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, x)[0], torch.autograd.grad(expected, y)[0])


def test_weights_have_mean_one_over_the_training_films() -> None:
    weights = group_weights(COUNTS)
    assert (weights.numpy() * COUNTS).sum() / COUNTS.sum() == pytest.approx(1)
    assert weights[0, 1] == weights[1, 3] == 0
    assert weights[0, 2].item() == pytest.approx(37 / 10)  # one of 37 films, ten groups
    assert torch.equal(group_weights(np.full((3, 4), 8)), torch.ones(3, 4))


def test_a_film_weighs_the_same_whatever_batch_it_is_in() -> None:
    """No division by the weights of the batch: a batch of one rare group keeps its weight."""
    logits, target, bias = torch.randn(5, 3), torch.zeros(5, dtype=torch.long), torch.full((5,), 2)
    torch.testing.assert_close(loss_of(logits, target, bias), 3.7 * F.cross_entropy(logits, target))


def test_order_of_the_batch_does_not_matter() -> None:
    logits, target, bias = training_films()
    order = torch.argsort(bias)
    torch.testing.assert_close(loss_of(logits[order], target[order], bias[order]), loss_of(logits, target, bias))


def test_half_precision_logits_are_computed_in_float32() -> None:
    logits, target, bias = training_films()
    assert loss_of(logits.bfloat16(), target, bias).dtype == torch.float32
