"""What holds for every test: shapes are checked where tensors cross a function, and torch computes on one thread."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; also for the programs that tests start

from collections.abc import Generator

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook(
    (
        "datasets.cohort.amplitude",
        "datasets.cohort.augmentation",
        "datasets.film.preprocessing",
        "models",
        "training.methods",
    ),
    "beartype.beartype",
)
torch.set_num_threads(1)  # tensors are small here: threads would only wait for each other


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What the imports make lives to the end: the garbage collector need not go through it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests, the gate's and those in a browser count as `process`: `-m "not process"` leaves them out too."""
    for item in items:
        if any(item.get_closest_marker(name) for name in ("slow", "gate", "browser")):
            item.add_marker("process")
