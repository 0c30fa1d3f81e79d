"""EnD's terms against the double loop they abbreviate, and the faults of the released code that they must not have."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datasets.sample import DatasetInfo, Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.benchmark.cost import gram_disentangling
from training.methods import EndParameters
from training.methods.end import End, disentangling_loss, entangling_loss

INFO = DatasetInfo("phantom", ("no", "yes"), ("a", "b", "c"), "source", 1, synthetic=True)


def naive_disentangling(features: Tensor, bias: Tensor, form: str) -> Tensor:
    z = features / features.norm(dim=1, keepdim=True)
    per_bias: dict[int, list[Tensor]] = {}
    for i, j in itertools.combinations(range(len(z)), 2):
        if bias[i] == bias[j]:
            per_bias.setdefault(int(bias[i]), []).append(z[i] @ z[j])
    pairs = sum(len(cosines) for cosines in per_bias.values())
    if not pairs:
        return features.sum() * 0
    if form == "absolute":
        return torch.stack([c for cosines in per_bias.values() for c in cosines]).abs().mean()
    return torch.stack([torch.stack(cosines).sum().abs() for cosines in per_bias.values()]).sum() / pairs


def naive_entangling(features: Tensor, target: Tensor, bias: Tensor) -> Tensor:
    z = features / features.norm(dim=1, keepdim=True)
    values = [
        (1 - z[i] @ z[j]) / 2
        for i, j in itertools.combinations(range(len(z)), 2)
        if target[i] == target[j] and bias[i] != bias[j]
    ]
    return torch.stack(values).mean() if values else features.sum() * 0


def batch(seed: int, size: int = 24, dim: int = 7, targets: int = 3, biases: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(size, dim, generator=rng, dtype=torch.float64) * 3
    return features, torch.randint(targets, (size,), generator=rng), torch.randint(biases, (size,), generator=rng)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 20), targets=st.integers(1, 4), biases=st.integers(1, 5))
def test_values_and_gradients_equal_the_double_loop(seed: int, size: int, targets: int, biases: int) -> None:
    features, target, bias = batch(seed, size, 5, targets, biases)
    for ours, naive in (
        (lambda f: disentangling_loss(f, bias, biases, "signed"), lambda f: naive_disentangling(f, bias, "signed")),
        (lambda f: disentangling_loss(f, bias, biases, "absolute"), lambda f: naive_disentangling(f, bias, "absolute")),
        (
            lambda f: entangling_loss(f, target, bias, targets, biases),
            lambda f: naive_entangling(f, target, bias),
        ),
    ):
        x, y = features.clone().requires_grad_(), features.clone().requires_grad_()
        value, expected = ours(x), naive(y)
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(
            torch.autograd.grad(value, x)[0], torch.autograd.grad(expected, y)[0], rtol=1e-7, atol=1e-10
        )


@pytest.mark.parametrize("size", [1, 7, 64, 500])
@pytest.mark.parametrize("shares", [[1.0], [0.9, 0.1], [1 / 6] * 6, [0.5, 0.3, 0.1, 0.06, 0.03, 0.01], [0.01] * 100])
def test_blocks_by_bias_equal_the_gram_matrix_of_the_batch(size: int, shares: list[float]) -> None:
    rng = torch.Generator().manual_seed(size)
    features = torch.randn(size, 48, generator=rng)
    bias = torch.multinomial(torch.tensor(shares), size, replacement=True, generator=rng)
    x, y = features.clone().requires_grad_(), features.clone().requires_grad_()
    value, expected = disentangling_loss(x, bias, len(shares), "absolute"), gram_disentangling(y, bias)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
    slope, truth = torch.autograd.grad(3 * value, x)[0], torch.autograd.grad(3 * expected, y)[0]
    torch.testing.assert_close(slope, truth, rtol=1e-4, atol=1e-8)
    pairs = sum(n * (n - 1) / 2 for n in bias.bincount().tolist())
    assert truth.any() == slope.any() == (pairs > 0)


def test_hand_values() -> None:
    features = torch.tensor([[2.0, 0.0], [0.0, 5.0], [3.0, 0.0], [-1.0, 0.0]])
    bias = torch.tensor([0, 0, 1, 1])
    # Same-bias cosines: 0 and -1, over two pairs.
    assert disentangling_loss(features, bias, 2, "signed").item() == pytest.approx(0.5)
    assert disentangling_loss(features, bias, 2, "absolute").item() == pytest.approx(0.5)
    # Target 0 holds films 0 and 2 (cosine 1), target 1 films 1 and 3 (cosine 0).
    assert entangling_loss(features, torch.tensor([0, 1, 0, 1]), bias, 2, 2).item() == pytest.approx((0 + 0.5) / 2)


def test_signed_cosines_cancel_where_absolute_ones_do_not() -> None:
    features, _, bias = batch(3, 256, 34, biases=10)
    signed, absolute = (disentangling_loss(features, bias, 10, form) for form in ("signed", "absolute"))
    assert signed < 0.2 * absolute
    signed, absolute = (disentangling_loss(features.abs(), bias, 10, form) for form in ("signed", "absolute"))
    torch.testing.assert_close(signed, absolute)


@pytest.mark.parametrize("form", ["signed", "absolute"])
def test_order_scale_and_empty_labels_do_not_matter(form: str) -> None:
    features, target, bias = batch(0)
    value, pull = disentangling_loss(features, bias, 4, form), entangling_loss(features, target, bias, 3, 4)
    order = torch.argsort(bias)  # sorted by source: the released mask finds no pair at all here
    scale = torch.rand(len(features), 1, dtype=torch.float64) + 0.1
    moved, target, bias = (features * scale)[order], 2 * target[order], 3 * bias[order] + 1
    torch.testing.assert_close(disentangling_loss(moved, bias, 11, form), value)
    torch.testing.assert_close(entangling_loss(moved, target, bias, 5, 11), pull)
    assert pull > 0.1


@pytest.mark.parametrize(
    ("target", "bias"),
    [([0, 0, 1, 1], [0, 0, 1, 1]), ([0, 1, 2, 3], [0, 1, 2, 3]), ([0], [0])],
    ids=["source is label", "all different", "one film"],
)
def test_no_pair_gives_zero_and_a_zero_finite_gradient(target: list[int], bias: list[int]) -> None:
    features = torch.randn(len(target), 3, requires_grad=True)
    loss = entangling_loss(features, torch.tensor(target), torch.tensor(bias), 4, 4)
    if len(set(bias)) == len(bias):
        loss = loss + disentangling_loss(features, torch.tensor(bias), 4, "signed")
        loss = loss + disentangling_loss(features, torch.tensor(bias), 4, "absolute")
    loss.backward()
    assert loss.item() == 0
    assert features.grad is not None and torch.equal(features.grad, torch.zeros_like(features))


def test_a_zero_feature_gives_finite_gradients() -> None:
    features = torch.zeros(4, 3, requires_grad=True)
    bias = torch.tensor([0, 0, 1, 1])
    perp = [disentangling_loss(features, bias, 2, form) for form in ("signed", "absolute")]
    (torch.stack(perp).sum() + entangling_loss(features, bias * 0, bias, 1, 2)).backward()
    assert features.grad is not None and features.grad.isfinite().all()


@pytest.mark.parametrize("form", ["signed", "absolute"])
def test_gradcheck(form: str) -> None:
    features, target, bias = batch(1, 9, 4)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: disentangling_loss(f, bias, 4, form), features)
    assert torch.autograd.gradcheck(lambda f: entangling_loss(f, target, bias, 3, 4), features)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_under_autocast(dtype: torch.dtype) -> None:
    features, target, bias = batch(2, 64, 32)
    half = features.to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        values = [disentangling_loss(half, bias, 4, form) for form in ("signed", "absolute")]
        values.append(entangling_loss(half, target, bias, 3, 4))
    exact = half.detach().double()
    expected = [disentangling_loss(exact, bias, 4, form) for form in ("signed", "absolute")]
    expected.append(entangling_loss(exact, target, bias, 3, 4))
    for value, truth in zip(values, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), truth, rtol=1e-4, atol=1e-6)
    torch.stack(values).sum().backward()
    assert half.grad is not None and half.grad.isfinite().all() and half.grad.any()


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.0, 1.0)])
def test_a_step_on_one_term_alone_moves_the_features_its_way(alpha: float, beta: float) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 5)
    image, target, bias = torch.randn(32, 6), torch.randint(2, (32,)), torch.randint(3, (32,))
    sample = Sample(image, target, bias, torch.arange(32))
    method, name = End(EndParameters(alpha, beta), setup_of(INFO)), "r_perp" if alpha else "r_par"
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.5)
    before = layer(image).detach()
    history = []
    for _ in range(20):
        features = layer(image)
        term = method(Output(features, torch.zeros(32, 2)), sample)[name]
        optimiser.zero_grad()
        term.backward()
        optimiser.step()
        history.append(term.item())
    assert not torch.equal(layer(image), before)
    assert history[-1] < 0.8 * history[0]


def test_terms_are_weighted_and_sum_to_the_loss() -> None:
    features, target, bias = batch(5, 16, 6, 2, 3)
    logits = torch.randn(16, 2)
    terms = End(EndParameters(alpha=0.5, beta=2.0, form="absolute"), setup_of(INFO))(
        Output(features.float(), logits), Sample(features, target, bias, target)
    )
    assert list(terms) == ["ce", "r_perp", "r_par"]
    torch.testing.assert_close(terms["ce"], torch.nn.functional.cross_entropy(logits, target))
    torch.testing.assert_close(
        terms["r_perp"].double(), 0.5 * naive_disentangling(features, bias, "absolute"), rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        terms["r_par"].double(), 2 * naive_entangling(features, target, bias), rtol=1e-4, atol=1e-6
    )


def test_unknown_form_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="signed or absolute"):
        disentangling_loss(torch.randn(4, 2), torch.zeros(4, dtype=torch.long), 1, "squared")
