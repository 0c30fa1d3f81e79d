"""Files written whole or not at all: beside their place, flushed to disk, then moved there; short ones read within bounds."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

ASIDE = ".aside"  # ending of a file that is not moved to its place yet
LONGEST_SETTINGS = 1 << 20  # bytes of a file that a person writes: settings, words, a key


def read_short_text(path: Path) -> str:
    """A file of at most `LONGEST_SETTINGS` bytes, as UTF-8.

    A longer one, which may be a device without an end and without a size, raises OSError, and one that is no UTF-8
    UnicodeDecodeError.
    """
    with path.open("rb") as file:
        content = file.read(LONGEST_SETTINGS + 1)
    if len(content) > LONGEST_SETTINGS:
        raise OSError(errno.EFBIG, f"larger than the {LONGEST_SETTINGS} bytes allowed", str(path))
    return content.decode("utf-8")


def write_aside(path: Path, write: Callable[[Path], object], mode: int | None = None) -> None:
    """Let `write` fill a temporary file in the same folder, flush it to disk, then move it to `path`.

    Whatever fails, a full disk or a lost power supply, leaves the old file or the new one, whole. Its mode is the process's
    usual one unless one is given; until it is moved only its owner can read it. An OSError names `path`.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=ASIDE)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    os.close(handle)
    temporary = Path(name)
    try:
        with full_disk_in_words(path):
            write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0o077)  # it can only be read by setting it
        os.umask(umask)
        temporary.chmod(0o666 & ~umask if mode is None else mode)
        temporary.replace(path)
        if os.name == "posix":  # the move itself is on disk when its folder is
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        if error.errno is None or error.filename not in (None, name):  # in words already, or of another file
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def full_disk_in_words(path: Path) -> Iterator[None]:
    """Raise what torch and safetensors make of a full disk as an OSError that names `path`."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(f"{path} can't be written, is the disk full? ({reason})") from None


@contextmanager
def written_together(folder: Path) -> Iterator[Path]:
    """A place to write files that belong together, moved to `folder` when all are written; none is where one fails."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=ASIDE) as name:
        place = Path(name)
        try:
            yield place
            for file in sorted(place.iterdir()):
                file.replace(folder / file.name)
        except OSError as error:
            if error.errno is None or Path(error.filename or "").parent != place:
                raise
            raise OSError(error.errno, error.strerror, str(folder / Path(error.filename).name)) from None


class PlaceError(ValueError):
    """A place that nothing can be written to; the message names its flag."""


def require_new_file(path: Path, flag: str, begins: bytes = b"", what: str = "") -> None:
    """Raise PlaceError where a file can't be written, or replaced; nothing is left behind.

    Args:
        begins: how an earlier result begins, which is replaced; another file that is there and holds something is refused.
        what: such a result in words.
    """
    if path.is_dir():
        raise PlaceError(f"{flag} {path} is a folder: name a file")
    require_writable(path.parent, flag)
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(len(begins))
        if head and head != begins:
            raise PlaceError(f"{flag} {path} is there already and is no {what}: name another file")


def require_writable(folder: Path, flag: str) -> None:
    """Raise PlaceError where a folder can't be made or written to; nothing is left behind."""
    whole = folder.absolute()
    there = next(place for place in (whole, *whole.parents) if os.path.lexists(place))
    if not there.is_dir():
        what = "is there already and is no folder" if there == whole else f"can't be made: {there} is no folder"
        raise PlaceError(f"{flag} {folder} {what}")
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise PlaceError(f"{flag} {folder} can't be written to: {error.strerror}") from None


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 as `write_aside` does."""
    write_aside(path, lambda file: file.write_text(text, encoding="utf-8"))
