"""What holds for every test: shapes are checked where tensors cross a function, and torch computes on one thread."""

import atexit
import gc
import multiprocessing
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; also for the programs that tests start

from collections.abc import Generator
from multiprocessing import forkserver
from shutil import rmtree
from tempfile import mkdtemp

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
DRAWN = "END_CXR_DRAWN_FILMS"  # folder of tests/drawn_once.py
if DRAWN not in os.environ:  # workers of xdist have it from the process that starts them
    os.environ[DRAWN] = mkdtemp()
    atexit.register(rmtree, os.environ[DRAWN])
torch.set_num_threads(1)  # tensors are small here: threads would only wait for each other

IMPORTED_ONCE = (
    "training.loop.twin",
    "training.evaluate.evaluation",
    "training.folder.evaluation",
    "tests.drawn_once",
    "pytest",
)


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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Processes are forked from one server that has all imports, whichever test starts the first of them."""
    if item.get_closest_marker("process") or item.get_closest_marker("trains"):
        multiprocessing.set_forkserver_preload([*IMPORTED_ONCE])
        forkserver.ensure_running()


@pytest.fixture(scope="session", autouse=True)
def phantoms_are_drawn_once() -> None:
    import tests.drawn_once  # noqa: F401  # takes effect by being imported
