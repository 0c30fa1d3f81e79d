"""Films of a public data set put where a cohort's metadata.csv can name them, without a copy if possible.

A hard link is a second name of the same file: it takes no room, needs no rights and leads nowhere. Where the file system
can't make one (another disk), the file is copied. What lies below the cohort's folder already is named where it is.
"""

import os
import re
import secrets
import shutil
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from datasets.covid import resolved
from datasets.files import write_aside
from datasets.film.policy import DicomPolicy
from datasets.film.radiograph import RadiographError
from datasets.film.read import read_radiograph
from datasets.prepare.layouts.film import Film
from datasets.prepare.layouts.sidecar import rendered
from datasets.prepare.request import PNG16, Request

_HASH = re.compile(r"[0-9a-f]{16}\.(dcm|png)")
WAYS = ("hard-linked", "copied", "written anew", "there already", "in place")  # there already from an earlier run


class PlacingError(ValueError):
    """A film that can't be placed; the message is the reason for leaving it out, in a few fixed words."""


class Placing:
    """Places films of one data set; `placed` counts them by `WAYS`."""

    def __init__(self, request: Request) -> None:
        """Take films below the data set's folder to images/<data set> in the cohort's, unless that holds the other."""
        self.src, self.out = request.src.resolve(), request.out.resolve()
        self.folder, self.copy, self.policy = self.out / "images" / request.name, request.copy, request.policy
        self.as_png = request.pixels == PNG16
        self.below = self.src.is_relative_to(self.out)
        self.placed = dict.fromkeys(WAYS, 0)
        self.seen: set[Path] = set()
        self._counting = Lock()

    def put(self, film: Film) -> str:
        """Claim a film's file and write it; returns its path below the cohort's folder.

        Raises:
            PlacingError: its file leaves the data set's folder, isn't there, or was placed before.
            OSError: the folder can't be written.
        """
        return self.write(film, self.claim(film))

    def claim(self, film: Film) -> Path:
        """The film's file; PlacingError where it leaves the folder, isn't there, or was claimed before."""
        place = self._inside(film.file)
        if place in self.seen:
            raise PlacingError("a second row for one file")
        self.seen.add(place)
        return place

    def write(self, film: Film, place: Path) -> str:
        """Put a claimed file into the cohort, in any thread; returns its path below the cohort's folder."""
        if film.sidecar or self.as_png:
            target = self._target(place, film.place).with_suffix(".png")
            self._write(place, self._inside(film.sidecar) if film.sidecar else None, target)
        elif self.below and not film.place:
            self._count("in place")
            target = place
        else:
            target = self._target(place, film.place)
            self._link(place, target)
        return target.relative_to(self.out).as_posix()

    def _count(self, way: str) -> None:
        with self._counting:
            self.placed[way] += 1

    def tidy(self, kept: Collection[str]) -> None:
        """Delete films that an earlier run placed under a hash and that are no longer among those `kept`, by their paths."""
        for file in self.folder.glob("*/*"):
            if _HASH.fullmatch(file.name) and file.relative_to(self.out).as_posix() not in kept:
                file.unlink()

    def _inside(self, name: str) -> Path:
        """The file that a foreign table names, through every link."""
        place = resolved(self.src, name)
        if place is None:
            raise PlacingError("no name of a file")
        if not place.is_relative_to(self.src):
            raise PlacingError("its path leaves the data set's folder")
        if not place.is_file():
            raise PlacingError("its file does not exist")
        return place

    def _target(self, place: Path, name: str) -> Path:
        """The new name of a file: that given, else its own; its folder is made."""
        target = self.folder / (name or place.relative_to(self.src))
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(self.out):
            raise PlacingError("its place in the cohort is a link that leaves it")
        return target

    def _link(self, place: Path, target: Path) -> None:
        """A hard link, or a copy; a target that is there is replaced and not written into, for it may be an original."""
        if _same(place, target) and not (self.copy and place.samefile(target)):
            self._count("there already")
            return
        draft = target.with_name(f".{secrets.token_hex(8)}")
        try:
            linked = False
            if not self.copy:
                with suppress(OSError):
                    os.link(place, draft)
                    linked = True
            if not linked:
                shutil.copy2(place, draft)
            self._count("hard-linked" if linked else "copied")
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def _write(self, place: Path, sidecar: Path | None, target: Path) -> None:
        """A film written anew, unless an earlier run did; a target of before the film is written again."""
        newest = max(file.stat().st_mtime_ns for file in (place, sidecar) if file is not None)
        if target.is_file() and target.stat().st_mtime_ns > newest:
            self._count("there already")
        else:
            try:
                greys = rendered(place, sidecar) if sidecar is not None else greys_16(place, self.policy)
            except RadiographError as error:
                raise PlacingError(str(error) if sidecar is not None else f"can't be read: {error.reason}") from None
            image = Image.fromarray(greys)
            write_aside(target, partial(image.save, format="PNG"))
            self._count("written anew")


def greys_16(place: Path, policy: DicomPolicy) -> np.ndarray:
    """The reader's greys at 16 bits, uint16 rows x columns, bone bright: a PNG of them is read as the film is, to 1/131070.

    RadiographError where it can't be read.
    """
    return np.rint(65535 * read_radiograph(place, policy=policy).pixels.astype(np.float64)).astype(np.uint16)


def _same(place: Path, target: Path) -> bool:
    """Whether a target is this file already, or a copy of it that an earlier run made."""
    try:
        there = target.stat()
    except OSError:
        return False
    here = place.stat()
    same_file = (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)
    return same_file or (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns)
