"""RUBi: values and gradients against plain sums, and which network learns from which term."""

import math

import pytest
import torch
from torch import Tensor

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import RubiParameters
from training.methods.rubi import Rubi


def batch(size: int = 12, seed: int = 0) -> tuple[Tensor, Sample]:
    rng = torch.Generator().manual_seed(seed)
    image, target = torch.randn(size, 3, 6, 6, generator=rng), torch.randint(3, (size,), generator=rng)
    return torch.randn(size, 3, generator=rng), Sample(image, target, torch.zeros_like(target), torch.arange(size))


def rubi(mask_weight: float = 1.0) -> Rubi:
    torch.manual_seed(0)
    return Rubi(RubiParameters(mask_weight), setup_of())


def test_values_and_gradients_equal_the_loop_over_samples() -> None:
    method = rubi(0.7)
    logits, sample = batch()
    logits.requires_grad_()
    features = method.bias_network(sample.image).features.detach()
    masked, own = [], []
    for f, h, y in zip(logits, features, sample.target, strict=True):
        q = method.mask.weight @ h + method.mask.bias
        fused = f / (1 + torch.exp(-q))
        masked.append(fused.exp().sum().log() - fused[y])
        own.append(q.exp().sum().log() - q[y])
    terms = method(Output(logits, logits), sample)
    torch.testing.assert_close(terms["masked_ce"], torch.stack(masked).mean())
    torch.testing.assert_close(terms["mask_ce"], 0.7 * torch.stack(own).mean())
    learned = [logits, *method.mask.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad(terms["masked_ce"] + terms["mask_ce"], learned),
        torch.autograd.grad(torch.stack(masked).mean() + 0.7 * torch.stack(own).mean(), learned),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
        assert ours.any()


def test_hand_value() -> None:
    method = rubi(2.0)
    torch.nn.init.zeros_(method.mask.weight)
    torch.nn.init.zeros_(method.mask.bias)
    _, sample = batch(1)
    logits = torch.tensor([[2 * math.log(2), 0.0, 0.0]])  # halved by a mask of 1/2, so 1/2, 1/4, 1/4
    terms = method(Output(logits, logits), sample._replace(target=torch.tensor([0])))
    assert terms["masked_ce"].item() == pytest.approx(math.log(2))
    assert terms["mask_ce"].item() == pytest.approx(2 * math.log(3))


def test_a_right_bias_lowers_the_loss_and_a_wrong_one_raises_it() -> None:
    method = rubi()
    torch.nn.init.zeros_(method.mask.weight)
    method.mask.bias.data = torch.tensor([8.0, -8.0, -8.0])
    _, sample = batch(2)
    logits, target = torch.ones(2, 3, requires_grad=True), torch.tensor([0, 1])
    method(Output(logits, logits), sample._replace(target=target))["masked_ce"].backward()
    value = torch.nn.functional.cross_entropy(logits.detach(), target).item()
    fused = method(Output(logits, logits.detach()), sample._replace(target=target))["masked_ce"].item()
    assert fused == pytest.approx((math.log(1 + 2 / math.e) + math.log(2 + math.e)) / 2, abs=1e-2)
    assert logits.grad is not None and logits.grad[1].norm() > logits.grad[0].norm() and fused != pytest.approx(value)


def test_only_its_own_cross_entropy_moves_the_bias_network() -> None:
    method = rubi()
    logits, sample = batch()
    logits.requires_grad_()
    terms = method(Output(logits, logits), sample)
    bias_parameters = list(method.bias_network.parameters())
    for name in ("masked_ce", "mask_ce"):
        found = torch.autograd.grad(terms[name], bias_parameters, retain_graph=True, allow_unused=True)
        assert all(gradient is None for gradient in found)
    for name in ("mask_ce", "bias_ce"):
        (outside,) = torch.autograd.grad(terms[name], logits, retain_graph=True, allow_unused=True)
        assert outside is None
    assert all(
        gradient.any()
        for gradient in torch.autograd.grad(terms["bias_ce"], list(method.bias_network.head.parameters()))
    )


def test_order_of_the_batch_does_not_matter() -> None:
    logits, sample = batch()
    method, order = rubi(), torch.randperm(12)
    value = method(Output(logits, logits), sample)
    shuffled = method(Output(logits[order], logits[order]), Sample(*(field[order] for field in sample)))
    for name in value:
        torch.testing.assert_close(shuffled[name], value[name])


def test_float32_under_autocast_and_finite_for_sure_answers() -> None:
    logits, sample = batch(1)  # a batch of one sample, too
    with torch.autocast("cpu", torch.bfloat16):
        terms = rubi()(Output(logits, logits.bfloat16() * 1000), sample)
    assert list(terms) == ["masked_ce", "mask_ce", "bias_ce"]
    assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())
