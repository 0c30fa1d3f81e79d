"""Phantom films drawn once for all processes of a test run: most trainings read the same few hundred.

Drawing them is half of what a small training does. Whoever imports this module, the server that processes are forked from
among them, reads the films of the others in the folder that `FOLDER` names.
"""

import json
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from threading import get_ident

import numpy as np

from datasets.film.radiograph import Radiograph
from datasets.phantom.cohort import PhantomFilms

FOLDER = "END_CXR_DRAWN_FILMS"

draw: Callable[[PhantomFilms, int], Radiograph] = PhantomFilms.read  # anew


def _read(films: PhantomFilms, position: int) -> Radiograph:
    pixels, facts = _drawn(films.seed, films.rows[position], films.labels[position], films.hospitals[position])
    return Radiograph(pixels.copy(), dict(facts))


@lru_cache(2048)  # of 64 KiB
def _drawn(seed: int, row: int, label: str, hospital: str) -> tuple[np.ndarray, Mapping[str, object]]:
    file = Path(os.environ[FOLDER], f"{seed} {row} {label} {hospital}.npz")
    try:
        with np.load(file) as stored:
            return stored["pixels"], json.loads(str(stored["facts"]))
    except FileNotFoundError:
        film = draw(PhantomFilms(seed, [row], [label], [hospital]), 0)
        aside = file.with_suffix(f".{os.getpid()}.{get_ident()}")
        with aside.open("wb") as out:
            np.savez(out, pixels=film.pixels, facts=json.dumps(film.facts))
        aside.replace(file)
        return film.pixels, film.facts


PhantomFilms.read = _read  # type: ignore[method-assign]
