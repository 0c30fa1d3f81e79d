"""Freed memory is kept: the next tensor of its size costs no page fault."""

import resource
import sys
from multiprocessing import get_context

import numpy as np
import pytest

from training.parallel.memory import keep_freed_memory

PIECE = 8 << 20  # float64 numbers: twice what glibc keeps by itself at most


def faults(kept: bool) -> int:
    """Page faults of five arrays, one after the other, the first not counted."""
    if kept:
        keep_freed_memory()
    np.ones(PIECE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(PIECE)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.process
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_memory_is_asked_for_once() -> None:
    with get_context("forkserver").Pool(1, maxtasksperchild=1) as pool:
        plain, kept = pool.map(faults, [False, True], chunksize=1)
    assert kept < plain / 10


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("training.parallel.memory.ctypes.CDLL", missing)
    keep_freed_memory()
