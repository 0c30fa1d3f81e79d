"""What holds for every test: shapes are checked where tensors cross a function, and torch computes on one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; also for the programs that tests start

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook(
    ("datasets.cohort.augmentation", "datasets.film.preprocessing", "models", "training.methods"), "beartype.beartype"
)
torch.set_num_threads(1)  # tensors are small here: threads would only wait for each other


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests and those in a browser start processes: `-m "not process"` leaves them out too."""
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("browser"):
            item.add_marker("process")
