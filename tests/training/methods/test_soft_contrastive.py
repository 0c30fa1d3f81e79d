"""SoftCon against a loop over anchors and positives, its ties to BiasCon, and who learns from what."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import SoftContrastiveParameters
from training.methods.bias_contrastive import bias_contrastive_loss
from training.methods.soft_contrastive import SoftContrastive, soft_contrastive_loss


def naive(features: Tensor, target: Tensor, bias_features: Tensor, temperature: float) -> Tensor:
    anchors = []
    for i in range(len(features)):
        others = [k for k in range(len(features)) if k != i]
        total = torch.stack([(F.cosine_similarity(features[i], features[k], 0) / temperature).exp() for k in others])
        distances, values = [], []
        for j in others:
            if target[j] == target[i]:
                distances.append(1 - F.cosine_similarity(bias_features[i], bias_features[j], 0).item())
                values.append(total.sum().log() - F.cosine_similarity(features[i], features[j], 0) / temperature)
        weighted = [d * v for d, v in zip(distances, values, strict=True)]
        anchors.append(torch.stack(weighted).sum() / sum(distances) if weighted else features.sum() * 0)
    return torch.stack(anchors).mean()


def batch(seed: int, size: int = 16, targets: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    features, bias_features = (torch.randn(size, dim, generator=rng, dtype=torch.float64) for dim in (6, 5))
    return features * 3, torch.randint(targets, (size,), generator=rng), bias_features


@pytest.mark.parametrize(("seed", "size", "targets"), [(0, 16, 3), (1, 9, 6)])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_value_and_gradient_equal_the_loop(seed: int, size: int, targets: int, temperature: float) -> None:
    features, target, bias_features = batch(seed, size, targets)
    x, y = features.clone().requires_grad_(), features.clone().requires_grad_()
    value, expected = (
        soft_contrastive_loss(x, target, bias_features, temperature),
        naive(y, target, bias_features, temperature),
    )
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-8)
    (ours,), (theirs,) = torch.autograd.grad(value, x), torch.autograd.grad(expected, y)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert ours.any()


def test_hand_value() -> None:
    """Bias features at right angles to the second film and opposite to the third weigh 1 to 2."""
    features = torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 0.0]])
    bias_features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-5.0, 0.0]])
    loss = soft_contrastive_loss(features, torch.tensor([0, 0, 0]), bias_features, 1.0)
    near, far = math.log(1 + math.exp(-1)), math.log(math.e + 1)  # to the film alike, to the film at right angles
    first = third = (1 * far + 2 * near) / 3
    second = math.log(2)
    assert loss.item() == pytest.approx((first + second + third) / 3, rel=1e-6)


def test_clear_bias_features_make_it_biascon() -> None:
    features, target, _ = batch(2, 24)
    bias = torch.randint(4, (24,), generator=torch.Generator().manual_seed(3))
    value = soft_contrastive_loss(features, target, F.one_hot(bias, 4) * 7.0, 0.1)
    torch.testing.assert_close(value, bias_contrastive_loss(features, target, bias, 0.1))


@pytest.mark.parametrize(
    ("target", "bias"),
    [([0], [0]), ([0, 0, 1, 1], [0, 0, 1, 1]), ([0, 1, 2], [0, 1, 2])],
    ids=["one film", "bias is target", "all different"],
)
def test_no_positive_of_another_bias_gives_zero_and_a_zero_gradient(target: list[int], bias: list[int]) -> None:
    features = torch.randn(len(target), 4, requires_grad=True)
    colours = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    near = colours[bias] * torch.rand(len(bias), 1)  # of one direction up to rounding
    loss = soft_contrastive_loss(features, torch.tensor(target), near, 0.07)
    loss.backward()
    assert loss.item() == 0
    assert features.grad is not None and torch.equal(features.grad, torch.zeros_like(features))


def test_order_and_scale_do_not_matter() -> None:
    features, target, bias_features = batch(4)
    order = torch.argsort(target)
    moved = soft_contrastive_loss(features[order] * 5, target[order], bias_features[order] * 0.3, 0.1)
    torch.testing.assert_close(moved, soft_contrastive_loss(features, target, bias_features, 0.1), rtol=1e-5, atol=1e-6)


def method_batch(size: int = 12) -> tuple[Tensor, Tensor, Sample]:
    rng = torch.Generator().manual_seed(5)
    image, target = torch.randn(size, 3, 6, 6, generator=rng), torch.randint(3, (size,), generator=rng)
    features, logits = torch.randn(size, 7, generator=rng), torch.randn(size, 3, generator=rng)
    sample = Sample(image, target, torch.zeros_like(target), torch.arange(size))
    return features.requires_grad_(), logits.requires_grad_(), sample


def method_of(temperature: float = 0.2, ce_weight: float = 0.5) -> SoftContrastive:
    torch.manual_seed(0)
    return SoftContrastive(SoftContrastiveParameters(temperature, ce_weight), setup_of())


def test_terms_are_weighted_and_each_network_learns_from_its_own() -> None:
    features, logits, sample = method_batch()
    method = method_of()
    biased = method.bias_network(sample.image)
    terms = method(Output(features, logits), sample)
    assert list(terms) == ["ce", "contrastive", "bias_ce"]
    torch.testing.assert_close(terms["ce"], 0.5 * F.cross_entropy(logits, sample.target))
    torch.testing.assert_close(terms["bias_ce"], F.cross_entropy(biased.logits, sample.target))
    expected = naive(features.double(), sample.target, biased.features.double(), 0.2)
    torch.testing.assert_close(terms["contrastive"].double(), expected, rtol=1e-4, atol=1e-5)
    own = list(method.bias_network.parameters())
    for name, learner, others in (
        ("ce", logits, own),
        ("contrastive", features, own),
        ("bias_ce", method.bias_network.head.weight, [features, logits]),
    ):
        unused = torch.autograd.grad(terms[name], others, retain_graph=True, allow_unused=True)
        assert all(gradient is None for gradient in unused)
        assert torch.autograd.grad(terms[name], learner, retain_graph=True)[0].any()


def test_float32_under_autocast() -> None:
    features, logits, sample = method_batch()
    with torch.autocast("cpu", torch.bfloat16):
        terms = method_of()(Output(features.bfloat16(), logits.bfloat16()), sample)
    assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())
    exact = method_of()(Output(features.bfloat16().float(), logits.bfloat16().float()), sample)
    torch.testing.assert_close(terms, exact)
