"""Learned-Mixin +H: values and gradients against plain sums, who learns from what, and the bias network's head start."""

import math

import pytest
import torch
from torch import Tensor

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import LearnedMixinParameters
from training.methods.learned_mixin import LearnedMixin


def batch(size: int = 12, seed: int = 0) -> tuple[Tensor, Tensor, Sample]:
    rng = torch.Generator().manual_seed(seed)
    image, target = torch.randn(size, 3, 6, 6, generator=rng), torch.randint(3, (size,), generator=rng)
    features, logits = torch.randn(size, 7, generator=rng), torch.randn(size, 3, generator=rng)
    return features, logits, Sample(image, target, torch.zeros_like(target), torch.arange(size))


def mixin(entropy_weight: float = 0.36, bias_pretrain: float = 0.0, steps: int = 100) -> LearnedMixin:
    torch.manual_seed(0)
    return LearnedMixin(LearnedMixinParameters(entropy_weight, bias_pretrain), setup_of(steps=steps))


def naive(
    method: LearnedMixin, features: Tensor, logits: Tensor, biased: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """CE of the mixture and entropy of its bias part, sample by sample, from log-probabilities as in the paper."""
    losses, entropies = [], []
    for f, h, g, y in zip(logits, features, biased, target, strict=True):
        trust = torch.log(1 + torch.exp(method.trust.weight[0] @ h + method.trust.bias[0]))
        bias_log = g - g.exp().sum().log()
        mixed = (f - f.exp().sum().log()) + trust * bias_log
        losses.append(-(mixed[y] - mixed.exp().sum().log()))
        share = (trust * bias_log).exp() / (trust * bias_log).exp().sum()
        entropies.append(-sum((p * p.log() for p in share), torch.zeros(())))
    return torch.stack(losses).mean(), torch.stack(entropies).mean()


def test_values_and_gradients_equal_the_loop_over_samples() -> None:
    method = mixin(entropy_weight=0.7)
    features, logits, sample = batch()
    features.requires_grad_()
    logits.requires_grad_()
    biased = method.bias_network(sample.image).logits.detach()
    terms = method(Output(features, logits), sample)
    ce, entropy = naive(method, features, logits, biased, sample.target)
    torch.testing.assert_close(terms["mixin"], ce)
    torch.testing.assert_close(terms["entropy"], 0.7 * entropy)
    learned = [features, logits, *method.trust.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad(terms["mixin"] + terms["entropy"], learned, retain_graph=True),
        torch.autograd.grad(ce + 0.7 * entropy, learned),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
        assert ours.any()


def test_hand_value() -> None:
    method = mixin(entropy_weight=1.0)
    features, _, sample = batch(2)
    torch.nn.init.zeros_(method.bias_network.head.weight)
    method.bias_network.head.bias.data = torch.tensor([math.log(2), 0.0, 0.0])
    torch.nn.init.zeros_(method.trust.weight)
    method.trust.bias.data.fill_(math.log(math.e - 1))  # softplus of it is 1
    target = torch.tensor([0, 1])
    terms = method(Output(features, torch.zeros(2, 3)), sample._replace(target=target))
    # The bias says 1/2, 1/4, 1/4 and the classifier nothing.
    assert terms["mixin"].item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert terms["entropy"].item() == pytest.approx(1.5 * math.log(2))
    assert terms["bias_ce"].item() == pytest.approx(terms["mixin"].item())


def test_the_bias_network_learns_by_its_own_cross_entropy_alone() -> None:
    method = mixin()
    features, logits, sample = batch()
    features.requires_grad_()
    logits.requires_grad_()
    terms = method(Output(features, logits), sample)
    bias_parameters = list(method.bias_network.parameters())
    for name in ("mixin", "entropy"):
        found = torch.autograd.grad(terms[name], bias_parameters, retain_graph=True, allow_unused=True)
        assert all(gradient is None for gradient in found)
    outside = torch.autograd.grad(terms["bias_ce"], [features, logits], retain_graph=True, allow_unused=True)
    assert all(gradient is None for gradient in outside)
    assert all(
        gradient.any()
        for gradient in torch.autograd.grad(terms["bias_ce"], list(method.bias_network.head.parameters()))
    )


def test_a_right_bias_takes_the_gradient_and_a_wrong_one_gives_it() -> None:
    method = mixin(entropy_weight=0.0)
    features, _, sample = batch(2)
    torch.nn.init.zeros_(method.bias_network.head.weight)
    method.bias_network.head.bias.data = torch.tensor([6.0, 0.0, 0.0])
    logits = torch.zeros(2, 3, requires_grad=True)
    method(Output(features * 0 + 1, logits), sample._replace(target=torch.tensor([0, 1])))["mixin"].backward()
    assert logits.grad is not None
    right, wrong = logits.grad.norm(dim=1)
    assert wrong > 10 * right


def test_the_bias_network_starts_alone_and_a_resumed_run_remembers() -> None:
    method = mixin(bias_pretrain=0.02, steps=100)
    features, logits, sample = batch()
    logits.requires_grad_()
    for _ in range(2):
        terms = method(Output(features, logits), sample)
        assert terms["mixin"].item() == terms["entropy"].item() == 0 and terms["bias_ce"] > 0
        assert not torch.autograd.grad(sum(terms.values(), torch.zeros(())), logits)[0].any()
    resumed = mixin(bias_pretrain=0.02, steps=100)
    resumed.load_state_dict(method.state_dict())
    assert resumed(Output(features, logits), sample)["mixin"] > 0
    assert mixin(bias_pretrain=0.02, steps=100)(Output(features, logits), sample)["mixin"] == 0


def test_order_of_the_batch_does_not_matter() -> None:
    features, logits, sample = batch()
    method, order = mixin(), torch.randperm(12)
    value = method(Output(features, logits), sample)
    shuffled = method(Output(features[order], logits[order]), Sample(*(field[order] for field in sample)))
    for name in value:
        torch.testing.assert_close(shuffled[name], value[name])


def test_float32_under_autocast_and_finite_for_sure_answers() -> None:
    features, logits, sample = batch()
    with torch.autocast("cpu", torch.bfloat16):
        terms = mixin()(Output(features.bfloat16(), logits.bfloat16() * 100), sample)
    assert list(terms) == ["mixin", "entropy", "bias_ce"]
    assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())
