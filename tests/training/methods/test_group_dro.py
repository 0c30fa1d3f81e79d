"""Group DRO's game against a plain loop over groups, and what must not move its weights."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import GroupDroParameters
from training.methods.group_dro import GroupDro

COUNTS = np.array([[9, 0, 1, 2], [1, 5, 3, 4], [1, 5, 3, 7]])


def method_of(step_size: float = 0.5, adjustment: float = 0.0) -> GroupDro:
    return GroupDro(GroupDroParameters(step_size, adjustment), dataclasses.replace(setup_of(), counts=COUNTS))


def batch(seed: int, size: int = 30) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, targets and biases; no film of the group that has none in training."""
    rng = torch.Generator().manual_seed(seed)
    cells = torch.randint(11, (size,), generator=rng)
    cells += cells >= 1
    return torch.randn(size, 3, generator=rng), cells // 4, cells % 4


def loss_of(method: GroupDro, logits: Tensor, target: Tensor, bias: Tensor) -> Tensor:
    terms = method(Output(logits, logits), Sample(logits, target, bias, target))
    assert list(terms) == ["robust_ce"]
    return terms["robust_ce"]


class Naive:
    """Algorithm 1, group by group, in plain numbers."""

    def __init__(self, step_size: float, adjustment: float) -> None:
        self.step_size, self.adjustment = step_size, adjustment
        groups = [(t, b) for t in range(3) for b in range(4) if COUNTS[t, b]]
        self.q = {group: 1 / len(groups) for group in groups}

    def loss(self, logits: Tensor, target: Tensor, bias: Tensor) -> Tensor:
        losses = {}
        for t, b in self.q:
            films = [i for i in range(len(target)) if target[i] == t and bias[i] == b]
            if films:
                losses[t, b] = torch.stack([logits[i].logsumexp(0) - logits[i, t] for i in films]).mean()
        for group, value in losses.items():
            raised = value.item() + self.adjustment / math.sqrt(COUNTS[group])
            self.q[group] *= math.exp(self.step_size * raised)
        total = sum(self.q.values())
        self.q = {group: value / total for group, value in self.q.items()}
        return torch.stack([self.q[group] * value for group, value in losses.items()]).sum()


@pytest.mark.parametrize(("step_size", "adjustment"), [(0.5, 0.0), (0.01, 3.0), (2.0, 1.0)])
def test_losses_gradients_and_weights_equal_the_loop(step_size: float, adjustment: float) -> None:
    method, naive = method_of(step_size, adjustment), Naive(step_size, adjustment)
    for seed in range(6):
        logits, target, bias = batch(seed, size=5 + 5 * seed)
        x, y = logits.clone().requires_grad_(), logits.double().requires_grad_()
        value, expected = loss_of(method, x, target, bias), naive.loss(y, target, bias)
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
        (ours,), (theirs,) = torch.autograd.grad(value, x), torch.autograd.grad(expected, y)
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-6)
        for group, weight in naive.q.items():
            assert method.log_q[group].exp().item() == pytest.approx(weight, rel=1e-4)


def test_weights_start_equal_where_there_are_films_and_stay_zero_elsewhere() -> None:
    method = method_of()
    q = method.log_q.exp()
    assert q[0, 1] == 0
    torch.testing.assert_close(q[torch.from_numpy(COUNTS) > 0], torch.full((11,), 1 / 11))
    for seed in range(3):
        loss_of(method, *batch(seed))
    assert method.log_q.exp()[0, 1] == 0
    assert method.log_q.exp().sum().item() == pytest.approx(1)


def test_hand_value() -> None:
    """Two groups in the batch with losses log 3 and 0: their weights part by a factor 3 to the step."""
    method = method_of(step_size=2.0)
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 80.0, 0.0]])
    value = loss_of(method, logits, torch.tensor([0, 1]), torch.tensor([0, 1]))
    q = method.log_q.exp()
    assert (q[0, 0] / q[1, 1]).item() == pytest.approx(9, rel=1e-5)
    assert q[0, 0].item() == pytest.approx(9 / 19, rel=1e-5)  # ten other groups of one share each
    assert value.item() == pytest.approx(9 / 19 * math.log(3), rel=1e-5)


def test_absent_groups_keep_their_weights_but_for_the_norm() -> None:
    method = method_of(adjustment=5.0)
    loss_of(method, *batch(0))
    before = method.log_q.exp()
    logits, target, bias = torch.randn(4, 3), torch.zeros(4, dtype=torch.long), torch.zeros(4, dtype=torch.long)
    loss_of(method, logits, target, bias)
    after = method.log_q.exp()
    assert after[0, 0] > before[0, 0]
    absent = before > 0
    absent[0, 0] = False
    ratio = after[absent] / before[absent]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    assert ratio[0] < 1


def test_eval_mode_and_gradients_leave_the_weights_alone() -> None:
    method = method_of().eval()
    before = method.log_q.clone()
    loss_of(method, *batch(1))
    assert torch.equal(method.log_q, before)
    logits = batch(1)[0].requires_grad_()
    loss_of(method.train(), logits, *batch(1)[1:]).backward()
    assert not torch.equal(method.log_q, before)
    assert not method.log_q.requires_grad and logits.grad is not None and logits.grad.any()


def test_weights_survive_a_resume() -> None:
    method, again = method_of(), method_of()
    loss_of(method, *batch(2))
    again.load_state_dict(method.state_dict())
    assert torch.equal(again.log_q, method.log_q)
    torch.testing.assert_close(loss_of(again, *batch(3)), loss_of(method, *batch(3)))


def test_a_group_that_was_long_easy_can_come_back() -> None:
    """Weights below the smallest float32 would be lost for good if q itself were kept."""
    method = method_of(step_size=50.0)
    hard = (torch.tensor([[0.0, 9.0, 0.0]]), torch.tensor([0]), torch.tensor([0]))
    for _ in range(4):
        loss_of(method, *hard)
    assert method.log_q.exp()[1, 1] == 0
    for _ in range(6):
        loss_of(method, torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([1]), torch.tensor([1]))
    assert method.log_q.exp()[1, 1].item() == pytest.approx(1)


def test_the_worst_group_is_weighted_up_until_it_is_learnt() -> None:
    """A model with one free number: ERM sides with the many, Group DRO with neither."""
    target, bias = torch.tensor([0] * 9 + [1]), torch.tensor([0] * 10)
    fitted = {}
    for name in ("erm", "dro"):
        method, number = method_of(step_size=0.1), torch.zeros(1, requires_grad=True)
        for _ in range(600):
            logits = torch.cat([number, -number, number * 0 - 50]).expand(10, 3)
            loss = loss_of(method, logits, target, bias) if name == "dro" else F.cross_entropy(logits, target)
            (slope,) = torch.autograd.grad(loss, number)
            number = (number - 0.1 * slope).detach().requires_grad_()
        fitted[name] = number.item()
    assert fitted["erm"] > 0.9
    assert abs(fitted["dro"]) < 0.2


def test_order_of_the_batch_does_not_matter() -> None:
    logits, target, bias = batch(4)
    one, other, order = method_of(), method_of(), torch.argsort(bias)
    value, moved = loss_of(one, logits, target, bias), loss_of(other, logits[order], target[order], bias[order])
    torch.testing.assert_close(value, moved)
    torch.testing.assert_close(one.log_q, other.log_q)


def test_half_precision_logits_are_computed_in_float32() -> None:
    logits, target, bias = batch(5)
    assert loss_of(method_of(), logits.bfloat16(), target, bias).dtype == torch.float32
