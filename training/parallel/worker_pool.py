"""A pool of processes in which a task that crashes, stalls or leaks costs its own result and nothing else.

Codecs are C, C++ and Rust: a damaged file can end the process that decodes it or keep it busy for ever. The pools of the
standard library and of torch then lose all tasks that were running; here each process has one task at a time and a deadline,
and a dead process is replaced. The deadline counts from when the process is ready: what it imports is no task's time.
"""

import contextlib
import fcntl
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from training.parallel.memory import keep_freed_memory

START_LIMIT = 120.0  # seconds for the imports of a process, on a busy machine

Item = TypeVar("Item")
Result = TypeVar("Result")


class Lost(NamedTuple):
    """Stands in for the result of a task that failed.

    Attributes:
        how: `crashed` or `timed out` (both twice), `out of memory`, or `failed` (any other exception).
        detail: the signal or the exception's class; never its text, which may quote what was read.
    """

    how: Literal["crashed", "timed out", "out of memory", "failed"]
    detail: str


class WorkerPool(Generic[Item, Result]):
    """Processes that apply one function to items, results in the order of the items.

    Args:
        task: applied to each item in another process, so it must be picklable.
        time_limit: seconds for one item in a process that is ready, after which the process is killed.
        ahead: how many results may wait to be taken, 8 a process by default; more keep the processes busy but need memory.
        ending: exceptions of a task, picklable, after which no other can succeed: `results` raises them.
    """

    def __init__(
        self,
        task: Callable[[Item], Result],
        workers: int,
        time_limit: float = 60,
        ahead: int | None = None,
        ending: tuple[type[Exception], ...] = (),
    ) -> None:
        self.task, self.time_limit = task, time_limit
        self.ahead = ahead or 8 * workers
        # Forked from a server without threads that has imported the task's module: a new process starts in milliseconds.
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([task.__module__])  # a class's instance has the class's
        self._workers = [_Worker(self._context, task, ending) for _ in range(workers)]
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> "WorkerPool[Item, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        self._stop()  # the supervisor first: it would replace the processes that end
        for worker in self._workers:
            worker.kill()

    def results(self, items: Iterable[Item]) -> Iterator[Result | Lost]:
        """One result for each item, in their order; the next ones are computed while one is being used."""
        outcomes: queue.Queue[Any] = queue.Queue(self.ahead)
        stopped = threading.Event()
        thread = threading.Thread(target=self._supervise, args=(iter(items), outcomes, stopped), daemon=True)

        def stop() -> None:
            stopped.set()
            thread.join()

        thread.start()
        self._stop = stop
        try:
            while (entry := outcomes.get()) is not _END:
                if isinstance(entry, _Failure):
                    raise entry.error
                yield entry
        finally:
            stop()

    def _supervise(self, items: Iterator[Item], outcomes: "queue.Queue[Any]", stopped: threading.Event) -> None:
        """Hand out items, collect results, replace dead processes; in a thread, so that it goes on while a result is used."""

        def put(entry: Any) -> None:
            while not stopped.is_set():
                with contextlib.suppress(queue.Full):
                    outcomes.put(entry, timeout=0.2)
                    return

        finished: dict[int, Any] = {}
        sent = taken = 0
        more = True
        try:
            while not stopped.is_set():
                for worker in self._workers:
                    if more and worker.idle and sent - taken < self.ahead:
                        try:
                            item = next(items)
                        except StopIteration:
                            more = False
                            break
                        worker.give(sent, item)
                        sent += 1
                if not more and sent == taken:
                    return
                for position, result in self._collect():
                    finished[position] = result
                while taken in finished:
                    put(finished.pop(taken))
                    taken += 1
        except BaseException as error:  # raised by the items: passed on to whoever takes the results
            put(_Failure(error))
        finally:
            for place, worker in enumerate(self._workers):
                if not worker.idle:  # still busy: its result must not reach the next call
                    self._workers[place] = worker.replaced()
            put(_END)

    def _collect(self) -> Iterator[tuple[int, Any]]:
        """The results that have arrived, waiting for the first at most until the next deadline."""
        busy = [(place, worker) for place, worker in enumerate(self._workers) if not worker.idle]
        if not busy:
            return
        seconds = min(worker.deadline(self.time_limit) for _, worker in busy) - time.monotonic()
        ready = wait([worker.connection for _, worker in busy], min(max(seconds, 0), 0.5))
        now = time.monotonic()
        for place, worker in busy:
            if worker.connection in ready:
                try:
                    result = worker.connection.recv()
                except (EOFError, OSError):
                    lost = Lost("crashed", self._replace(place).cause)
                else:
                    if isinstance(result, _Ready):
                        worker.ready_since(now)
                    else:
                        worker.idle = True
                        yield worker.position, result
                    continue
            elif now > worker.deadline(self.time_limit):
                lost = Lost("timed out", f"{self.time_limit:g} s")
                self._replace(place)
            else:
                continue
            if worker.attempt == 1:  # perhaps the machine was short of memory, or busy: once more, in a fresh process
                self._workers[place].give(worker.position, worker.item, attempt=2)
            else:
                yield worker.position, lost

    def _replace(self, place: int) -> "_Worker":
        """A fresh process in the place of one that is ended; the old one."""
        worker = self._workers[place]
        self._workers[place] = worker.replaced()
        return worker


class _Worker:
    """One process, the item it works on, and since when."""

    def __init__(self, context: Any, task: Callable[[Any], Any], ending: tuple[type[Exception], ...]) -> None:
        self.context, self.task, self.ending = context, task, ending
        self.connection, child_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(child_end, task, ending), daemon=True)
        self.process.start()
        child_end.close()  # so that the end of the process is the end of the pipe
        self.idle, self.position, self.item, self.attempt = True, -1, None, 1
        self.ready, self.since = False, time.monotonic()

    def give(self, position: int, item: Any, attempt: int = 1) -> None:
        self.idle, self.position, self.item, self.attempt = False, position, item, attempt
        self.since = time.monotonic()
        with contextlib.suppress(OSError):  # dead already: noticed when its result is collected
            self.connection.send(item)

    def ready_since(self, now: float) -> None:
        """The process has imported what it needs: the item's time begins."""
        self.ready, self.since = True, now

    def deadline(self, time_limit: float) -> float:
        """When the process is given up."""
        return self.since + (time_limit if self.ready else max(time_limit, START_LIMIT))

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    def replaced(self) -> "_Worker":
        self.kill()
        return _Worker(self.context, self.task, self.ending)

    @property
    def cause(self) -> str:
        """Why a dead process ended."""
        code = self.process.exitcode or 0
        names = {number.value: number.name for number in signal.Signals}
        return names.get(-code, f"signal {-code}") if code < 0 else f"exit {code}"


class _Failure(NamedTuple):
    error: BaseException


class _Ready(NamedTuple):
    """What a process sends before its first result, once it has imported the task's module."""


_END = object()


def _serve(connection: Connection, task: Callable[[Any], Any], ending: tuple[type[Exception], ...]) -> None:
    """The process: one task after the other, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    if not _end_with_parent():
        return
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):  # codecs write messages there from C, which may quote the file
        if stream is not None:
            os.dup2(null, stream.fileno())
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    keep_freed_memory(32 << 20, 64 << 20)  # a film's worth in each of many processes
    with contextlib.suppress(OSError):
        connection.send(_Ready())
    while True:
        try:
            item = connection.recv()
        except (EOFError, OSError):
            return
        try:
            result = task(item)
        except MemoryError:
            result = Lost("out of memory", "")
        except ending as error:
            result = _Failure(error)
        except Exception as error:
            result = Lost("failed", type(error).__name__)
        try:
            connection.send(result)
        except OSError:
            return
        except Exception as error:  # a result that can't be pickled
            connection.send(Lost("failed", type(error).__name__))


def _end_with_parent() -> bool:
    """Have the kernel end this process when the parent dies, even inside a codec; False if the parent is dead already.

    The parent holds the other end of a pipe and never writes, so that SIGIO, which ends a process, comes when it closes.
    """
    parent = parent_process()
    if parent is not None:
        pipe = parent.sentinel
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
        return not wait([pipe], 0)
    return True
