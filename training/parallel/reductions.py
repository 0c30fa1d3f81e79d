"""Reductions over the ranks whose gradient, after DDP's mean, is that of the whole batch.

Each rank calls them with its share of the batch; what they return is of the whole batch, the same to the bit on every rank.
A term that each rank computes from it is then the whole batch's term, and its gradient needs no further care:

- the gradient that comes back reaches this rank's own samples, times the number of ranks. Parameters before the reduction
  get their share of the whole batch's gradient in this way, and DDP's mean over the ranks undoes the factor;
- parameters after the reduction get the whole batch's gradient on every rank, and the mean leaves it as it is.

So reduce once and compute on: a reduction of another reduction's result would lose the gradient of other ranks' samples.
A mean over samples needs none of this: the mean over ranks of their own means is the batch's, as their shares are equal.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from training.parallel.ranks import gather, rank, ranks


def sum_over_ranks(*local: Tensor) -> tuple[Tensor, ...]:
    """The sum of each tensor over the ranks; all travel as one, so they share a type, and each its shape on every rank."""
    if ranks() == 1:
        return local
    flat = torch.cat([value.detach().flatten() for value in local])
    dist.all_reduce(flat)
    sums = flat.split([value.numel() for value in local])
    return tuple(_with_gradient(total.view_as(value), value) for total, value in zip(sums, local, strict=True))


def gather_shares(*local: Tensor) -> tuple[Tensor, ...]:
    """The rows of all ranks in rank order, of each tensor; every rank holds equally many. The host waits for no device."""
    if ranks() == 1:
        return local
    return tuple(_gather_share(share) for share in local)


def _gather_share(share: Tensor) -> Tensor:
    parts = list(gather(share.detach().contiguous()))
    parts[rank()] = _with_gradient(parts[rank()], share)
    return torch.cat(parts)


def _with_gradient(value: Tensor, local: Tensor) -> Tensor:
    """`value` to the bit, with a gradient that reaches `local` times the number of ranks."""
    if not local.requires_grad:
        return value
    return value + ranks() * (local - local.detach())
