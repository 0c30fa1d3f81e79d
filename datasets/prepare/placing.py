"""Films of a public data set put where a cohort's metadata.csv can name them, without a copy if possible.

A hard link is a second name of the same file: it takes no room, needs no rights and leads nowhere. Where the file system
can't make one (another disk), the file is copied. What lies below the cohort's folder already is named where it is.
"""

import os
import secrets
import shutil
from functools import partial
from pathlib import Path

from PIL import Image

from datasets.covid import resolved
from datasets.files import write_aside
from datasets.film.radiograph import RadiographError
from datasets.prepare.layouts.film import Film
from datasets.prepare.layouts.sidecar import rendered

WAYS = ("hard-linked", "copied", "written anew", "there already", "in place")  # there already from an earlier run


class PlacingError(ValueError):
    """A film that can't be placed; the message is the reason for leaving it out, in a few fixed words."""


class Placing:
    """Places films of one data set; `placed` counts them by `WAYS`."""

    def __init__(self, src: Path, out: Path, name: str) -> None:
        """Take films below `src` to `out`/images/`name`, unless `src` is a part of `out`."""
        self.src, self.out, self.folder = src.resolve(), out.resolve(), out.resolve() / "images" / name
        self.below = self.src.is_relative_to(self.out)
        self.placed = dict.fromkeys(WAYS, 0)
        self.seen: set[Path] = set()

    def put(self, film: Film) -> str:
        """Place one film; returns its path below the cohort's folder.

        Raises:
            PlacingError: its file leaves the data set's folder, isn't there, or was placed before.
            OSError: the folder can't be written.
        """
        place = self._inside(film.file)
        if place in self.seen:
            raise PlacingError("a second row for one file")
        self.seen.add(place)
        if film.sidecar:
            target = self._target(place).with_suffix(".png")
            self._render(place, self._inside(film.sidecar), target)
        elif self.below:
            self.placed["in place"] += 1
            target = place
        else:
            target = self._target(place)
            self._link(place, target)
        return target.relative_to(self.out).as_posix()

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

    def _target(self, place: Path) -> Path:
        """The new name of a file; its folder is made."""
        target = self.folder / place.relative_to(self.src)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(self.out):
            raise PlacingError("its place in the cohort is a link that leaves it")
        return target

    def _link(self, place: Path, target: Path) -> None:
        """A hard link, else a copy; a target that is there is replaced and not written into, for it may be an original."""
        if _same(place, target):
            self.placed["there already"] += 1
            return
        draft = target.with_name(f".{secrets.token_hex(8)}")
        try:
            try:
                os.link(place, draft)
                self.placed["hard-linked"] += 1
            except OSError:
                shutil.copy2(place, draft)
                self.placed["copied"] += 1
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def _render(self, place: Path, sidecar: Path, target: Path) -> None:
        """A film written anew, unless an earlier run did; a target of before the film is written again."""
        newest = max(place.stat().st_mtime_ns, sidecar.stat().st_mtime_ns)
        if target.is_file() and target.stat().st_mtime_ns > newest:
            self.placed["there already"] += 1
        else:
            try:
                image = Image.fromarray(rendered(place, sidecar))
            except RadiographError as error:
                raise PlacingError(str(error)) from None
            write_aside(target, partial(image.save, format="PNG"))
            self.placed["written anew"] += 1


def _same(place: Path, target: Path) -> bool:
    """Whether a target is this file already, or a copy of it that an earlier run made."""
    try:
        there = target.stat()
    except OSError:
        return False
    here = place.stat()
    same_file = (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)
    return same_file or (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns)
