"""Visitors' films, decoded in processes of their own, and the films that runs were trained and tested on."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
import streamlit as st

from app.reading.held_films import HeldFilms
from app.services.runs import BY_CHECKPOINT
from training.parallel.worker_pool import Lost, WorkerPool
from training.run.config import from_settings
from training.run.index import RunEntry

if TYPE_CHECKING:  # pydicom and torch are imported when the first film is read
    from app.reading.upload import Film, Upload
    from datasets.cohort.films import Cohort
    from datasets.film.policy import Voi
    from datasets.film.radiograph import Radiograph

READERS, READING_SECONDS = 2, 20.0
HELD_BYTES = 512 << 20
THUMBNAIL = 320  # px on the long side


@st.cache_resource(show_spinner="Starting the film reader", on_release=lambda reader: reader[0].close())
def _reader() -> "tuple[WorkerPool[Upload, Film | np.ndarray | str], threading.Lock]":
    """Processes that decode visitors' films, so that a film that crashes a codec takes nothing else with it."""
    from app.reading.upload import read_upload

    return WorkerPool(read_upload, READERS, READING_SECONDS), threading.Lock()


@st.cache_resource(show_spinner=False)
def _held_films() -> HeldFilms:
    return HeldFilms(HELD_BYTES)


def read_uploads(contents: Sequence[bytes], vois: "Sequence[Voi]") -> "list[Film | str]":
    """Decode films of any supported format with each VOI policy; a sentence that names no tag for one that can't be."""
    return cast("list[Film | str]", _read(contents, tuple(vois)))


def stored_picture(content: bytes) -> np.ndarray | str:
    """A DICOM film's stored values as they are, rows x columns of uint8."""
    return cast("np.ndarray | str", _read([content], ())[0])


def _read(contents: Sequence[bytes], vois: "tuple[Voi, ...]") -> "list[Film | np.ndarray | str]":
    """Each upload, from what is held or by the reading processes, which share those that are not."""
    from app.reading.upload import Upload

    held, keys = _held_films(), [(hashlib.sha256(content).hexdigest(), vois) for content in contents]
    films = {key: film for key in keys if (film := held.get(key)) is not None}
    missing = {key: Upload(content, vois) for key, content in zip(keys, contents, strict=True) if key not in films}
    if missing:
        pool, lock = _reader()
        with lock:
            results = list(pool.results(missing.values()))
        for key, result in zip(missing, results, strict=True):
            film = f"reading it {result.how}: export it again" if isinstance(result, Lost) else result
            films[key] = film
            held.put(key, film, _bytes_of(film))
    return [films[key] for key in keys]


def _bytes_of(film: "Film | np.ndarray | str") -> int:
    if isinstance(film, str):
        return len(film)
    if isinstance(film, np.ndarray):
        return film.nbytes
    # A film that is not DICOM is one array for all policies.
    return sum({id(reading): reading.pixels.nbytes for reading in film.readings.values()}.values())


@dataclass
class OwnFilms:
    """The films that a run was trained and tested on, or why they can't be shown."""

    cohort: "Cohort | None" = None  # not decoded
    positions: dict[tuple[str, int], int] = field(default_factory=dict)  # in the cohort, by (split, row)
    problem: str = ""


@st.cache_resource(max_entries=4, show_spinner="Looking for the films of the run", hash_funcs=BY_CHECKPOINT)
def own_films(entry: RunEntry) -> OwnFilms:
    """The run's own films, read from where its settings say they are."""
    from training.run.films import cohort_of, preprocessing_of

    file = entry.folder / "config.yaml"
    if not file.is_file():
        return OwnFilms(problem="the run has no config.yaml, so that its films are not known")
    try:
        config = from_settings(file)
        cohort = cohort_of(config, preprocessing_of(config))
    except (ValueError, OSError):  # their texts hold paths of the server
        return OwnFilms(problem="the films of the run are not on this machine any more")
    keys = zip(cohort.table["split"].astype(str), cohort.table["row"].astype(int), strict=True)
    return OwnFilms(cohort, {key: position for position, key in enumerate(keys)})


def read_own(films: OwnFilms, split: str, row: int) -> "Radiograph | str":
    """A film of a run's own by its split and row; a sentence where it can't be shown."""
    from app.reading.upload import BURNED_IN

    position = films.positions.get((split, row))
    if films.cohort is None or films.cohort.films is None or position is None:
        return films.problem or "it is not in the run's data any more"
    try:
        film = films.cohort.films.read(position)
    except (ValueError, OSError):  # their texts may name a file
        return "it can't be read"
    return BURNED_IN if film.facts.get("burned_in") else film


def own_film(entry: RunEntry, split: str, row: int) -> "Film | str":
    """The same as `read_own`, as a film whose answers are kept."""
    from app.reading.upload import Film

    radiograph = read_own(own_films(entry), split, row)
    if isinstance(radiograph, str):
        return radiograph
    return Film.read_alike(radiograph, f"{entry.folder} {entry.stamp} {split}-{row}")


@st.cache_data(max_entries=400, show_spinner=False, hash_funcs=BY_CHECKPOINT)
def thumbnail(entry: RunEntry, split: str, row: int) -> np.ndarray | str:
    """A small picture of a film of a run's own, uint8; a sentence where it can't be shown."""
    from app.reading.film import picture

    radiograph = read_own(own_films(entry), split, row)
    return radiograph if isinstance(radiograph, str) else picture(radiograph, longest=THUMBNAIL)
