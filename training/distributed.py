"""The reductions that batch-level terms need across ranks, built so that DDP's mean gives the whole batch's gradient.

Each rank back-propagates into its own features alone. The sum of the ranks' parameter gradients is then the gradient of
the term on the whole batch; DDP takes their mean, so `global_batch_gradient` multiplies by the number of ranks. Values are
those of the whole batch on every rank.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """True inside an initialised process group of several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_over_ranks(local: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Sum over ranks; the gradient reaches this rank's `local` with factor 1."""
    if not is_distributed():
        return local
    total = local.detach().clone()
    dist.all_reduce(total, group=group)
    return local + (total - local).detach()


def gather_rows(local: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Rows of all ranks in rank order, which may hold different numbers of them; gradients reach this rank's rows."""
    if not is_distributed():
        return local
    ranks = dist.get_world_size(group)
    count = torch.tensor([len(local)], device=local.device)
    counts = [torch.empty_like(count) for _ in range(ranks)]
    dist.all_gather(counts, count, group=group)
    rows = [int(n) for n in counts]
    padded = local.detach().new_zeros((max(rows), *local.shape[1:]))
    padded[: len(local)] = local.detach()
    parts = [torch.empty_like(padded) for _ in range(ranks)]
    dist.all_gather(parts, padded, group=group)
    pieces = [part[:n] for part, n in zip(parts, rows, strict=True)]
    pieces[dist.get_rank(group)] = local
    return torch.cat(pieces)


def global_batch_gradient(term: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """`term` with its value unchanged and its gradient times the number of ranks, undoing DDP's mean."""
    if not is_distributed():
        return term
    ranks = dist.get_world_size(group)
    return ranks * term - (ranks - 1) * term.detach()
