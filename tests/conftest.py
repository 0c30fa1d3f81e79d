"""What holds for every test: shapes are checked where tensors cross a function, and torch computes on one thread."""

import gc
import multiprocessing
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; also for the programs that tests start

from collections.abc import Callable, Generator, Iterator, Mapping
from functools import lru_cache
from multiprocessing import forkserver

import numpy as np
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

IMPORTED_ONCE = ("training.loop.twin", "training.evaluate.evaluation", "training.folder.evaluation", "pytest")


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
def each_phantom_is_drawn_once() -> Iterator[Callable[..., object]]:
    """Most trainings read the same few hundred films, and drawing them is most of what they do. Yields what draws anew."""
    from datasets.film.radiograph import Radiograph
    from datasets.phantom.cohort import PhantomFilms

    def same(films: PhantomFilms, position: int) -> Radiograph:
        pixels, facts = drawn(films.seed, films.rows[position], films.labels[position], films.hospitals[position])
        return Radiograph(pixels.copy(), dict(facts))

    @lru_cache(2048)  # of 64 KiB
    def drawn(seed: int, row: int, label: str, hospital: str) -> tuple[np.ndarray, Mapping[str, object]]:
        film = read(PhantomFilms(seed, [row], [label], [hospital]), 0)
        return film.pixels, film.facts

    read = PhantomFilms.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PhantomFilms, "read", same)
        yield read
