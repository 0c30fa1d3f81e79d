"""One training over several processes: which of them this one is, and what they tell each other.

`torchrun --nproc-per-node N -m training.train ...` starts N processes, here called ranks, that hold a share of each batch.
All read the same films and settings; the first alone writes and prints. Without torchrun there is one rank and nothing waits.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

# What the others wait for at most: the first rank's decoding of a disk cache, or its last measurements.
LONGEST_WAIT = timedelta(hours=2)


class LostProcessError(ValueError):
    """A training of several processes that lost one; the message says how to go on."""


@contextmanager
def process_group() -> Iterator[None]:
    """Join the ranks that torchrun started, if it did, and leave them at the end.

    Tensors on the CPU travel by gloo, those on CUDA devices by NCCL.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=LONGEST_WAIT)
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            reason = str(error).strip().splitlines()[0]
            raise LostProcessError(
                f"another process of this training has ended, or can't be reached ({reason}); the last saved state stays: "
                "give the same command with --resume auto"
            ) from None
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def ranks() -> int:
    """Number of processes of this training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return rank() == 0


def local_rank() -> int:
    """Which of the processes on this machine this is: the number of its CUDA device."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def first_goes_first() -> Iterator[None]:
    """The first rank runs the block while the others wait, then they do: what it leaves on disk is there for them."""
    if not is_first():
        dist.barrier()
    try:
        yield
    finally:
        if is_first() and ranks() > 1:
            dist.barrier()


def told_by_first(text: str) -> str:
    """The first rank's text, on every rank."""
    if ranks() == 1:
        return text
    data = torch.tensor(list(text.encode()), dtype=torch.uint8)
    size = torch.tensor([len(data)])
    dist.broadcast(size, 0)
    data = data if is_first() else torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(data, 0)
    return bytes(data.tolist()).decode()


def any_rank(*flags: bool) -> list[bool]:
    """Each flag, whether it is set on some rank."""
    if ranks() == 1:
        return list(flags)
    told = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return [bool(value) for value in told]


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of a tensor of one shape over the ranks."""
    if ranks() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / ranks()


def stacked(value: Tensor) -> Tensor:
    """Every rank's tensor of one shape and kind, with a leading axis of ranks."""
    if ranks() == 1:
        return value[None]
    parts = [torch.empty_like(value) for _ in range(ranks())]
    dist.all_gather(parts, value)
    return torch.stack(parts)


def joined(rows: np.ndarray) -> np.ndarray:
    """Every rank's rows, of which each may have another number, in rank order."""
    if ranks() == 1:
        return rows
    local = torch.from_numpy(np.ascontiguousarray(rows))
    counts = stacked(torch.tensor(len(local))).tolist()
    padded = local.new_zeros((max(counts), *local.shape[1:]))
    padded[: len(local)] = local
    return np.concatenate([part[:count].numpy() for part, count in zip(stacked(padded), counts, strict=True)])


def take_over_buffers(module: nn.Module) -> None:
    """Give every rank the first one's buffers: statistics of batch norm, which each takes from its own films."""
    if ranks() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)
