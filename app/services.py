"""What pages share: the runs and which are chosen, and all that is kept between two clicks.

Caches are those of the server and so of all its users: models, tables and decoded films, by the content that they were made
from. No name, path or tag of a visitor's film is in a key. Models are used under their lock: saliency hangs hooks on them.
"""

import gc
import hashlib
import os
import secrets
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pandas as pd
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.jobs.audit_job import AuditDesk
from app.numbers.audit import LONGEST, Audit, AuditError, places, read_audit
from app.reading.held_films import HeldFilms
from datasets.cohort.parquet_table import TableError, read_parquet
from datasets.film.identity import KEY_FILE, hash_key
from training.run.checkpoint_header import CheckpointError
from training.run.index import RunEntry, run_index

if TYPE_CHECKING:  # torch is imported when the first film is scored
    import numpy as np

    from app.jobs.batch_desk import Desk, Presence
    from app.numbers.feature_maps import Plane, Watched
    from app.numbers.operating_point import OperatingPoint
    from app.reading.upload import Film, Upload
    from datasets.cohort.films import Cohort
    from datasets.film.policy import Voi
    from datasets.film.radiograph import Radiograph
    from training.parallel.worker_pool import WorkerPool
    from training.run.config import TrainConfig
    from training.run.reference import Reference
    from training.scoring.predict import Predictor

RESEARCH_ONLY = "For research. Not a medical device; scores are model scores, not diagnoses."
SYNTHETIC = "SYNTHETIC images: these numbers say nothing about any patient or hospital."
READERS, READING_SECONDS = 2, 20.0
HELD_BYTES = 512 << 20


def runs_root() -> Path:
    """The folder of runs: named after `--`, else in END_CXR_RUNS, else `runs`."""
    named = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("END_CXR_RUNS", "runs")
    return Path(named)


@st.cache_data(ttl=5, show_spinner=False)
def runs(root: str) -> list[RunEntry]:
    """All runs below the root, usable or not, as they were a few seconds ago at most."""
    return run_index(Path(root))


def choose_runs() -> None:
    """Put the choice of checkpoints into the sidebar and say what holds for all pages."""
    usable = [entry for entry in runs(str(runs_root())) if entry.usable and entry.films]
    names = [entry.name for entry in usable]
    if names:
        # A choice survives only while its widget is drawn; what is kept beside it survives any page. It is no default: one
        # that changes makes another widget, which forgets every second click.
        kept = st.session_state.get("chosen_runs", _first_pair(usable))
        st.session_state["picked_runs"] = [name for name in st.session_state.get("picked_runs", kept) if name in names]
        st.session_state["chosen_runs"] = st.sidebar.multiselect(
            "Checkpoints",
            names,
            help="Differences are from the first of them.",
            placeholder="choose a run",
            key="picked_runs",
        )
    if any(entry.synthetic for entry in chosen()):
        st.warning(SYNTHETIC, icon=":material/smart_toy:")


def _first_pair(usable: list[RunEntry]) -> list[str]:
    """A plain run and its twin by another method, where there are such; else the first two."""
    alike = ("dataset", "model", "seed", "split_seed", "external_sources")
    for plain in usable:
        settings = plain.header["settings"]
        if settings.get("method") == "erm":
            for other in usable:
                others = other.header["settings"]
                if others.get("method") != "erm" and all(others.get(name) == settings.get(name) for name in alike):
                    return [plain.name, other.name]
    return [entry.name for entry in usable[:2]]


def chosen() -> list[RunEntry]:
    """The chosen runs, in the order of choice."""
    known = {entry.name: entry for entry in runs(str(runs_root())) if entry.usable and entry.films}
    return [known[name] for name in st.session_state.get("chosen_runs", []) if name in known]


def require_runs(least: int = 1) -> list[RunEntry]:
    """The chosen runs; where there are too few, say what to do and end the page."""
    found = chosen()
    if len(found) >= least:
        return found
    if not any(entry.usable and entry.films for entry in runs(str(runs_root()))):
        st.subheader("No run yet")
        st.write(
            f"There is no trained run below `{runs_root()}`. This command trains two on synthetic films, in minutes:"
        )
        st.code("python -m training.train --dataset covid --paired", language=None)
    else:
        needed = "a checkpoint" if least == 1 else f"{least} checkpoints"
        st.write(f"Choose {needed} in the sidebar.")
    st.stop()
    return found


@contextmanager
def broken_runs_in_words() -> Iterator[None]:
    """A checkpoint whose header is sound and whose weights or tables are not ends a page in a sentence."""
    try:
        yield
    except (CheckpointError, TableError, OSError) as error:
        # The texts of the others name files of the server.
        why = str(error).replace(f"{runs_root()}/", "") if isinstance(error, CheckpointError) else type(error).__name__
        st.error(f"A file of a chosen run can't be read: {why}. Choose other checkpoints.", icon=":material/error:")


@dataclass
class Model:
    """A checkpoint in memory, with the lock under which it is used."""

    predictor: "Predictor"
    lock: threading.Lock = field(default_factory=threading.Lock)


@st.cache_resource(max_entries=8, show_spinner="Loading a checkpoint")
def _model(folder: str, stamp: str) -> Model:
    from training.scoring.predict import Predictor

    loaded = Model(Predictor.load(Path(folder)))
    gc.collect()
    gc.freeze()  # torch and the models stay: later collections, one after each rerun, need not go through them
    return loaded


def model(entry: RunEntry) -> Model:
    """The checkpoint of a run, loaded once for all users; raises CheckpointError."""
    return _model(str(entry.folder), entry.stamp)


@st.cache_data(max_entries=32, show_spinner=False)
def _predictions(folder: str, stamp: str) -> pd.DataFrame | None:
    file = Path(folder) / "predictions.parquet"
    return read_parquet(file) if file.is_file() else None


def predictions(entry: RunEntry) -> pd.DataFrame | None:
    """What the run said of its own films at the end of its training; None where it isn't kept."""
    return _predictions(str(entry.folder), entry.stamp)


@st.cache_resource(max_entries=16, show_spinner=False)
def _reference(folder: str, stamp: str) -> "Reference | None":
    from training.run.reference import load_reference

    return load_reference(Path(folder))


def reference(entry: RunEntry) -> "Reference | None":
    """Features of the run's training films; None where it kept none; raises CheckpointError."""
    return _reference(str(entry.folder), entry.stamp)


@st.cache_resource(max_entries=6, show_spinner="Reading the features of the run")
def _watched(folder: str, stamp: str, positive: str) -> "Watched | str | None":
    from app.numbers.feature_maps import FeatureError, watched
    from training.run.checkpoint_header import CheckpointError
    from training.run.probe_file import NAME, load_probe_set

    try:
        probe = load_probe_set(Path(folder))
        if probe is None:
            return None
        return watched(probe.rows, probe.features, _predictions(folder, stamp), positive)
    except CheckpointError as error:
        return str(error).replace(str(Path(folder) / NAME), NAME)
    except FeatureError as error:
        return str(error)


def watched(entry: RunEntry) -> "Watched | str | None":
    """Features of the run's probe set by epoch; why they can't be used, or None where it kept none."""
    info = entry.header["info"]
    return _watched(str(entry.folder), entry.stamp, info["targets"][info["positive"]])


@st.cache_resource(max_entries=6, show_spinner=False)
def _plane(folder: str, stamp: str, positive: str) -> "Plane":
    from app.numbers.feature_maps import Watched, principal_plane

    return principal_plane(cast(Watched, _watched(folder, stamp, positive)).sphere)


@st.cache_data(max_entries=200, show_spinner="Arranging the films")
def _neighbours(folder: str, stamp: str, positive: str, epoch: int) -> "np.ndarray":
    from app.numbers.feature_maps import Watched, neighbour_map

    sphere = cast(Watched, _watched(folder, stamp, positive)).sphere[epoch]
    return neighbour_map(sphere, _plane(folder, stamp, positive).positions[epoch])


def plane(entry: RunEntry) -> "Plane":
    """The main components of a run's watched films; only for one that `watched` has."""
    info = entry.header["info"]
    return _plane(str(entry.folder), entry.stamp, info["targets"][info["positive"]])


def neighbours(entry: RunEntry, epoch: int) -> "np.ndarray":
    """The watched films arranged by t-SNE, films x 2."""
    info = entry.header["info"]
    return _neighbours(str(entry.folder), entry.stamp, info["targets"][info["positive"]], epoch)


@st.cache_data(max_entries=400, show_spinner=False)
def _operating_point(folder: str, stamp: str, positive: str, threshold: float) -> "OperatingPoint":
    from app.numbers.operating_point import operating_point

    table = cast(pd.DataFrame, _predictions(folder, stamp))
    return operating_point(table[(table["split"] == "validation") & table["target"].notna()], positive, threshold)


def operating_point(entry: RunEntry, threshold: float) -> "OperatingPoint":
    """What a threshold does on validation; only for a run that has predictions of such films; raises PredictionsError."""
    info = entry.header["info"]
    return _operating_point(str(entry.folder), entry.stamp, info["targets"][info["positive"]], threshold)


@dataclass
class OwnFilms:
    """The films that a run was trained and tested on, or why they can't be shown.

    Attributes:
        cohort: the films, not decoded.
        positions: position of each (split, row).
        problem: why there are none here.
    """

    cohort: "Cohort | None" = None
    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    problem: str = ""


@st.cache_resource(max_entries=4, show_spinner="Looking for the films of the run")
def _own_films(folder: str, stamp: str) -> OwnFilms:
    from training.run.config import from_settings
    from training.run.films import cohort_of, preprocessing_of

    file = Path(folder) / "config.yaml"
    if not file.is_file():
        return OwnFilms(problem="the run has no config.yaml, so that its films are not known")
    try:
        config: TrainConfig = from_settings(file)
        cohort = cohort_of(config, preprocessing_of(config))
    except (ValueError, OSError):  # their texts hold paths of the server
        return OwnFilms(problem="the films of the run are not on this machine any more")
    table = cohort.table
    keys = zip(table["split"].astype(str), table["row"].astype(int), strict=True)
    return OwnFilms(cohort, {key: position for position, key in enumerate(keys)})


def own_films(entry: RunEntry) -> OwnFilms:
    """Where the run's own films are read from."""
    return _own_films(str(entry.folder), entry.stamp)


@dataclass
class Reader:
    """Processes that decode visitors' films, so that a film that crashes a codec takes nothing else with it."""

    pool: "WorkerPool[Upload, Film | np.ndarray | str]"
    lock: threading.Lock = field(default_factory=threading.Lock)


@st.cache_resource(show_spinner="Starting the film reader", on_release=lambda reader: reader.pool.close())
def _reader() -> Reader:
    from app.reading.upload import ReadUpload
    from training.parallel.worker_pool import WorkerPool

    return Reader(WorkerPool(ReadUpload(), READERS, READING_SECONDS))


@st.cache_resource(show_spinner=False)
def _held_films() -> HeldFilms:
    return HeldFilms(HELD_BYTES)


def _read(contents: Sequence[bytes], vois: "tuple[Voi, ...]") -> "list[Film | np.ndarray | str]":
    """Each upload, from what is held or by the reading processes, which share those that are not."""
    from app.reading.upload import Upload
    from training.parallel.worker_pool import Lost

    held, keys = _held_films(), [(hashlib.sha256(content).hexdigest(), vois) for content in contents]
    found = {key: film for key in keys if (film := held.get(key)) is not None}
    missing = {key: Upload(content, vois) for key, content in zip(keys, contents, strict=True) if key not in found}
    if missing:
        reader = _reader()
        with reader.lock:
            results = list(reader.pool.results(missing.values()))
        for key, result in zip(missing, results, strict=True):
            film = f"reading it {result.how}: export it again" if isinstance(result, Lost) else result
            found[key] = film
            held.put(key, film, _weight(film))
    return [found[key] for key in keys]


def _weight(film: "Film | np.ndarray | str") -> int:
    if isinstance(film, str):
        return len(film)
    readings = getattr(film, "readings", None)
    if readings is None:
        return int(cast("np.ndarray", film).nbytes)
    return sum({id(reading): reading.pixels.nbytes for reading in readings.values()}.values())


def read_uploads(contents: Sequence[bytes], vois: "Sequence[Voi]") -> "list[Film | str]":
    """Decode films of any supported format with each VOI policy; a sentence that names no tag for one that can't be."""
    return cast("list[Film | str]", _read(contents, tuple(vois)))


def stored_picture(content: bytes) -> "np.ndarray | str":
    """A DICOM film's stored values as they are, rows x columns of uint8."""
    return cast("np.ndarray | str", _read([content], ())[0])


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


@dataclass(frozen=True)
class FoundAudit:
    """An audit of the chosen runs.

    Attributes:
        audit: of these runs alone.
        file: the report.json that it was read from.
        stale: names of runs whose checkpoint is newer than it.
    """

    audit: Audit
    file: Path
    stale: tuple[str, ...]


@st.cache_data(max_entries=16, show_spinner=False)
def _audit(file: str, stamp: str) -> Audit | str:
    try:
        if Path(file).stat().st_size > LONGEST:
            return "it is too long to be an audit"
        return read_audit(Path(file).read_text(encoding="utf-8"))
    except AuditError as error:
        return str(error)
    except (OSError, UnicodeDecodeError):
        return "it can't be read"


def audit(entries: Sequence[RunEntry]) -> "FoundAudit | str | None":
    """The audit that holds all these runs, the one of them alone before others; why it can't be shown, or None."""
    names = [entry.folder.resolve().name for entry in entries]
    problem = None
    for file in places([entry.folder for entry in entries]):
        status = file.stat()
        found = _audit(str(file), f"{status.st_size} {status.st_mtime_ns}")
        if isinstance(found, str):
            problem = problem or found
        elif found.covers(names):
            # The stamp of a run ends with the time of its checkpoint.
            stale = [e.name for e in entries if int(e.stamp.split()[-1]) > status.st_mtime_ns]
            return FoundAudit(found.only(names), file, tuple(stale))
    return problem


@st.cache_resource(show_spinner=False, on_release=lambda desk: desk.stop())
def audit_desk() -> AuditDesk:
    """Where audits are made, one at a time for all users."""
    return AuditDesk()


@st.cache_resource(show_spinner=False)
def batch_desk() -> "Desk":
    """Where batch jobs wait, run and are kept for their visitors; one for the whole server."""
    from app.jobs.batch_desk import Desk

    return Desk()


def visitor() -> str:
    """A random name for this visit: what it started can be asked for by no other."""
    token: str = st.session_state.setdefault("visitor", secrets.token_hex(16))
    return token


def presence() -> "Presence":
    """Tells whether this visitor is still there; can be called from any thread."""
    from app.jobs.batch_desk import Presence

    context = get_script_run_ctx()
    session = context.session_id if context is not None else ""
    return Presence(lambda: not st.runtime.exists() or st.runtime.get_instance().is_active_session(session))


@st.cache_data(ttl=30, max_entries=4, show_spinner="Listing the folders")
def film_folders(root: str) -> list[str]:
    """Sub-folders that visitors may score."""
    from app.jobs.film_folders import sub_folders

    return sub_folders(Path(root))


def shared_key() -> bytes | None:
    """The key of the hashes in the runs' folder; None where it has none yet."""
    try:
        return hash_key(runs_root()) if (runs_root() / KEY_FILE).is_file() else None
    except (OSError, ValueError):
        return None
