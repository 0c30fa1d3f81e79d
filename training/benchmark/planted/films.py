"""The user's films of two labels, and each of them under every signature, as files that are made once."""

import hashlib
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from datasets.cohort.cache import DECODERS
from datasets.cohort.films import Cohort
from datasets.files import write_aside
from datasets.film.identity import keyed_hash
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import RadiographError
from datasets.phantom.signature import Signature, developed
from training.console.messages import ERRORS

_VARIATION = 6  # random stream


@dataclass(frozen=True)
class PlantedFilms:
    """Films as the training's preprocessing makes them, with and without signatures, as 8-bit PNG files.

    A film is square, of the training's size, and scaled as in the training, before anything is planted: what is planted
    neither depends on the detector's greys nor is lost with them.

    Attributes:
        folder: of the files; their names are keyed hashes of the film, how it was read and the signature.
        key: of the hashes.
    """

    cohort: Cohort
    folder: Path
    key: bytes

    @property
    def reading(self) -> Preprocessing:
        """How films are read: as in the training, with one channel."""
        p = self.cohort.preprocessing
        return Preprocessing(p.size, 1, p.aspect, p.intensity, voi=p.voi)

    def place(self, position: int, signature: Signature | None) -> Path:
        """Where a film under a signature is, or is to be."""
        assert self.cohort.films is not None
        what = f"{self.cohort.films.fingerprint(position)} {self.reading} {signature}"
        return self.folder / f"{keyed_hash(self.key, what)}.png"

    def greys(self, position: int, signature: Signature | None) -> np.ndarray:
        """Size x size in [0, 1]; raises RadiographError where the film can't be read."""
        return self._signed(self._read(position), position, signature)

    def make(self, signatures: Iterable[Signature | None]) -> dict[int, str]:
        """Write each film under each signature, unless it is there; returns why films can't be read, by position."""
        self.folder.mkdir(parents=True, exist_ok=True)
        signatures, positions = list(signatures), range(len(self.cohort.table))
        absent = [position for position in positions if any(not self.place(position, s).is_file() for s in signatures)]
        unreadable: dict[int, str] = {}
        lock = threading.Lock()

        def write(position: int) -> None:
            try:
                read = self._read(position)
            except RadiographError as error:
                with lock:
                    unreadable[position] = str(error)
                return
            for signature in signatures:
                picture = as_picture(self._signed(read, position, signature))
                write_aside(self.place(position, signature), partial(picture.save, format="PNG"))

        quiet = not (ERRORS.is_terminal and absent)
        with ThreadPoolExecutor(DECODERS) as pool:
            written = pool.map(write, absent)
            for _ in track(written, "planting films", len(absent), console=ERRORS, disable=quiet):
                pass
        return dict(sorted(unreadable.items()))

    def _read(self, position: int) -> np.ndarray:
        assert self.cohort.films is not None
        greys: np.ndarray = self.reading.pixels(self.cohort.films.read(position))[0].numpy()
        return greys

    def _signed(self, greys: np.ndarray, position: int, signature: Signature | None) -> np.ndarray:
        if signature is None:
            return greys
        # Of the film and the signature alone: neither its label, its split nor the seed of a training has a say.
        text = f"{self.cohort.table['path'].iloc[position]} {signature.name}"
        drawn = np.random.default_rng([_VARIATION, *hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()])
        return developed(greys, signature, drawn)


def as_picture(greys: np.ndarray) -> Image.Image:
    """From greys in [0, 1] to 8 bits."""
    return Image.fromarray(np.rint(255 * np.clip(greys, 0, 1)).astype(np.uint8))


def without_unreadable(cohort: Cohort, unreadable: dict[int, str], console: Console) -> Cohort:
    """The films that can be read; how many can't is printed, with the first reasons."""
    if not unreadable:
        return cohort
    rows = cohort.table["row"]
    first = "; ".join(f"line {int(rows.iloc[p]) + 2}: {why}" for p, why in list(unreadable.items())[:3])
    console.print(
        f"{len(unreadable)} of {len(rows)} films can't be read and are left out ({first})",
        style="yellow", markup=False, highlight=False,
    )  # fmt: skip
    return cohort.part([position for position in range(len(rows)) if position not in unreadable])
