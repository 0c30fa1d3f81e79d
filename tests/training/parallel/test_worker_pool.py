import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.parallel.worker_pool import Lost, WorkerPool

pytestmark = pytest.mark.process

SECRET = "DOE^JANE"


def act(item: object) -> object:
    """What an item asks for."""
    if not isinstance(item, tuple):
        return item
    name, *rest = item
    if name == "exit":
        os._exit(rest[0])
    if name == "signal":
        os.kill(os.getpid(), rest[0])
    if name == "sleep":
        time.sleep(rest[0])
    if name == "memory":
        raise MemoryError(SECRET)
    if name == "raise":
        raise ValueError(SECRET)
    if name == "unpicklable":
        return lambda: None
    if name == "once":  # dies the first time
        marker = Path(rest[0])
        with marker.open("a") as file:
            file.write("x")
        if len(marker.read_text()) < rest[1]:
            os._exit(7)
    if name == "slow once":
        marker = Path(rest[0])
        if not marker.exists():
            marker.touch()
            time.sleep(10_000)
    if name == "pid":
        time.sleep(0.05)
        return os.getpid()
    if name == "print":
        print(SECRET)
        os.write(2, SECRET.encode())
    return name


@pytest.fixture
def pool() -> Iterator[WorkerPool[object, object]]:
    with WorkerPool(act, 2, 2.0) as pool:
        yield pool


def gone(pids: list[int], seconds: float) -> bool:
    """Whether all processes end within a time; those dead but not yet waited for have ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_order_and_values_are_those_of_a_loop(pool: WorkerPool[object, object]) -> None:
    items = [("sleep", 0.3), *range(60), ("sleep", 0.1), "text", *range(20)]
    assert list(pool.results(items)) == [act(item) for item in items]
    assert list(pool.results(items[:3])) == [act(item) for item in items[:3]]  # and again


def test_work_is_shared(pool: WorkerPool[object, object]) -> None:
    assert len(set(pool.results([("pid",)] * 20))) == 2


def test_a_lost_task_costs_its_own_row(pool: WorkerPool[object, object], capfd: pytest.CaptureFixture[str]) -> None:
    bad: list[tuple[tuple[object, ...], object]] = [
        (("exit", 0), Lost("crashed", "exit 0")),
        (("exit", 3), Lost("crashed", "exit 3")),
        (("signal", signal.SIGSEGV), Lost("crashed", "SIGSEGV")),
        (("signal", signal.SIGKILL), Lost("crashed", "SIGKILL")),
        (("signal", 40), Lost("crashed", "signal 40")),
        (("sleep", 10_000), Lost("timed out", "2 s")),
        (("memory",), Lost("out of memory", "")),
        (("raise",), Lost("failed", "ValueError")),
        (("print",), "print"),
    ]
    items: list[object] = []
    for number, (item, _) in enumerate(bad):
        items += [number, item]
    results = list(pool.results([*items, 99]))
    assert results[1::2] == [result for _, result in bad]
    assert results[::2] == [*range(len(bad)), 99]
    assert SECRET not in repr(results)
    assert SECRET not in "".join(capfd.readouterr())


def test_result_that_cannot_be_sent(pool: WorkerPool[object, object]) -> None:
    first, second = pool.results([("unpicklable",), 5])
    assert isinstance(first, Lost)
    assert first.how == "failed"
    assert second == 5


def test_a_crash_is_tried_twice(pool: WorkerPool[object, object], tmp_path: Path) -> None:
    once, always = tmp_path / "once", tmp_path / "always"
    results = list(pool.results([("once", str(once), 2), ("once", str(always), 99), 1]))
    assert results == ["once", Lost("crashed", "exit 7"), 1]
    assert (once.read_text(), always.read_text()) == ("xx", "xx")


def test_a_task_that_timed_out_is_tried_twice(pool: WorkerPool[object, object], tmp_path: Path) -> None:
    assert list(pool.results([1, ("slow once", str(tmp_path / "marker")), 2])) == [1, "slow once", 2]


def test_imports_of_a_new_process_are_not_the_time_of_its_task(tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(1.5)\ndef task(item): return item\n")
    (tmp_path / "parent.py").write_text(
        textwrap.dedent(
            """
            from operator import neg
            from training.parallel.worker_pool import WorkerPool
            if __name__ == "__main__":
                with WorkerPool(neg, 1) as pool:  # the fork server runs: what is named to it now is not preloaded
                    list(pool.results([1]))
                from slow_to_import import task
                with WorkerPool(task, 1, 0.5) as pool:
                    print(list(pool.results([7, 8])))
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, tmp_path / "parent.py"], capture_output=True, text=True, env=environment)
    assert done.stdout == "[7, 8]\n", done.stderr


def test_early_stop_leaves_no_process() -> None:
    before = set(multiprocessing.active_children())  # of other tests
    with WorkerPool(act, 2, 60.0) as pool:
        for _ in pool.results([1, 2, ("sleep", 1000), ("sleep", 1000), *range(100)]):
            break
        assert list(pool.results([7, 8])) == [7, 8]  # no answer of the abandoned ones
        pids = [worker.process.pid for worker in pool._workers]
    assert gone([pid for pid in pids if pid], 5)
    assert set(multiprocessing.active_children()) <= before


def test_closing_under_way_leaves_no_process() -> None:
    before = set(multiprocessing.active_children())  # of other tests
    with WorkerPool(act, 2, 60.0) as pool:
        results = pool.results([1, *[("sleep", 1000)] * 4])
        assert next(results) == 1
    time.sleep(1)  # a supervisor that goes on would have replaced them by now
    assert set(multiprocessing.active_children()) <= before
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [ValueError, KeyError, SystemExit])
def test_error_of_the_items_reaches_the_consumer(error: type[BaseException], pool: WorkerPool[object, object]) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise error("no more")

    with pytest.raises(error, match="no more"):
        list(pool.results(items()))
    assert list(pool.results([1])) == [1]


def test_item_that_cannot_be_sent_reaches_the_consumer(pool: WorkerPool[object, object]) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        list(pool.results([1, lambda: None]))
    assert list(pool.results([1])) == [1]


def test_few_items_and_none() -> None:
    with WorkerPool(act, 4, 5.0) as pool:
        assert list(pool.results([1])) == [1]
        assert list(pool.results([])) == []


def test_items_are_taken_as_they_are_needed(pool: WorkerPool[object, object]) -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield number

    results = pool.results(items())
    next(results)
    time.sleep(0.5)
    assert len(taken) < 60


@pytest.mark.parametrize("busy", ["time.sleep(1000)", "while True: pass", "re.match('(a+)+b', 'a' * 60)"])
def test_workers_end_with_their_parent(busy: str, tmp_path: Path) -> None:
    """Stuck in Python, or in C with the interpreter's lock held."""
    (tmp_path / "stuck.py").write_text(
        textwrap.dedent(
            f"""
            import re, time
            def task(item):
                {busy}
            """
        )
    )
    (tmp_path / "parent.py").write_text(
        textwrap.dedent(
            """
            import time
            from training.parallel.worker_pool import WorkerPool
            from stuck import task
            if __name__ == "__main__":
                with WorkerPool(task, 2, 1000.0) as pool:
                    results = pool.results([1, 2])
                    import threading
                    threading.Thread(target=lambda: list(results), daemon=True).start()
                    time.sleep(1.5)
                    print(*[worker.process.pid for worker in pool._workers], flush=True)
                    time.sleep(1000)
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    with parent.stdout:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        parent.kill()
        parent.wait()
        ended = gone(pids, 5)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert ended


class _EndError(ValueError):
    """After it no task can succeed."""


def end(item: object) -> object:
    if item == "end":
        raise _EndError("what the caller says")
    time.sleep(0.01)
    return item


def test_an_exception_that_ends_all_is_raised_where_the_results_are_taken() -> None:
    with WorkerPool(end, 2, 60.0, ending=(_EndError,)) as pool:
        taken = []
        with pytest.raises(_EndError, match="what the caller says"):
            for result in pool.results([1, 2, "end", *range(1000)]):
                taken.append(result)
        assert taken == [1, 2]
        assert list(pool.results([3])) == [3], "the pool is still there"
