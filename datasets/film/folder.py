"""A folder of DICOM files as a list of entries in a fixed order: one for every file, whether or not it is a film.

Links are listed and never followed, so that a folder can't lead out of itself or in circles; what a link within the folder
points to is listed at its own place anyway. Nor does an index (DICOMDIR) lead anywhere. Entries come one by one: a folder of
millions is never held in memory.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from datasets.film.radiograph import MAX_BYTES, RadiographError, naming_nobody, source_bytes

LINK, SPECIAL, UNLISTED = "symbolic link", "no regular file", "unreadable"


class Entry(NamedTuple):
    """One file of a folder, or something else in it that is not opened.

    Attributes:
        name: path below the folder, parts separated by `/`. It may name a patient: it is hashed before it leaves.
        changed: changes when the file does: time of last change or the storage's own tag.
        problem: why it is not opened (`LINK`, `SPECIAL`, or a folder that is `UNLISTED`), else empty.
    """

    name: str
    size: int
    changed: str
    problem: str = ""


class FolderError(ValueError):
    """A folder that can't be read at all, or no longer; the message says why."""


class Folder(Protocol):
    """Where entries and their content come from; picklable, for it is handed to other processes."""

    def entries(self) -> Iterator[Entry]:
        """All entries, in an order that is the same each time."""

    def read(self, name: str) -> bytes:
        """The content of an entry; raises RadiographError, and FolderError where nothing more can be read."""


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine, or of a file system that it mounts."""

    root: Path

    def entries(self) -> Iterator[Entry]:
        """All entries, folder by folder, each folder's in the order of their names."""
        yield from _walk(self._below)

    def read(self, name: str) -> bytes:
        """The content of an entry; raises RadiographError, see `datasets.film.radiograph.source_bytes`."""
        return source_bytes(self.root / name)

    def _below(self, folder: str) -> Iterator[Entry | str]:
        """What one folder holds; sub-folders as their names with a `/` behind."""
        try:
            with os.scandir(self.root / folder) as scan:
                children = sorted(scan, key=lambda child: child.name)
        except OSError as error:
            if not folder:
                raise FolderError(f"{self.root} can't be read: {error.strerror}") from None
            yield Entry(folder.rstrip("/"), 0, "", UNLISTED)
            return
        for child in children:
            name = folder + child.name
            try:
                if child.is_symlink():
                    yield Entry(name, 0, "", LINK)
                elif child.is_dir(follow_symlinks=False):
                    yield name + "/"
                elif not child.is_file(follow_symlinks=False):
                    yield Entry(name, 0, "", SPECIAL)  # opening a pipe would wait for ever
                else:
                    status = child.stat(follow_symlinks=False)
                    yield Entry(name, status.st_size, str(status.st_mtime_ns))
            except OSError:  # it has gone meanwhile, or the file system is failing
                yield Entry(name, 0, "", UNLISTED)


@dataclass(frozen=True)
class RemoteFolder:
    """A folder of any storage that fsspec knows, such as `s3://bucket/films`."""

    url: str

    def entries(self) -> Iterator[Entry]:
        """All entries, folder by folder, each folder's in the order of their names."""
        yield from _walk(self._below)

    def read(self, name: str) -> bytes:
        """The content of an entry; raises RadiographError."""
        # Each storage raises its own errors, with the name of the file in the text.
        with (
            naming_nobody(lambda _: RadiographError("the file can't be fetched from its storage", reason="unreadable")),
            self._opened[0].open(self._place(name), "rb") as file,
        ):
            content = file.read(MAX_BYTES + 1)
        return source_bytes(content)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The storage, and the folder's path in it."""
        import fsspec

        try:
            storage, root = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise FolderError(f"{self.url} can't be opened: {error}") from None
        return storage, root.rstrip("/")

    def _place(self, name: str) -> str:
        """Of an entry in the storage, whose root may have no name, as an archive's hasn't."""
        root = self._opened[1]
        return (f"{root}/{name}" if root else name).rstrip("/")

    def __getstate__(self) -> dict[str, str]:
        return {"url": self.url}  # a connection is opened anew in each process

    def _below(self, folder: str) -> Iterator[Entry | str]:
        """What one folder holds; sub-folders as their names with a `/` behind."""
        storage, root = self._opened
        try:
            listing = storage.ls(self._place(folder), detail=True)
        except Exception as error:
            if not folder:
                raise FolderError(f"{self.url} can't be read: {type(error).__name__}") from None
            yield Entry(folder.rstrip("/"), 0, "", UNLISTED)
            return
        for child in sorted(listing, key=lambda child: str(child["name"]).rstrip("/")):
            name = str(child["name"]).removeprefix(root).strip("/")
            if not name or name + "/" == folder:  # object stores may list the folder itself
                continue
            if child.get("islink"):
                yield Entry(name, 0, "", LINK)
            elif child["type"] == "directory":
                yield name + "/"
            elif child["type"] != "file":
                yield Entry(name, 0, "", SPECIAL)
            else:
                stamps = ("ETag", "etag", "LastModified", "mtime", "created")
                changed = next((str(child[key]) for key in stamps if key in child), "")
                yield Entry(name, int(child.get("size") or 0), changed)


def _walk(below: Callable[[str], Iterator[Entry | str]]) -> Iterator[Entry]:
    """All entries, depth first; folders wait on a list, for an archive may nest them deeper than Python calls."""
    open_folders = [below("")]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
        elif isinstance(entry, str):
            open_folders.append(below(entry))
        else:
            yield entry


def open_folder(place: str) -> Folder:
    """The folder at a path, or at a URL of a storage; raises FolderError where there is none."""
    if "://" in place and not place.startswith("file://"):
        return RemoteFolder(place if place.endswith("://") else place.rstrip("/"))
    root = Path(place.removeprefix("file://"))
    if not root.is_dir():
        raise FolderError(f"{root} is no folder" if root.exists() else f"{root} does not exist")
    return LocalFolder(root.resolve())
