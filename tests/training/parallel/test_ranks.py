"""What three processes exchange, with gradients and without, and that one process by itself exchanges nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from training.parallel import ranks
from training.parallel.reductions import gather_shares, sum_over_ranks

RANKS = 3


def _exchange(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    low, high = ranks.range_over_ranks(*torch.tensor([-rank, rank]))
    norm = torch.nn.BatchNorm1d(2)
    norm.running_mean += rank + 1  # type: ignore[operator]
    ranks.broadcast_buffers(norm)
    shares = torch.full((2, 2), float(rank), requires_grad=True)
    (whole,) = gather_shares(shares)
    total, ones = sum_over_ranks(shares.sum(), torch.ones(2))
    (gradient,) = torch.autograd.grad((whole * torch.arange(6.0)[:, None]).sum() + 10 * total, shares)
    with ranks.first_goes_first():
        first_was_here = Path(folder, "first").exists()
        if ranks.is_first():
            Path(folder, "first").touch()
    ranks.barrier()
    results = {
        "broadcast": [*ranks.broadcast([f"é{rank}", None, rank]), ranks.broadcast("" if rank == 0 else "other")],
        "any_rank": ranks.any_rank(rank == 2, False),
        "mean": ranks.mean_over_ranks(torch.tensor([rank, 1.0])).tolist(),
        "range": (int(low), int(high)),
        "gather": ranks.gather(torch.tensor([rank, 7])).tolist(),
        "rows": ranks.gather_rows(np.full((rank, 2), rank)).tolist(),
        "buffers": norm.running_mean.tolist(),  # type: ignore[union-attr]
        "first_was_here": first_was_here,
        "whole": whole.tolist(),
        "sums": (float(total), ones.tolist()),
        "gradient": gradient.tolist(),
    }
    torch.save(results, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each rank received."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.start_processes(_exchange, (str(folder),), nprocs=RANKS, start_method="forkserver")
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(RANKS)]


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("broadcast", ["é0", None, 0, ""]),
        ("any_rank", [True, False]),
        ("mean", [1.0, 1.0]),
        ("range", (-2, 2)),
        ("gather", [[0, 7], [1, 7], [2, 7]]),
        ("rows", [[1, 1], [2, 2], [2, 2]]),
        ("buffers", [1.0, 1.0]),
        ("whole", [[0.0, 0.0]] * 2 + [[1.0, 1.0]] * 2 + [[2.0, 2.0]] * 2),
        ("sums", (12.0, [3.0, 3.0])),
    ],
)
def test_every_rank_receives_the_same(name: str, expected: object, results: list[dict[str, Any]]) -> None:
    assert [result[name] for result in results] == [expected] * RANKS


@pytest.mark.process
def test_gradients_reach_a_ranks_own_rows_times_the_number_of_ranks(results: list[dict[str, Any]]) -> None:
    for rank, result in enumerate(results):
        assert result["gradient"] == [[3 * (place + 10)] * 2 for place in (2 * rank, 2 * rank + 1)]


@pytest.mark.process
def test_the_first_rank_goes_first(results: list[dict[str, Any]]) -> None:
    assert [result["first_was_here"] for result in results] == [False, True, True]


@pytest.mark.parametrize(
    "exchange",
    [
        ranks.broadcast,
        lambda value: gather_shares(value)[0],
        lambda value: sum_over_ranks(value)[0],
        lambda value: ranks.range_over_ranks(value, value)[1],
        ranks.mean_over_ranks,
    ],
    ids=["broadcast", "gather_shares", "sum_over_ranks", "range_over_ranks", "mean_over_ranks"],
)
def test_one_process_keeps_its_own(exchange: Callable[[torch.Tensor], torch.Tensor]) -> None:
    value = torch.randn(3, 2, requires_grad=True)
    assert exchange(value) is value


def test_one_process_waits_for_nobody() -> None:
    ranks.barrier()
    assert ranks.ranks() == 1 and ranks.is_first() and ranks.any_rank(True, False) == [True, False]
    assert ranks.gather(torch.ones(2)).tolist() == [[1, 1]] and ranks.gather_rows(np.ones(3)).tolist() == [1, 1, 1]
