"""EnD's terms against the double loop they abbreviate, and the faults of the released code that they must not have."""

import itertools
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datasets.sample import DatasetInfo, Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods.end import End, disentangling_loss, entangling_loss
from training.methods.parameters import EndParameters

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
        (lambda f: disentangling_loss(f, bias, "signed", biases), lambda f: naive_disentangling(f, bias, "signed")),
        (lambda f: disentangling_loss(f, bias, "absolute", biases), lambda f: naive_disentangling(f, bias, "absolute")),
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


def test_hand_values() -> None:
    features = torch.tensor([[2.0, 0.0], [0.0, 5.0], [3.0, 0.0], [-1.0, 0.0]])
    bias = torch.tensor([0, 0, 1, 1])
    # Same-bias cosines: 0 and -1, over two pairs.
    assert disentangling_loss(features, bias, "signed", 2).item() == pytest.approx(0.5)
    assert disentangling_loss(features, bias, "absolute", 2).item() == pytest.approx(0.5)
    # Target 0 holds films 0 and 2 (cosine 1), target 1 films 1 and 3 (cosine 0).
    assert entangling_loss(features, torch.tensor([0, 1, 0, 1]), bias, 2, 2).item() == pytest.approx((0 + 0.5) / 2)


def test_signed_cosines_cancel_where_absolute_ones_do_not() -> None:
    features, _, bias = batch(3, 256, 34, biases=10)
    assert disentangling_loss(features, bias, "signed") < 0.2 * disentangling_loss(features, bias, "absolute")
    positive = features.abs()
    torch.testing.assert_close(
        disentangling_loss(positive, bias, "signed"), disentangling_loss(positive, bias, "absolute")
    )


@pytest.mark.parametrize("form", ["signed", "absolute"])
def test_order_scale_and_names_of_labels_do_not_matter(form: str) -> None:
    features, target, bias = batch(0)
    value, pull = disentangling_loss(features, bias, form, 4), entangling_loss(features, target, bias, 3, 4)
    order = torch.argsort(bias)  # sorted by source: the released mask finds no pair at all here
    scale = torch.rand(len(features), 1, dtype=torch.float64) + 0.1
    moved, target_, bias_ = (features * scale)[order], target[order] * 7 - 3, bias[order] * 1000 + 5
    torch.testing.assert_close(disentangling_loss(moved, bias_, form), value)
    torch.testing.assert_close(entangling_loss(moved, target_, bias_), pull)
    torch.testing.assert_close(entangling_loss(moved, target[order], bias[order], 3, 4), pull)
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
        loss = loss + disentangling_loss(features, torch.tensor(bias), "signed", 4)
        loss = loss + disentangling_loss(features, torch.tensor(bias), "absolute", 4)
    loss.backward()
    assert loss.item() == 0
    assert features.grad is not None and torch.equal(features.grad, torch.zeros_like(features))


def test_a_zero_feature_gives_finite_gradients() -> None:
    features = torch.zeros(4, 3, requires_grad=True)
    bias = torch.tensor([0, 0, 1, 1])
    (disentangling_loss(features, bias) + entangling_loss(features, bias * 0, bias)).backward()
    assert features.grad is not None and features.grad.isfinite().all()


@pytest.mark.parametrize("form", ["signed", "absolute"])
def test_gradcheck(form: str) -> None:
    features, target, bias = batch(1, 9, 4)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: disentangling_loss(f, bias, form, 4), features)
    assert torch.autograd.gradcheck(lambda f: entangling_loss(f, target, bias, 3, 4), features)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_under_autocast(dtype: torch.dtype) -> None:
    features, target, bias = batch(2, 64, 32)
    half = features.to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        values = [disentangling_loss(half, bias, form, 4) for form in ("signed", "absolute")]
        values.append(entangling_loss(half, target, bias, 3, 4))
    exact = half.detach().double()
    expected = [disentangling_loss(exact, bias, form, 4) for form in ("signed", "absolute")]
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
        disentangling_loss(torch.randn(4, 2), torch.zeros(4, dtype=torch.long), "squared")


CASES = {
    "signed": ("signed", True, [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]),
    "absolute": ("absolute", True, [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]),
    "labels do not overlap": ("signed", False, [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]),
    "unequal shares": ("absolute", False, [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9, 10, 11]]),
}


def _terms(features: Tensor, target: Tensor, bias: Tensor, form: str, sized: bool) -> Tensor:
    targets, biases = (4, 6) if sized else (None, None)
    return disentangling_loss(features, bias, form, biases) + entangling_loss(features, target, bias, targets, biases)


def _rank(rank: int, port: int, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    found = {}
    for name, (form, sized, shares) in CASES.items():
        weight, features, target, bias = _distributed_case()
        mine = shares[rank]
        loss = _terms(features[mine] @ weight, target[mine], bias[mine], form, sized)
        (gradient,) = torch.autograd.grad(loss, weight)
        dist.all_reduce(gradient)
        found[name] = np.append(gradient.numpy() / 2, loss.item())  # DDP takes the mean
    if rank == 0:
        np.savez(out, **found)
    dist.destroy_process_group()


def _distributed_case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    features, target, bias = batch(11, 12, 5, 4, 6)
    target[:6], bias[:6] = target[:6] % 2, bias[:6] % 3  # the first half holds labels that the second lacks
    target[6:], bias[6:] = 2 + target[6:] % 2, 3 + bias[6:] % 3
    weight = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    return weight, features, target, bias


@pytest.fixture(scope="module")
def from_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    out = f"{tmp_path_factory.mktemp('ranks')}/rank0.npz"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_rank, (port, out), nprocs=2)
    return dict(np.load(out))


@pytest.mark.parametrize("case", list(CASES))
def test_two_ranks_give_the_gradient_of_the_whole_batch(case: str, from_two_ranks: dict[str, np.ndarray]) -> None:
    form, sized, _ = CASES[case]
    weight, features, target, bias = _distributed_case()
    loss = _terms(features @ weight, target, bias, form, sized)
    (expected,) = torch.autograd.grad(loss, weight)
    *gradient, value = from_two_ranks[case]
    assert value == pytest.approx(loss.item(), rel=1e-10)
    np.testing.assert_allclose(gradient, expected.numpy().ravel(), rtol=1e-8, atol=1e-12)
