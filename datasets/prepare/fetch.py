"""The films of an archive, fetched into a folder before they are prepared."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from datasets.files import write_aside
from datasets.film.folder import Folder
from datasets.film.radiograph import RadiographError


class Fetched(NamedTuple):
    """How many films were fetched, were there from an earlier run, and can't be had."""

    new: int
    there: int
    failed: int

    def __str__(self) -> str:
        parts = [f"{self.new:,} films fetched"]
        parts += [f"{self.there:,} there already"] if self.there else []
        parts += (
            [f"{self.failed:,} that the archive can't give, fetched again by the same command"] if self.failed else []
        )
        return ", ".join(parts)


def fetch(archive: Folder, place: Path, tell: Callable[[int], None] = lambda films: None) -> Fetched:
    """Write each film of the archive as a file of its own below `place`, named by a hash of its UIDs.

    Each file is whole or not there, so that a run that was stopped goes on.

    Args:
        tell: called with the number of films after each.

    Raises:
        FolderError: the archive is lost or holds no film. OSError: the folder can't be written.
    """
    counts = [0, 0, 0]
    for films, entry in enumerate(archive.entries(), start=1):
        target = file_of(place, entry.name)
        if target.is_file():
            counts[1] += 1
        else:
            try:
                content = archive.read(entry.name) if not entry.problem else None
            except RadiographError:
                content = None
            if content is None:
                counts[2] += 1
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                write_aside(target, partial(_write, content))
                counts[0] += 1
        tell(films)
    return Fetched(*counts)


def _write(content: bytes, draft: Path) -> None:
    draft.write_bytes(content)


def file_of(place: Path, name: str) -> Path:
    """Where the film of this name lies: names of archives are UIDs, which stay out of names of files."""
    name = hashlib.sha256(name.encode()).hexdigest()[:32]
    return place / name[:2] / f"{name}.dcm"
