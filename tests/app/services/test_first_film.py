"""What the first film needs is made ready once, in the background, and whoever comes too early waits for it."""

import sys
import threading
import time

import pytest

from app.services import films, first_film


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that start the film reader, which takes a while."""
    threads: list[str] = []

    def reader() -> None:
        threads.append(threading.current_thread().name)
        time.sleep(0.3)

    monkeypatch.setattr(films, "reader", reader)
    for kept in (first_film.begin, first_film.ready):
        kept.clear()
    return threads


def test_the_page_does_not_wait_and_the_first_film_does(begun: list[str]) -> None:
    began = time.perf_counter()
    first_film.begin()
    first_film.begin()
    assert time.perf_counter() - began < 0.2
    while not begun:
        time.sleep(0.01)
    first_film.ready()
    assert begun == ["first film"], "once, in the background"
    assert time.perf_counter() - began > 0.3 and "torch" in sys.modules


def test_a_film_without_it_makes_it_ready_itself(begun: list[str]) -> None:
    first_film.ready()
    assert begun == [threading.current_thread().name]
