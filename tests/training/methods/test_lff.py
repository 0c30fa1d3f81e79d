"""LfF against a plain loop over visits, what its memory keeps, and who learns from which term."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import LffParameters
from training.methods.lff import Lff, generalised_cross_entropy

ROWS = 10


def lff(memory: float = 0.7, q: float = 0.7, bias_model: str = "simple_convnet_1x1") -> Lff:
    torch.manual_seed(0)
    return Lff(LffParameters(bias_model, q, memory), setup_of(rows=ROWS))


def batch(rows: list[int], seed: int = 0) -> tuple[Output, Sample]:
    """A film's target follows from its row; everything else is new at every visit."""
    rng = torch.Generator().manual_seed(seed)
    row = torch.tensor(rows)
    image, logits = torch.randn(len(rows), 3, 6, 6, generator=rng), torch.randn(len(rows), 3, generator=rng) * 3
    return Output(logits, logits.requires_grad_()), Sample(image, row % 3, torch.zeros_like(row), row)


class Naive:
    """The two averages as dictionaries by film."""

    def __init__(self, memory: float) -> None:
        self.memory = memory
        self.averages: tuple[dict[int, float], dict[int, float]] = ({}, {})

    def weights(self, biased: Tensor, logits: Tensor, sample: Sample) -> list[float]:
        rows = sample.row.tolist()
        for average, answers in zip(self.averages, (biased, logits), strict=True):
            visits: dict[int, list[float]] = {}
            for row, answer in zip(rows, answers, strict=True):
                visits.setdefault(row, []).append(float(answer.logsumexp(0) - answer[row % 3]))
            for row, values in visits.items():
                value = sum(values) / len(values)
                old = average.get(row)
                average[row] = value if old is None else self.memory * old + (1 - self.memory) * value
        weights = []
        for row in rows:
            b, d = (
                average[row] / max(value for other, value in average.items() if other % 3 == row % 3)
                for average in self.averages
            )
            weights.append(b / (b + d))
        return weights


VISITS = ([0, 1, 2, 3, 4, 5], [3, 4, 5, 6, 7, 8], [0, 1, 2, 6, 7, 8], [4, 4, 9, 0, 0, 0], [9, 9, 9, 9])


@pytest.mark.parametrize("memory", [0.7, 0.0])
def test_weights_values_and_gradients_equal_the_loop_over_visits(memory: float) -> None:
    method, naive = lff(memory), Naive(memory)
    for number, rows in enumerate(VISITS):
        output, sample = batch(rows, number)
        biased = method.bias_network(sample.image).logits.detach()
        terms = method(output, sample)
        assert list(terms) == ["weighted_ce", "bias_gce"]
        weights = naive.weights(biased, output.logits.detach(), sample)
        losses = [
            w * (answer.logsumexp(0) - answer[y])
            for w, answer, y in zip(weights, output.logits, sample.target, strict=True)
        ]
        expected = torch.stack(losses).mean()
        torch.testing.assert_close(terms["weighted_ce"], expected)
        torch.testing.assert_close(
            torch.autograd.grad(terms["weighted_ce"], output.logits), torch.autograd.grad(expected, output.logits)
        )
        assert len({round(w, 6) for w in weights}) > 1 or number == len(VISITS) - 1


def test_generalised_cross_entropy_and_its_gradient() -> None:
    logits, target = torch.randn(6, 4, requires_grad=True), torch.randint(4, (6,))
    probability = logits.softmax(1)[torch.arange(6), target]
    for q in (0.7, 0.3, 1.0):
        value = generalised_cross_entropy(logits, target, q)
        torch.testing.assert_close(value, ((1 - probability**q) / q).mean())
        # The gradient is that of the cross-entropy times p^q.
        per_film = probability.detach() ** q * F.cross_entropy(logits, target, reduction="none")
        torch.testing.assert_close(
            torch.autograd.grad(value, logits, retain_graph=True),
            torch.autograd.grad(per_film.mean(), logits, retain_graph=True),
        )
    torch.testing.assert_close(
        generalised_cross_entropy(logits, target, 1e-4), F.cross_entropy(logits, target), rtol=1e-3, atol=1e-3
    )


def test_hand_value() -> None:
    assert generalised_cross_entropy(torch.zeros(1, 4), torch.tensor([2]), 0.5).item() == pytest.approx(1.0)
    method = lff()
    method.losses[:] = torch.tensor([[2.0] * ROWS, [1.0] * ROWS])
    method.losses[:, 3] = torch.tensor([1.0, 4.0])  # of the class of row 0: half as hard to B, hardest to D
    method.seen[:], method.target[:] = True, torch.arange(ROWS) % 3
    _, sample = batch([0, 3, 1])
    # 1 / (1 + 1/4), 1/2 / (1/2 + 1), 1 / (1 + 1)
    torch.testing.assert_close(method.weights(sample), torch.tensor([0.8, 1 / 3, 0.5]))


def test_a_film_that_the_biased_network_fails_on_weighs_more() -> None:
    method = lff()
    _, sample = batch([0, 1, 2, 3, 4, 5])
    sample = sample._replace(target=torch.tensor([0, 1, 1, 0, 0, 1]))
    losses = torch.tensor([[0.1, 4, 4, 0.1, 2, 0.1], [1.0] * 6]).T
    method.remember(losses, sample.target, sample.row)
    weights = method.weights(sample)
    assert weights[[1, 2, 4]].min() > 0.49 and weights[[0, 3, 5]].max() < 0.06


def test_each_network_learns_from_its_own_term() -> None:
    method = lff()
    output, sample = batch([0, 1, 2, 3])
    terms = method(output, sample)
    own = list(method.bias_network.parameters())
    for gradient in torch.autograd.grad(terms["weighted_ce"], own, retain_graph=True, allow_unused=True):
        assert gradient is None
    unused = torch.autograd.grad(terms["bias_gce"], [output.logits], retain_graph=True, allow_unused=True)
    assert all(gradient is None for gradient in unused)
    assert torch.autograd.grad(terms["bias_gce"], method.bias_network.head.weight)[0].any()


def test_only_the_batch_s_films_move_and_a_resumed_run_remembers() -> None:
    method = lff()
    for number, rows in enumerate(VISITS[:2]):
        method(*batch(rows, number))
    before = method.losses.clone()
    assert torch.equal(method.seen, torch.arange(ROWS) < 9) and not before[:, 9].any()
    resumed = lff()
    resumed.load_state_dict(method.state_dict())
    for network in (method, resumed):
        network(*batch([1, 9], 5))
    others = [row for row in range(ROWS) if row not in (1, 9)]
    assert torch.equal(method.losses[:, others], before[:, others])
    assert (method.losses[:, [1, 9]] != before[:, [1, 9]]).all()
    assert torch.equal(method.losses, resumed.losses)
    method.eval()
    before = method.losses.clone()
    method(*batch([0, 2], 6))
    assert torch.equal(method.losses, before)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[1::7])
def test_order_of_the_batch_does_not_matter_even_with_a_film_twice(order: tuple[int, ...]) -> None:
    output, sample = batch([2, 5, 5, 0])
    whole = lff()(output, sample)
    moved = lff()(Output(*(v[list(order)] for v in output)), Sample(*(v[list(order)] for v in sample)))
    torch.testing.assert_close(moved, whole)


def test_losses_of_zero_and_of_infinite_sureness_stay_finite() -> None:
    method = lff()
    _, sample = batch([0, 3, 1])
    torch.nn.init.zeros_(method.bias_network.head.weight)
    method.bias_network.head.bias.data = torch.tensor([500.0, 0.0, 0.0])  # of target 0, and never of 1
    logits = torch.tensor([[500.0, 0, 0], [500.0, 0, 0], [500.0, 0, 0]], requires_grad=True)
    terms = method(Output(logits, logits), sample)
    gradients = torch.autograd.grad(
        sum(terms.values(), torch.zeros(())), [logits, method.bias_network.head.bias], allow_unused=True
    )
    assert all(value.isfinite() for value in terms.values())
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert terms["bias_gce"].item() == pytest.approx(1 / 0.7 / 3)  # the third film's error, in full
    assert terms["weighted_ce"].item() == pytest.approx(500 / 2 / 3)


def test_float32_under_autocast_and_any_backbone() -> None:
    method = lff(bias_model="test_resnet")
    output, sample = batch([0, 1, 2, 3])
    sample = sample._replace(image=torch.randn(4, 3, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        terms = method(Output(output.features.bfloat16(), output.logits.bfloat16()), sample)
    assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())
