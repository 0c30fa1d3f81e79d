"""eps-SupInfoNCE and FairKL against loops over pairs, and what the released code gets wrong."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import METHODS, FairklParameters
from training.methods.fairkl import Fairkl, eps_sup_info_nce, fairkl


def naive_contrast(features: Tensor, target: Tensor, temperature: float, epsilon: float) -> Tensor:
    z = features / features.norm(dim=1, keepdim=True)
    anchors = []
    for i in range(len(z)):
        rivals = sum(
            (torch.exp(z[i] @ z[k] / temperature) for k in range(len(z)) if target[k] != target[i]), z.new_zeros(())
        )
        values = []
        for j in range(len(z)):
            if j != i and target[j] == target[i]:
                own = torch.exp(z[i] @ z[j] / temperature)
                values.append(-torch.log(own / (own * math.exp(-epsilon) + rivals)))
        anchors.append(torch.stack(values).mean() if values else features.sum() * 0)
    return torch.stack(anchors).mean()


def naive_fairkl(features: Tensor, target: Tensor, bias: Tensor, kld: float) -> Tensor:
    z = features / features.norm(dim=1, keepdim=True)
    kinds: dict[tuple[bool, bool], list[Tensor]] = {}
    for i, j in itertools.combinations(range(len(z)), 2):
        kind = bool(target[i] == target[j]), bool(bias[i] == bias[j])
        kinds.setdefault(kind, []).append(z[i] @ z[j])
    loss = features.sum() * 0
    for positive in (True, False):
        aligned, conflicting = (kinds.get((positive, same), []) for same in (True, False))
        if aligned and conflicting:
            loss = loss + (torch.stack(aligned).mean() - torch.stack(conflicting).mean()) ** 2
        if min(len(aligned), len(conflicting)) > 1:
            one, other = (torch.stack(values).std(correction=0) for values in (aligned, conflicting))
            loss = loss + kld * (one - other) ** 2
    if (True, False) in kinds:
        loss = loss - torch.stack(kinds[True, False]).mean()
    if (False, True) in kinds:
        loss = loss + torch.stack(kinds[False, True]).mean()
    return loss


def batch(seed: int, size: int = 20, targets: int = 3, biases: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(size, 6, generator=rng, dtype=torch.float64) * 3
    return features, torch.randint(targets, (size,), generator=rng), torch.randint(biases, (size,), generator=rng)


@pytest.mark.parametrize(
    ("seed", "size", "targets", "biases"), [(0, 20, 3, 4), (1, 12, 2, 2), (2, 9, 6, 2), (3, 5, 4, 4)]
)
@pytest.mark.parametrize(("temperature", "epsilon"), [(0.1, 0.0), (0.5, 0.7)])
def test_values_and_gradients_equal_the_loops(
    seed: int, size: int, targets: int, biases: int, temperature: float, epsilon: float
) -> None:
    features, target, bias = batch(seed, size, targets, biases)
    for ours, naive in (
        (
            lambda f: eps_sup_info_nce(f, target, temperature, epsilon),
            lambda f: naive_contrast(f, target, temperature, epsilon),
        ),
        (lambda f: fairkl(f, target, bias, 2.0), lambda f: naive_fairkl(f, target, bias, 2.0)),
    ):
        x, y = features.clone().requires_grad_(), features.clone().requires_grad_()
        value, expected = ours(x), naive(y)
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(
            torch.autograd.grad(value, x)[0], torch.autograd.grad(expected, y)[0], rtol=1e-7, atol=1e-10
        )


def test_hand_values() -> None:
    features = torch.tensor([[2.0, 0.0], [0.0, 5.0], [3.0, 0.0], [-1.0, 0.0]])
    target, bias = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1])
    # Positives: 0-1 aligned, cosine 0; 0-2 and 1-2 conflicting, 1 and 0. Negatives: 2-3 aligned, -1; 0-3, 1-3: -1 and 0.
    assert fairkl(features, target, bias, 5.0).item() == pytest.approx(0.5**2 + 0.5**2 - 0.5 - 1)
    pair, rival = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    expected = 2 / 3 * math.log((math.exp(2) * math.exp(-0.3) + 1) / math.exp(2))
    assert eps_sup_info_nce(pair, rival, 0.5, 0.3).item() == pytest.approx(expected, rel=1e-5)


def test_order_and_scale_do_not_matter() -> None:
    features, target, bias = batch(4)
    order = torch.argsort(bias)
    moved = (features * (torch.rand(len(features), 1, dtype=torch.float64) + 0.1))[order]
    torch.testing.assert_close(fairkl(moved, target[order], bias[order], 1.0), fairkl(features, target, bias, 1.0))
    torch.testing.assert_close(
        eps_sup_info_nce(moved, target[order], 0.1, 0.2), eps_sup_info_nce(features, target, 0.1, 0.2)
    )


def test_spread_is_measured_within_a_kind_of_pair_alone() -> None:
    """Cosines that are all 1: no kind of pair has a spread, whatever the number of its pairs."""
    features, (_, target, bias) = torch.ones(20, 6), batch(5)
    for kld in (0.0, 100.0):
        # The released code sees zeros between the ones, and self-pairs, and charges for them.
        assert fairkl(features, target, bias, kld).item() == pytest.approx(0, abs=1e-5)


def test_kinds_without_pairs_give_a_zero_finite_gradient() -> None:
    for target, bias in (([0], [0]), ([0, 0, 0], [1, 1, 1]), ([0, 1], [0, 1])):
        features = torch.randn(len(target), 4, requires_grad=True)
        loss = fairkl(features, torch.tensor(target), torch.tensor(bias), 1.0)
        loss.backward()
        assert loss.item() == 0
        assert features.grad is not None and torch.equal(features.grad, torch.zeros_like(features))


@pytest.mark.parametrize("targets", [[0], [0, 0, 0], [0, 1, 2]], ids=["one film", "no negatives", "no positives"])
def test_contrast_without_pairs_has_no_gradient(targets: list[int]) -> None:
    features = torch.randn(len(targets), 4, requires_grad=True)
    loss = eps_sup_info_nce(features, torch.tensor(targets), 0.1, 0.25)
    loss.backward()
    assert loss.item() == pytest.approx(-0.25 if len(targets) > len(set(targets)) else 0, abs=1e-5)
    assert features.grad is not None
    torch.testing.assert_close(features.grad, torch.zeros_like(features), rtol=0, atol=1e-5)


def test_equal_and_zero_features_give_finite_gradients() -> None:
    for features in (torch.zeros(8, 3), torch.ones(8, 3)):
        features.requires_grad_()
        target, bias = torch.arange(8) % 2, torch.arange(8) // 4
        (eps_sup_info_nce(features, target, 0.01, 0.0) + fairkl(features, target, bias, 1.0)).backward()
        assert features.grad is not None and features.grad.isfinite().all()


def test_gradcheck() -> None:
    features, target, bias = batch(6, 8)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: eps_sup_info_nce(f, target, 0.3, 0.1), features)
    assert torch.autograd.gradcheck(lambda f: fairkl(f, target, bias, 1.5), features)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_under_autocast(dtype: torch.dtype) -> None:
    features, target, bias = batch(7, 32)
    half = features.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        values = eps_sup_info_nce(half, target, 0.1, 0.0), fairkl(half, target, bias, 1.0)
    exact = half.double()
    for value, truth in zip(
        values, (eps_sup_info_nce(exact, target, 0.1, 0.0), fairkl(exact, target, bias, 1.0)), strict=True
    ):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), truth, rtol=1e-4, atol=1e-6)


def test_terms_are_weighted_and_the_head_alone_sees_cross_entropy() -> None:
    features, target, bias = batch(8)
    features = features.float().requires_grad_()
    head = torch.nn.Linear(6, 3)
    assert METHODS["fairkl"].detached_head
    parameters = FairklParameters(0.2, 0.1, contrastive_weight=0.5, fairkl_weight=3.0, kld=2.0)
    logits = head(features.detach())
    terms = Fairkl(parameters, setup_of())(Output(features, logits), Sample(features, target, bias, target))
    assert list(terms) == ["ce", "contrastive", "fairkl"]
    torch.testing.assert_close(terms["ce"], torch.nn.functional.cross_entropy(logits, target))
    for name, expected in (
        ("contrastive", 0.5 * naive_contrast(features.double(), target, 0.2, 0.1)),
        ("fairkl", 3 * naive_fairkl(features.double(), target, bias, 2.0)),
    ):
        torch.testing.assert_close(terms[name].double(), expected, rtol=1e-4, atol=1e-5)
        assert torch.autograd.grad(terms[name], features, retain_graph=True)[0].any()


def test_training_on_the_regulariser_alone_evens_out_the_cosines() -> None:
    torch.manual_seed(0)
    features, target, bias = batch(9, 40)
    features = torch.nn.functional.one_hot(bias, 6) + 0.3 * features.float()  # the bias is all there is to see
    features.requires_grad_()
    optimiser = torch.optim.Adam([features], lr=0.1)
    history = []
    for _ in range(60):
        loss = fairkl(features, target, bias, 1.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < history[0] - 0.5
