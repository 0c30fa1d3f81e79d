"""What a decoded film is, how large one may be, and the error of a file that can't be read. Imports nothing of ours."""

import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

MAX_PIXELS = 40_000_000
"""Largest rows x columns that is decoded; the largest detectors have about 30 million. A few hundred bytes can declare
as much, so this bounds what one file may cost: about 10 bytes a pixel at the worst moment."""

MAX_BYTES = 1 << 27
"""Largest file that is read, and largest deflated data set once inflated: `MAX_PIXELS` of 16 bits fit."""

LONGEST = 10
"""Longer over shorter side of a film, at most: films of a whole spine or leg have 4. A strip made square is no chest."""


class Histogram(NamedTuple):
    """Greys of a film, and how many pixels have each.

    Attributes:
        greys: float32, in any order; every pixel of the film is one of them.
        counts: integers, of those rows and columns that `datasets.film.picture.sampled` keeps for the percentiles.
    """

    greys: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Radiograph:
    """A decoded film.

    Attributes:
        pixels: float32, rows x columns, in [0, 1], bone bright; never mirrored or rotated.
        facts: what was done to the pixels and what is known of the film; nothing that identifies a person.
        histogram: of these pixels, where the reader has them as integers: counting is several times faster than sorting.
    """

    pixels: np.ndarray
    facts: Mapping[str, object] = field(default_factory=dict)
    histogram: Histogram | None = None


class RadiographError(ValueError):
    """A file that can't be read as a film; the message says why and what would be right, and names no patient.

    Attributes:
        reason: a few fixed words for a table of what was left out: "too large", "truncated", "multi-frame", ...
    """

    def __init__(self, message: str, *, reason: str = "undecodable"):
        super().__init__(message)
        self.reason = reason


def source_bytes(source: Path | bytes) -> bytes:
    """The content of a file, bounded by `MAX_BYTES`; RadiographError where it can't be opened, is empty or too large."""
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
    """Refuse no pixels, more than `MAX_PIXELS` and strips, with a RadiographError, before anything of that size is made."""
    if rows < 1 or columns < 1:
        raise RadiographError(f"the film has {rows} rows and {columns} columns: no pixels", reason="no pixel data")
    if rows * columns > MAX_PIXELS:
        raise RadiographError(
            f"the film has {rows} x {columns} pixels, more than the {MAX_PIXELS} allowed", reason="too large"
        )
    if max(rows, columns) > LONGEST * min(rows, columns):
        raise RadiographError(
            f"the film has {rows} x {columns} pixels: a strip, one side more than {LONGEST} times the other",
            reason="strip",
        )


@contextmanager
def naming_nobody(replacement: Callable[[Exception], RadiographError]) -> Iterator[None]:
    """Replace errors whose text may quote the file, context and all; keep warnings and pydicom's log lines quiet.

    A RadiographError passes, and so does a bug: a missing module or a misspelt name, which no file can cause, however
    damaged, and whose text holds names of the code alone.

    Args:
        replacement: makes the RadiographError that stands for an error. It must not quote the error's text.
    """
    try:
        with silenced():
            yield
        return
    except RadiographError:
        raise
    except MemoryError:
        failure = RadiographError("the film doesn't fit into memory", reason="out of memory")
    except Exception as error:  # libraries raise nearly anything on a damaged file
        if _is_bug(error):
            error.__context__ = None
            raise
        failure = replacement(error)
    try:
        raise failure
    finally:
        failure.__context__ = None  # `with` still handles the original: it would stay reachable here


def _is_bug(error: Exception) -> bool:
    if isinstance(error, AttributeError):  # of a module or a class of ours: pydicom's may lack what a file lacks
        return isinstance(error.obj, ModuleType) or getattr(error.obj, "__module__", "").startswith("datasets.")
    return isinstance(error, ImportError) or (isinstance(error, NameError) and error.name is not None)


_lock, _inside, _restore = threading.Lock(), 0, ExitStack()


@contextmanager
def silenced() -> Iterator[None]:
    """No Python warning and no log line of pydicom while inside: both quote the values of tags.

    pydicom's handlers are exchanged: a new level would empty the caches of all loggers, which takes as long as a small film.
    Threads inside are counted, and the last one restores: `warnings.catch_warnings` alone, left by two threads in the order
    they came, leaves the filters of the whole process changed (and the app has threads).
    """
    global _inside
    with _lock:
        if _inside == 0:
            _restore.enter_context(warnings.catch_warnings(action="ignore"))
            logger = logging.getLogger("pydicom")
            _restore.callback(vars(logger).update, handlers=logger.handlers, propagate=logger.propagate)
            logger.handlers, logger.propagate = [logging.NullHandler()], False
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _restore.close()
