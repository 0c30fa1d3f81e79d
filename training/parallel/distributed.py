"""The reductions that batch-level terms need across ranks, built so that DDP's mean gives the whole batch's gradient.

What they return is that of the whole batch, the same to the bit on every rank. A term that each rank computes from it is then
the whole batch's too, and its gradient needs no further care:

- the gradient that comes back reaches this rank's own samples, times the number of ranks. The parameters before the reduction
  get their share of the whole batch's gradient in this way, and DDP's mean over ranks undoes the factor;
- parameters after the reduction get the whole batch's gradient on every rank, and the mean leaves it as it is.

So reduce once and compute on: a reduction of what another one gave would lose the gradient of other ranks' samples.
A mean over samples needs none of this: the mean over ranks of their own means is the batch's, as their shares are equal.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """True inside an initialised process group of several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_over_ranks(*local: Tensor, group: dist.ProcessGroup | None = None) -> tuple[Tensor, ...]:
    """Each tensor's sum over ranks; all travel as one, so their types are the same and their shapes those of every rank."""
    if not is_distributed():
        return local
    flat = torch.cat([value.detach().flatten() for value in local])
    dist.all_reduce(flat, group=group)
    sums = flat.split([value.numel() for value in local])
    return tuple(_as_own(total.view_as(value), value, group) for total, value in zip(sums, local, strict=True))


def range_over_ranks(low: Tensor, high: Tensor, group: dist.ProcessGroup | None = None) -> tuple[Tensor, Tensor]:
    """The lowest `low` and the highest `high` of all ranks, without a gradient."""
    if not is_distributed():
        return low, high
    outer = torch.stack([-low, high]).detach()
    dist.all_reduce(outer, dist.ReduceOp.MAX, group=group)
    return -outer[0], outer[1]


def gather_shares(*local: Tensor, group: dist.ProcessGroup | None = None) -> tuple[Tensor, ...]:
    """Rows of all ranks in rank order, of each tensor; all hold equally many, as in training. No wait for the device."""
    if not is_distributed():
        return local
    return tuple(_gather(share, group) for share in local)


def gather_rows(local: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Rows of all ranks in rank order, which may hold different numbers of them; the host waits for these numbers."""
    if not is_distributed():
        return local
    (counts,) = gather_shares(torch.tensor([len(local)], device=local.device), group=group)
    rows = counts.tolist()
    padding = local.new_zeros((max(rows) - len(local), *local.shape[1:]))
    (padded,) = gather_shares(torch.cat([local, padding]), group=group)
    return torch.cat([part[:n] for part, n in zip(padded.split(max(rows)), rows, strict=True)])


def _gather(share: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    sent = share.detach().contiguous()
    parts = [torch.empty_like(sent) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, sent, group=group)
    parts[dist.get_rank(group)] = _as_own(sent, share, group)
    return torch.cat(parts)


def _as_own(value: Tensor, local: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """`value` to the bit, whose gradient reaches `local` times the number of ranks."""
    if not local.requires_grad:
        return value
    return value + dist.get_world_size(group) * (local - local.detach())
