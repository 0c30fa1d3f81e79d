"""Where a training or a scoring runs."""

import torch

from training.parallel.ranks import local_rank, ranks


class TrainingError(ValueError):
    """Training that can't begin or go on; the message says why and what to change."""


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, under torchrun that of this process; raises TrainingError for a missing device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in ("cpu", "cuda") or (name != "cpu" and not torch.cuda.is_available()):
        raise TrainingError(
            f"--device {name}: there is no such device here; auto takes CUDA where there is one, else cpu"
        )
    if name == "cuda" and ranks() > 1:
        if local_rank() >= torch.cuda.device_count():
            raise TrainingError(
                f"torchrun started more processes than this machine's {torch.cuda.device_count()} CUDA devices: give "
                "as many to --nproc-per-node"
            )
        torch.cuda.set_device(local_rank())
        name = f"cuda:{local_rank()}"
    return torch.device(name)
