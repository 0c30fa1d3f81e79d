"""Films decoded once and kept as one tensor, in memory or mapped from files on disk.

On disk each preprocessing has two files of bare bytes, with nothing in them to execute, for the folder may lie on a disk
that others can write to. `<hash>.pixels` holds films x 1 x size x size float32, `<hash>.films` the SHA-256 of each film's
fingerprint in the same order. Rows are added and never changed, so other runs may read meanwhile. A row counts once its
pixels are flushed to disk and its hash is written: what a killed run left unfinished is decoded again.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from datasets.cohort.capacity import require_disk, require_memory
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph, RadiographError

DECODERS = min(8, os.cpu_count() or 1)  # threads: Pillow, the codecs and torch work outside Python's lock
TOGETHER = 256  # films handed to the threads, or flushed to disk, at a time: so much work an interrupted run loses
HASH_BYTES = 32


class FilmReader(Protocol):
    """Where a cohort's films come from, by position in its table."""

    def read(self, position: int) -> Radiograph:
        """Decode one film; raises RadiographError with the reason."""

    def fingerprint(self, position: int) -> str:
        """Text that changes when the film does; a disk cache knows the film by its hash."""

    def not_understood(self) -> dict[str, int]:
        """Texts of tags that no word fits, with their number, in the films read so far."""


class FilmSubset:
    """Some of the films, addressed anew from 0."""

    def __init__(self, films: FilmReader, kept: list[int]) -> None:
        self.films, self.kept = films, kept

    def read(self, position: int) -> Radiograph:
        """Decode one film."""
        return self.films.read(self.kept[position])

    def fingerprint(self, position: int) -> str:
        """Text that changes when the film does."""
        return self.films.fingerprint(self.kept[position])

    def not_understood(self) -> dict[str, int]:
        """Of all films, also those that aren't kept."""
        return self.films.not_understood()


class Decoded(NamedTuple):
    """Films that were decoded.

    Attributes:
        images: rows x 1 x size x size, float32 in [0, 1].
        places: int64, the row of `images` that each film has; without meaning for an unreadable one.
        unreadable: why films can't be decoded, by position.
    """

    images: Tensor
    places: Tensor
    unreadable: dict[int, str]


def in_memory(films: FilmReader, preprocessing: Preprocessing, count: int) -> Decoded:
    """Decode `count` films; raises CapacityError where they are more than memory has room for."""
    require_memory(count, preprocessing.size)
    images = torch.empty(count, 1, preprocessing.size, preprocessing.size)
    unreadable = {}
    for position, pixels in _decode(films, preprocessing, range(count)):
        if isinstance(pixels, RadiographError):
            unreadable[position] = str(pixels)
        else:
            images[position] = pixels
    return Decoded(images, torch.arange(count), unreadable)


def on_disk(films: FilmReader, preprocessing: Preprocessing, count: int, folder: Path) -> Decoded:
    """Decode those of `count` films that `folder` lacks; another process that does so at the same time is waited for.

    Raises:
        CapacityError: they are more than its disk has room for.
        OSError: the folder can't be written, or its file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, size = hashlib.sha256(str(preprocessing).encode()).hexdigest(), preprocessing.size
    hashes = [hashlib.sha256(films.fingerprint(position).encode()).digest() for position in range(count)]
    unreadable = {}
    with (folder / f"{name}.films").open("a+b") as index, (folder / f"{name}.pixels").open("a+b") as file:
        _lock(index)
        rows = _whole_rows(index, file, 4 * size**2)
        missing = {digest: position for position, digest in enumerate(hashes) if digest not in rows}
        require_disk(len(missing), size, folder)
        pending: list[bytes] = []
        for position, pixels in _decode(films, preprocessing, list(missing.values())):
            if isinstance(pixels, RadiographError):
                unreadable[position] = str(pixels)
                continue
            file.write(pixels.numpy().tobytes())
            pending.append(hashes[position])
            if len(pending) == TOGETHER:
                _finish(index, file, pending, rows)
        _finish(index, file, pending, rows)
    if not rows:
        return Decoded(torch.empty(0, 1, size, size), torch.zeros(count, dtype=torch.int64), unreadable)
    # Mapped for writing, although nobody does: torch warns of memory that it may not write.
    images = np.memmap(folder / f"{name}.pixels", np.float32, "r+", shape=(max(rows.values()) + 1, 1, size, size))
    failed = {hashes[position]: reason for position, reason in unreadable.items()}
    unreadable = {position: failed[digest] for position, digest in enumerate(hashes) if digest in failed}
    return Decoded(torch.from_numpy(images), torch.tensor([rows.get(digest, 0) for digest in hashes]), unreadable)


def _decode(
    films: FilmReader, preprocessing: Preprocessing, positions: Sequence[int]
) -> Iterator[tuple[int, Tensor | RadiographError]]:
    """Each position with its pixels or why it has none, in order; a bar on a terminal shows how far it is."""

    def pixels(position: int) -> Tensor | RadiographError:
        try:
            return preprocessing.pixels(films.read(position))
        except RadiographError as error:
            return error

    def results() -> Iterator[tuple[int, Tensor | RadiographError]]:
        for first in range(0, len(positions), TOGETHER):
            some = positions[first : first + TOGETHER]
            yield from zip(some, pool.map(pixels, some), strict=True)

    console = Console(stderr=True)
    quiet = not (console.is_terminal and positions)
    with ThreadPoolExecutor(DECODERS) as pool:
        yield from track(results(), "decoding films", len(positions), console=console, disable=quiet)


def _lock(index: IO[bytes]) -> None:
    """Keep other processes from adding rows until the file is closed, however the process ends."""
    import fcntl

    try:
        try:
            fcntl.flock(index, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            Console(stderr=True).print("another run is decoding films into the same cache: waiting for it to end")
            fcntl.flock(index, fcntl.LOCK_EX)
    except OSError as error:
        raise OSError(f"--cache disk needs a file system with locks ({error}): take --cache memory or none") from None


def _whole_rows(index: IO[bytes], file: IO[bytes], row_bytes: int) -> dict[bytes, int]:
    """The row of each film by its hash; rows that are not whole are cut off."""
    count = min(os.fstat(index.fileno()).st_size // HASH_BYTES, os.fstat(file.fileno()).st_size // row_bytes)
    index.truncate(count * HASH_BYTES)
    file.truncate(count * row_bytes)
    index.seek(0)
    return {index.read(HASH_BYTES): row for row in range(count)}


def _finish(index: IO[bytes], file: IO[bytes], pending: list[bytes], rows: dict[bytes, int]) -> None:
    """Flush the pixels that were written, then the hashes that make them count."""
    file.flush()
    os.fsync(file.fileno())
    first = os.fstat(index.fileno()).st_size // HASH_BYTES
    index.write(b"".join(pending))
    index.flush()
    os.fsync(index.fileno())
    rows |= {digest: row for row, digest in enumerate(pending, start=first)}
    pending.clear()
