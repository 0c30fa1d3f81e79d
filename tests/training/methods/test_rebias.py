"""ReBias: HSIC against the sum over quadruples that it estimates, and the two sides of the game."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import RebiasParameters
from training.methods.rebias import Rebias, hsic


def naive(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """Mean over all quadruples of distinct samples of the U-statistic's kernel; no matrix, no shift."""

    def k(z: Tensor, i: int, j: int) -> Tensor:
        return torch.exp(-(z[i] - z[j]).square().sum() / (2 * sigma**2))

    values = []
    for i, j, q, r in itertools.permutations(range(len(x)), 4):
        values.append(k(x, i, j) * (k(y, i, j) + k(y, q, r) - 2 * k(y, i, q)))
    return torch.stack(values).mean()


def pair(size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 3, generator=rng, dtype=torch.float64)
    return x, x[:, :2] ** 2 + 0.3 * torch.randn(size, 2, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("size", [4, 5, 7])
@pytest.mark.parametrize("sigma", [1.0, 0.5])
def test_values_and_gradients_equal_the_sum_over_quadruples(size: int, sigma: float) -> None:
    x, y = (z.requires_grad_() for z in pair(size))
    ours, theirs = hsic(x, y, sigma), naive(x, y, sigma)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(torch.autograd.grad(ours, (x, y)), torch.autograd.grad(theirs, (x, y)), strict=True):
        torch.testing.assert_close(a, b)
        assert a.any()


def test_hand_value() -> None:
    # Two tight clusters, far apart, in both: within a cluster 1, across 0.
    x = torch.tensor([[0.0], [0.0], [100.0], [100.0]])
    # sum k l = 4, sum k = sum l = 4, row sums 1: (4 + 16 / 6 - 2 * 4 / 2) / 4
    assert hsic(x, x).item() == pytest.approx(2 / 3)


def test_dependence_shows_and_independence_does_not() -> None:
    rng = torch.Generator().manual_seed(1)
    x, other = torch.randn(400, 2, generator=rng), torch.randn(400, 2, generator=rng)
    assert hsic(x, x * 2 + 1) > 20 * hsic(x, other).abs()
    signs = [hsic(torch.randn(8, 2, generator=rng), torch.randn(8, 2, generator=rng)).sign().item() for _ in range(40)]
    assert -1 in signs and 1 in signs  # unbiased: below 0 about as often


def test_order_place_and_roles_do_not_matter() -> None:
    x, y = pair(16)
    value, order = hsic(x, y), torch.randperm(16)
    torch.testing.assert_close(hsic(x[order] + 1e3, y[order] - 7), value)
    torch.testing.assert_close(hsic(y, x), value)


def test_median_radius_forgets_the_scale_of_features() -> None:
    x, y = pair(16)
    torch.testing.assert_close(hsic(x * 1e3, y * 1e-2, 1.0, "median"), hsic(x, y, 1.0, "median"))
    distances = [torch.cdist(z, z).flatten().square().median().sqrt().item() for z in (x, y)]
    torch.testing.assert_close(hsic(x, y, 0.5, "median"), hsic(x / distances[0], y / distances[1], 0.5))
    torch.testing.assert_close(hsic(x * 1e3, y), torch.zeros((), dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_too_few_samples_give_zero_and_a_zero_gradient(size: int) -> None:
    x, y = (z.requires_grad_() for z in pair(size))
    value = hsic(x, y)
    assert value.item() == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(value, (x, y)))


@pytest.mark.parametrize("kernel", ["fixed", "median"])
def test_equal_features_give_zero_and_finite_gradients(kernel: str) -> None:
    x, y = torch.ones(8, 3, requires_grad=True), torch.randn(8, 2, requires_grad=True)
    value = hsic(x, y, 1.0, kernel)
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value, (x, y)))


def test_float32_keeps_its_digits_for_close_features() -> None:
    x, y = pair(64)
    x, y = x * 1e-2, y * 1e-2  # kernels within 1e-4 of 1, HSIC near 1e-9
    exact = hsic(x, y)
    assert 0 < exact < 1e-7
    torch.testing.assert_close(hsic(x.float(), y.float()).double(), exact, rtol=1e-3, atol=0)


def game(lambda_f: float = 1.0, lambda_g: float = 1.0) -> tuple[Rebias, Tensor, Tensor, Sample]:
    torch.manual_seed(0)
    target = torch.randint(3, (12,))
    sample = Sample(torch.randn(12, 3, 6, 6), target, torch.zeros_like(target), torch.arange(12))
    features, logits = torch.randn(12, 7).requires_grad_(), torch.randn(12, 3).requires_grad_()
    return Rebias(RebiasParameters(lambda_f, lambda_g), setup_of()), features, logits, sample


@pytest.mark.trains
def test_terms_are_weighted_and_signed() -> None:
    method, features, logits, sample = game(2.0, 3.0)
    biased = method.bias_network(sample.image)
    terms = method(Output(features, logits), sample)
    assert list(terms) == ["ce", "hsic", "bias_hsic", "bias_ce"]
    expected = naive(features[:, :].double(), biased.features.double(), 1.0).float()
    torch.testing.assert_close(terms["hsic"], 2 * expected, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(terms["bias_hsic"], -3 * expected, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(terms["ce"], torch.nn.functional.cross_entropy(logits, sample.target))
    torch.testing.assert_close(terms["bias_ce"], torch.nn.functional.cross_entropy(biased.logits, sample.target))


def test_each_network_learns_from_its_own_side() -> None:
    method, features, logits, sample = game()
    terms = method(Output(features, logits), sample)
    mine, theirs = (
        [features, logits],
        [p for n, p in method.bias_network.named_parameters() if not n.startswith("head")],
    )
    for name, owners, others in (("hsic", mine[:1], theirs), ("bias_hsic", theirs, mine), ("bias_ce", theirs, mine)):
        unused = torch.autograd.grad(terms[name], others, retain_graph=True, allow_unused=True)
        assert all(gradient is None for gradient in unused)
        assert any(gradient.any() for gradient in torch.autograd.grad(terms[name], owners, retain_graph=True))


def test_f_descends_and_g_ascends_the_dependence() -> None:
    x, y = (z.clone().requires_grad_() for z in pair(32))
    before = hsic(x, y)
    (of_x,) = torch.autograd.grad(before, x)
    assert hsic(x - 0.5 * of_x / of_x.norm(), y) < before < hsic(x + 0.5 * of_x / of_x.norm(), y)


def test_float32_under_autocast() -> None:
    method, features, logits, sample = game()
    with torch.autocast("cpu", torch.bfloat16):
        terms = method(Output(features.bfloat16(), logits.bfloat16()), sample)
        bfloat = hsic(features.bfloat16(), features.bfloat16())
    assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())
    assert math.isfinite(bfloat.item()) and bfloat.dtype == torch.float32


def test_unknown_kernel_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="fixed or median"):
        hsic(torch.randn(4, 2), torch.randn(4, 2), 1.0, "mean")
