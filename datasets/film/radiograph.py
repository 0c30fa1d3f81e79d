"""What a decoded film is, how large one may be, and the error of a file that is none. Imports nothing of ours."""

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np

MAX_PIXELS = 40_000_000
"""Largest rows x columns that is decoded; the largest detectors have about 30 million. A few hundred bytes can declare
as much, so this bounds what one file may cost: about 10 bytes a pixel at the worst moment."""

MAX_BYTES = 1 << 27
"""Largest file that is read, and largest deflated data set once inflated: `MAX_PIXELS` of 16 bits fit."""


@dataclass(frozen=True)
class Radiograph:
    """A decoded film.

    Attributes:
        pixels: float32, rows x columns, in [0, 1], bone bright; never mirrored or rotated.
        facts: what was done to the pixels and what is known of the film; nothing that identifies a person.
    """

    pixels: np.ndarray
    facts: Mapping[str, object] = field(default_factory=dict)


class RadiographError(ValueError):
    """A file that can't be read as a film; the message says why and what would be right, and names no patient.

    Attributes:
        reason: a few fixed words for a table of what was left out: "too large", "truncated", "multi-frame", ...
    """

    def __init__(self, message: str, *, reason: str = "undecodable"):
        super().__init__(message)
        self.reason = reason


def source_bytes(source: Path | bytes) -> bytes:
    """The whole content of a file, bounded by `MAX_BYTES`.

    Raises:
        RadiographError: the file can't be opened, is empty or is too large.
    """
    problem = None
    if isinstance(source, Path):
        try:
            size = source.stat().st_size
            source = source.read_bytes() if size <= MAX_BYTES else b""
        except OSError as error:
            size, source, problem = 0, b"", error.strerror  # its whole text holds the path
    else:
        size = len(source)
    if problem is not None:
        raise RadiographError(f"the file can't be opened: {problem}", reason="unreadable")
    if size > MAX_BYTES:
        raise RadiographError(f"the file has {size} bytes, more than the {MAX_BYTES} allowed", reason="too large")
    if not source:
        raise RadiographError("the file is empty", reason="truncated")
    return source


def check_size(rows: int, columns: int) -> None:
    """Refuse a size before anything of that size is made.

    Raises:
        RadiographError: no pixels at all, or more than `MAX_PIXELS`.
    """
    if rows < 1 or columns < 1:
        raise RadiographError(f"the film has {rows} rows and {columns} columns: no pixels", reason="no pixel data")
    if rows * columns > MAX_PIXELS:
        raise RadiographError(
            f"the film has {rows} x {columns} pixels, more than the {MAX_PIXELS} allowed", reason="too large"
        )


class _Silence:
    """How many threads are inside `silenced`, and what the last one restores."""

    lock = threading.Lock()
    depth = 0
    restore = warnings.catch_warnings()
    handlers: ClassVar[list[logging.Handler]] = []
    propagate = True


def is_bug(error: Exception) -> bool:
    """Whether this is a fault of the program or of its installation, which no file can cause, however damaged.

    Readers turn whatever else a library raises into a RadiographError, for its text may quote the file. The texts of these
    hold names of the code alone.
    """
    if isinstance(error, ImportError):
        return True
    if isinstance(error, NameError):
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("datasets.")
    if isinstance(error, AttributeError):  # of a module or a class of ours: one of pydicom's may lack what a file lacks
        owner = error.obj if isinstance(error.obj, (type, ModuleType)) else type(error.obj)
        return isinstance(owner, ModuleType) or owner.__module__.startswith("datasets.")
    return False


@contextmanager
def silenced() -> Iterator[None]:
    """No Python warning and no log line of pydicom while inside: both quote the values of tags.

    Its handlers are exchanged: a new level would empty the caches of all loggers, which takes as long as a small film.
    Counted, because `warnings.catch_warnings` alone, left by two threads in the order they came, leaves the filters of
    the whole process changed (and the app has threads).
    """
    logger = logging.getLogger("pydicom")
    with _Silence.lock:
        if _Silence.depth == 0:
            _Silence.restore = warnings.catch_warnings()
            _Silence.restore.__enter__()
            warnings.simplefilter("ignore")
            _Silence.handlers, _Silence.propagate = logger.handlers, logger.propagate
            logger.handlers, logger.propagate = [logging.NullHandler()], False
        _Silence.depth += 1
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.depth -= 1
            if _Silence.depth == 0:
                _Silence.restore.__exit__(None, None, None)
                logger.handlers, logger.propagate = _Silence.handlers, _Silence.propagate
