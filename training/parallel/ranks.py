"""The processes of one training: which of them this one is, and small exchanges between them, without gradients.

`torchrun --nproc-per-node N -m training.train ...` starts N processes, here called ranks, that hold a share of each batch.
All read the same films and settings; the first alone writes and prints. Without torchrun there is one rank and nothing waits.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

Value = TypeVar("Value")

# The others wait at most this long, while the first rank fills a disk cache or measures the trained model.
LONGEST_WAIT = timedelta(hours=2)


class LostProcessError(ValueError):
    """A training of several processes that lost one; the message says how to go on."""


@contextmanager
def process_group() -> Iterator[None]:
    """Join the ranks that torchrun started, if it did, and leave them at the end.

    Tensors on the CPU travel by gloo, those on CUDA devices by NCCL.

    Raises:
        LostProcessError: another process has ended or can't be reached.
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
    """Number of this process, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return rank() == 0


def local_rank() -> int:
    """Number of this process among those on this machine, which is also that of its CUDA device."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def barrier() -> None:
    """Wait until every rank is here."""
    any_rank(False)  # not dist.barrier, which would take NCCL and a CUDA device even for a training on the CPU


@contextmanager
def first_goes_first() -> Iterator[None]:
    """The first rank runs the block while the others wait, then they run it: they find on disk what it has written."""
    if not is_first():
        barrier()
    try:
        yield
    finally:
        if is_first():
            barrier()


def broadcast(value: Value) -> Value:
    """The first rank's value on every rank; it travels as JSON, so that a tuple arrives as a list."""
    if ranks() == 1:
        return value
    text = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)
    size = torch.tensor([len(text)])
    dist.broadcast(size, 0)
    text = text if is_first() else torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(text, 0)
    received: Value = json.loads(bytes(text.tolist()))
    return received


def broadcast_buffers(module: nn.Module) -> None:
    """Give every rank the first one's buffers: each has other statistics of batch norm, from its own films."""
    if ranks() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def any_rank(*flags: bool) -> list[bool]:
    """For each flag, whether it is set on some rank."""
    if ranks() == 1:
        return list(flags)
    highest = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(highest, dist.ReduceOp.MAX)
    return [bool(value) for value in highest]


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean over the ranks of a tensor that has one shape on all."""
    if ranks() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / ranks()


def range_over_ranks(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest `low` and the highest `high` of all ranks."""
    if ranks() == 1:
        return low, high
    outer = torch.stack([-low, high]).detach()
    dist.all_reduce(outer, dist.ReduceOp.MAX)
    return -outer[0], outer[1]


def gather(value: Tensor) -> Tensor:
    """The tensors of all ranks, which have one shape and type, with a leading axis of ranks."""
    if ranks() == 1:
        return value[None]
    parts = [torch.empty_like(value) for _ in range(ranks())]
    dist.all_gather(parts, value)
    return torch.stack(parts)


def gather_rows(rows: np.ndarray) -> np.ndarray:
    """The rows of all ranks in rank order; each may have another number of them."""
    if ranks() == 1:
        return rows
    local = torch.from_numpy(np.ascontiguousarray(rows))
    counts = gather(torch.tensor(len(local))).tolist()
    padded = local.new_zeros((max(counts), *local.shape[1:]))
    padded[: len(local)] = local
    return np.concatenate([part[:count].numpy() for part, count in zip(gather(padded), counts, strict=True)])
