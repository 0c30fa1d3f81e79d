"""LNL: who learns by which term, and features that end up without the bias."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import LnlParameters
from training.methods.lnl import Lnl, reverse_gradient


def batch(seed: int, size: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    features, logits = torch.randn(size, 7, generator=rng), torch.randn(size, 3, generator=rng)
    return features, logits, torch.randint(3, (size,), generator=rng), torch.randint(4, (size,), generator=rng)


def method_of(reversal: float = 0.1, confusion_weight: float = 0.01) -> Lnl:
    torch.manual_seed(0)
    return Lnl(LnlParameters(reversal, confusion_weight), setup_of())


def told(method: Lnl, features: Tensor) -> Tensor:
    """The head's answers, one film and one layer after the other."""
    first, _, last = method.bias_head
    return torch.stack([last.weight @ (first.weight @ row + first.bias).clamp(min=0) + last.bias for row in features])


def test_values_equal_the_loop() -> None:
    features, logits, target, bias = batch(0)
    method = method_of(confusion_weight=0.3)
    terms = method(Output(features, logits), Sample(features, target, bias, target))
    assert list(terms) == ["ce", "bias_ce", "certainty"]
    answers = told(method, features)
    bias_ce, certainty = [], []
    for row, b in zip(answers, bias, strict=True):
        q = row.exp() / row.exp().sum()
        bias_ce.append(-q[b].log())
        certainty.append(sum(share * share.log() for share in q))
    torch.testing.assert_close(terms["ce"], F.cross_entropy(logits, target))
    torch.testing.assert_close(terms["bias_ce"], torch.stack(bias_ce).mean())
    torch.testing.assert_close(terms["certainty"], 0.3 * torch.stack(certainty).mean())


def test_the_head_learns_by_its_cross_entropy_and_the_features_against_it() -> None:
    features, logits, target, bias = batch(1)
    method = method_of(reversal=0.25)
    x, y = features.clone().requires_grad_(), features.clone().requires_grad_()
    parameters = list(method.parameters())
    value = method(Output(x, logits), Sample(x, target, bias, target))["bias_ce"]
    reversed_, *ours = torch.autograd.grad(value, [x, *parameters])
    plain, *theirs = torch.autograd.grad(F.cross_entropy(told(method, y), bias), [y, *parameters])
    torch.testing.assert_close(reversed_, -0.25 * plain)
    assert plain.any()
    for own, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, expected)


def test_certainty_moves_the_features_and_leaves_the_head_alone() -> None:
    features, logits, target, bias = batch(2)
    method = method_of(confusion_weight=0.5)
    x, y = features.clone().requires_grad_(), features.clone().requires_grad_()
    value = method(Output(x, logits), Sample(x, target, bias, target))["certainty"]
    ours, *heads = torch.autograd.grad(value, [x, *method.parameters()], allow_unused=True)
    log_q = told(method, y).log_softmax(1)
    (expected,) = torch.autograd.grad(0.5 * (log_q.exp() * log_q).sum(1).mean(), y)
    torch.testing.assert_close(ours, expected)
    assert ours.any() and heads == [None] * 4


def test_reversal_keeps_the_value_to_the_bit() -> None:
    features = torch.randn(5, 3, requires_grad=True)
    again = reverse_gradient(features, 0.3)
    assert torch.equal(again, features)
    (gradient,) = torch.autograd.grad(again.sum(), features)
    torch.testing.assert_close(gradient, torch.full_like(features, -0.3))


def test_order_of_the_batch_does_not_matter() -> None:
    features, logits, target, bias = batch(3)
    method, order = method_of(), torch.argsort(bias)
    whole = method(Output(features, logits), Sample(features, target, bias, target))
    moved = method(Output(features[order], logits[order]), Sample(features, target[order], bias[order], target))
    torch.testing.assert_close(moved, whole)


def test_half_precision_features_give_float32_terms() -> None:
    features, logits, target, bias = batch(4)
    with torch.autocast("cpu", torch.bfloat16):
        terms = method_of()(Output(features.bfloat16(), logits.bfloat16()), Sample(features, target, bias, target))
    assert {term.dtype for term in terms.values()} == {torch.float32}


@pytest.mark.parametrize("reversal", [0.0, 1.0])
def test_the_head_is_defeated_only_if_its_gradient_is_reversed(reversal: float) -> None:
    torch.manual_seed(0)
    target, bias = torch.randint(2, (200,)), torch.randint(2, (200,))
    image = torch.stack([target * 2.0 - 1, bias * 2.0 - 1], 1) + 0.1 * torch.randn(200, 2)
    encoder, head = torch.nn.Linear(2, 7), torch.nn.Linear(7, 3)
    method = method_of(reversal, confusion_weight=0.0)
    optimiser = torch.optim.SGD([*encoder.parameters(), *head.parameters(), *method.parameters()], lr=0.1)
    history = []
    for _ in range(400):
        features = encoder(image)
        terms = method(Output(features, head(features)), Sample(image, target, bias, target))
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        history.append(terms["bias_ce"].item())
    late = sum(history[200:]) / 200  # the game goes round and round: no single step tells
    assert late > 0.4 if reversal else late < 0.02  # two biases: log 2 is not knowing
    assert terms["ce"] < 0.02
