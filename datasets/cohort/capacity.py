"""Whether decoded films fit where they are to be kept, asked before the first is decoded: the system kills without a word."""

import os
import shutil
from pathlib import Path

MEMINFO, GROUP, GROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
SHARE = 0.9  # of what is free; the rest is for the network and its batches


class CapacityError(ValueError):
    """Films that do not fit; the message says how much they need and what else can be done."""


def require_memory(films: int, size: int) -> None:
    """Refuse to keep so many films of `size` x `size` floats in memory where they do not fit; raises CapacityError."""
    needed, free = films * 4 * size**2, free_memory()
    if free is not None and needed > SHARE * free:
        raise CapacityError(
            f"--cache memory: {films} films of {size} x {size} pixels take {_gigabytes(needed)}, and "
            f"{_gigabytes(free)} of memory are free: take --cache disk, which keeps them in files, or --cache none, which "
            f"decodes them at each epoch"
        )


def require_disk(films: int, size: int, folder: Path) -> None:
    """The same for files in a folder, which is there."""
    needed, free = films * 4 * size**2, shutil.disk_usage(folder).free
    if needed > free:
        raise CapacityError(
            f"--cache disk: {films} films of {size} x {size} pixels take {_gigabytes(needed)} in {folder}, and "
            f"{_gigabytes(free)} are free there: make room, or take --cache none, which decodes them at each epoch"
        )


def free_memory() -> int | None:
    """Bytes free to this machine, container or batch job (all that it has, but on Linux); None where nothing tells."""
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        free = [1024 * int(lines["MemAvailable"].split()[0])]
    except (OSError, KeyError, ValueError):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):
            return None
    try:
        name = next(line[3:] for line in GROUP.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return free[0]
    group = GROUPS / name.strip("/")
    for folder in (group, *group.parents):  # each group above has a limit of its own
        if folder.is_relative_to(GROUPS):
            left = _left_of(folder)
            free += [] if left is None else [left]
    return max(0, min(free))


def _left_of(group: Path) -> int | None:
    """Bytes below the limit of a control group; None where it has none. Files that it has read can be dropped."""
    try:
        limit, taken = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return limit - taken + int(stat["inactive_file"])
    except (OSError, ValueError, KeyError):  # "max" is no number
        return None


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
