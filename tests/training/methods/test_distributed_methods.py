"""Every method over several processes: gradients, weights, terms and buffers are those of one with the whole batch."""

from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import METHODS, build_method

pytestmark = pytest.mark.process

FILMS, BATCH, STEPS = 64, 24, 3
TOLERANCE = 1e-9  # relative, in float64
# Terms that are no mean over samples, hence the whole batch's on every rank. Other methods are means over samples alone.
BATCH_TERMS = {
    "end": ("r_perp", "r_par", "spread"),
    "bias_contrastive": ("contrastive",),
    "soft_contrastive": ("contrastive",),
    "fairkl": ("contrastive", "fairkl"),
    "rebias": ("hsic", "bias_hsic"),
    "hex": ("ce",),
    "group_dro": ("robust_ce",),
    "lff": (),  # its weights look at the films of all ranks, and are constants of a mean
}


@dataclass(frozen=True)
class Case:
    """What is trained, and on how many ranks; `order` sorts each batch, so that ranks hold different labels."""

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    order: str = "drawn"
    ranks: int = 2


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("end", {"form": "signed"}),
    ("end", {"pairs": "released"}),
    ("end", {"spread": 3.0}),
    ("end", {"cross_entropy": "balanced"}),
    ("end", {"warmup": 0.5, "form": "signed", "pairs": "released", "spread": 1.0}),
    ("bias_contrastive", {"cross_entropy": "balanced"}),
    ("fairkl", {"epsilon": 0.3}),
    ("group_dro", {"adjustment": 2.0, "step_size": 1.0}),
    ("learned_mixin", {"bias_pretrain": 0.5}),
    ("rebias", {"kernel": "median", "sigma": 0.5}),
]
CASES = {f"{name}, {order}": Case(name, order=order) for name, order in product(METHODS, ("drawn", "bias"))}
CASES |= {f"{name}, {' '.join(map(str, options))}": Case(name, options) for name, options in OPTIONS}
CASES["end, signed, bias"] = Case("end", {"form": "signed"}, order="bias")
CASES |= {f"{name}, 3 ranks": Case(name, order="target", ranks=3) for name in METHODS}
APART = {name: Case(name) for name in METHODS}  # each rank by itself


@dataclass
class Trained:
    """What a training left: gradients and terms of each step, and the module at its end."""

    gradients: list[dict[str, Tensor]]
    terms: list[dict[str, Tensor]]
    weights: dict[str, Tensor]
    buffers: dict[str, Tensor]


class Small(nn.Module):
    """A classifier without batch norm, whose statistics are each rank's own."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.bottleneck, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 7), nn.Linear(7, 3)

    def forward(self, image: Tensor, detached_head: bool) -> Output:
        features = self.bottleneck(self.convolution(image).relu().mean((-2, -1))).tanh()
        return Output(features, self.head(features.detach() if detached_head else features))


class Both(nn.Module):
    """Classifier and method as one module, which DDP wraps."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        entry = METHODS[case.method]
        self.classifier, self.detached_head = Small(), entry.detached_head
        setup = setup_of(rows=FILMS, steps=STEPS + 1)
        self.method = without_batch_norm(build_method(case.method, entry.parameters(**case.options), setup))

    def forward(self, batch: Sample) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = self.method(self.classifier(batch.image, self.detached_head), batch)
        return terms


def without_batch_norm(module: nn.Module) -> nn.Module:
    for name, child in list(module.named_modules()):
        if isinstance(child, nn.BatchNorm2d):
            module.set_submodule(name, nn.Identity())
    return module


def batch_of(step: int, order: str) -> Sample:
    """Films have their labels for good, and may be in a batch twice."""
    rng = torch.Generator().manual_seed(7)
    target, bias = torch.randint(3, (FILMS,), generator=rng), torch.randint(4, (FILMS,), generator=rng)
    rng.manual_seed(100 + step)
    row = torch.randint(FILMS, (BATCH,), generator=rng)
    if order != "drawn":
        row = row[torch.argsort((target if order == "target" else bias)[row])]
    image = torch.randn(BATCH, 3, 6, 6, dtype=torch.float64, generator=rng)
    image = image * (1 + 0.3 * bias[row].view(-1, 1, 1, 1)) + 0.5 * target[row].view(-1, 1, 1, 1)
    return Sample(image, target[row], bias[row], row)


def train(case: Case, rank: int | None = None) -> Trained:
    """Several steps of SGD; with a rank on its share of each batch, within DDP."""
    torch.manual_seed(0)
    both = Both(case).double().train()
    # Buffers are not broadcast: they must come out alike by themselves.
    module = both if rank is None else DistributedDataParallel(both, broadcast_buffers=False)
    optimiser = SGD(both.parameters(), lr=0.05, momentum=0.9)
    gradients, every = [], []
    for step in range(STEPS):
        batch = batch_of(step, case.order)
        if rank is not None:
            batch = Sample(*(value.chunk(case.ranks)[rank] for value in batch))
        terms = module(batch)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        gradients.append({n: p.grad.clone() for n, p in both.named_parameters() if p.grad is not None})
        every.append({name: value.detach() for name, value in terms.items()})
    weights = {name: weight.detach() for name, weight in both.named_parameters()}
    return Trained(gradients, every, weights, dict(both.named_buffers()))


def _rank(rank: int, folder: str) -> None:
    """All cases of two ranks, then, in another group, those of three; the third rank waits for these."""
    torch.set_num_threads(1)
    trained: dict[str, Trained] = {}
    for ranks in (2, 3):
        if rank >= ranks:
            continue
        dist.init_process_group("gloo", init_method=f"file://{folder}/store{ranks}", rank=rank, world_size=ranks)
        trained |= {name: train(case, rank) for name, case in CASES.items() if case.ranks == ranks}
        if ranks == 2:
            with (
                mock.patch("training.parallel.reductions.ranks", return_value=1),
                mock.patch("training.parallel.ranks.ranks", return_value=1),
            ):
                trained |= {name: train(case, rank) for name, case in APART.items()}
        dist.destroy_process_group()
    torch.save({name: vars(value) for name, value in trained.items()}, f"{folder}/rank{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each rank trained, by case; the processes are started once."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.start_processes(_rank, (str(folder),), nprocs=3, start_method="forkserver")
    return [torch.load(Path(folder, f"rank{rank}.pt")) for rank in range(3)]


def trained_by(ranks: list[dict[str, Any]], name: str) -> list[Trained]:
    return [Trained(**cases[name]) for cases in ranks if name in cases]


@cache
def alone(method: str, options: tuple[tuple[str, Any], ...], order: str) -> Trained:
    return train(Case(method, dict(options), order))


def one_process(case: Case) -> Trained:
    return alone(case.method, tuple(case.options.items()), case.order)


def error(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Largest difference of a tensor's numbers, relative to its largest, or to a millionth of the largest of all."""
    assert actual.keys() == expected.keys()
    largest = {name: value.abs().max().item() for name, value in expected.items()}
    floor = 1e-6 * max(largest.values())
    assert floor > 0
    return max((actual[n] - expected[n]).abs().max().item() / max(largest[n], floor) for n in expected)


@pytest.mark.trains
@pytest.mark.parametrize("name", CASES)
def test_gradients_and_weights_are_those_of_the_whole_batch(name: str, ranks: list[dict[str, Any]]) -> None:
    expected, shares = one_process(CASES[name]), trained_by(ranks, name)
    assert len(shares) == CASES[name].ranks
    for rank in shares:
        for mine, whole in zip(rank.gradients, expected.gradients, strict=True):
            assert error(mine, whole) < TOLERANCE
        assert error(rank.weights, expected.weights) < TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_terms_are_those_of_the_whole_batch(name: str, ranks: list[dict[str, Any]]) -> None:
    expected, shares = one_process(CASES[name]), trained_by(ranks, name)
    for step, terms in enumerate(expected.terms):
        for term, value in terms.items():
            assert value.dtype == torch.float64
            each = torch.stack([rank.terms[step][term] for rank in shares])
            torch.testing.assert_close(each.mean(), value, rtol=TOLERANCE, atol=1e-12)
            if term in BATCH_TERMS.get(CASES[name].method, ()):
                torch.testing.assert_close(each, value.expand_as(each), rtol=TOLERANCE, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_buffers_are_those_of_one_process_and_the_same_on_every_rank(name: str, ranks: list[dict[str, Any]]) -> None:
    expected, shares = one_process(CASES[name]), trained_by(ranks, name)
    for buffer, value in expected.buffers.items():
        for rank in shares:
            assert torch.equal(rank.buffers[buffer], shares[0].buffers[buffer]), buffer
            torch.testing.assert_close(rank.buffers[buffer], value, rtol=TOLERANCE, atol=1e-12)


@pytest.mark.parametrize(("method", "buffer"), [("group_dro", "log_q"), ("lff", "losses"), ("learned_mixin", "steps")])
def test_these_buffers_move_at_all(method: str, buffer: str) -> None:
    name = f"method.{buffer}"
    assert not torch.equal(one_process(Case(method)).buffers[name], Both(Case(method)).double().get_buffer(name))


@pytest.mark.parametrize("method", METHODS)
def test_ranks_by_themselves_train_otherwise_where_a_term_is_of_the_batch(
    method: str, ranks: list[dict[str, Any]]
) -> None:
    """Lest the tests above pass whatever a method does. Means over samples are exact without care."""
    apart, expected = trained_by(ranks, method)[0], one_process(Case(method))
    worst = max(error(mine, whole) for mine, whole in zip(apart.gradients, expected.gradients, strict=True))
    assert worst > 0.005 if method in BATCH_TERMS else worst < TOLERANCE
