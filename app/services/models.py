"""Checkpoints in memory, and what their runs left: predictions, features, what a threshold does on validation films."""

import gc
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
import streamlit as st

from app.numbers.feature_maps import FeatureError, Plane, ProbeFilms, neighbour_map, principal_plane, probe_films
from app.services.runs import BY_CHECKPOINT
from datasets.film.policy import DicomPolicy, Voi
from training.run.checkpoint_header import CheckpointError
from training.run.index import RunEntry
from training.run.probe_file import NAME as PROBE_FILE
from training.run.probe_file import load_probe_set
from training.run.site_calibration import NAME as SITE_CALIBRATION
from training.run.site_calibration import SiteCalibration, SiteCalibrationError, read_site_calibration
from training.scoring.own_predictions import NAME as PREDICTIONS
from training.scoring.own_predictions import read_own_predictions

if TYPE_CHECKING:
    from training.run.reference import Reference
    from training.scoring.predict import Predictor


@dataclass
class Model:
    """A checkpoint in memory, with the lock under which it is used: saliency hangs hooks on it."""

    predictor: "Predictor"
    lock: threading.Lock = field(default_factory=threading.Lock)


@st.cache_resource(max_entries=8, show_spinner="Loading a checkpoint", hash_funcs=BY_CHECKPOINT)
def model(entry: RunEntry) -> Model:
    """The checkpoint of a run; raises CheckpointError."""
    from training.scoring.predict import Predictor

    loaded = Model(Predictor.load(entry.folder))
    gc.collect()
    gc.freeze()  # torch and the models stay: later collections, one after each rerun, need not go through them
    return loaded


def voi(entry: RunEntry) -> Voi:
    """What a run wants the greys of a DICOM film made with; told by its header, without loading it."""
    return cast("Voi", entry.header["preprocessing"].get("voi", DicomPolicy().voi))


def positive(entry: RunEntry) -> str:
    """Name of the class that the run's score is for."""
    info = entry.header["info"]
    return str(info["targets"][info["positive"]])


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs=BY_CHECKPOINT)
def predictions(entry: RunEntry) -> pd.DataFrame | None:
    """The run's predictions of its own films at the end of its training; None where it kept none.

    Raises:
        CheckpointError: they are damaged, or of another run.
    """
    if not (entry.folder / PREDICTIONS).is_file():
        return None
    info = entry.header["info"]
    name = None if info["positive"] is None else positive(entry)
    table, why = read_own_predictions(entry.folder, info["targets"], name, entry.header["metrics"])
    if table is None:
        raise CheckpointError(why)
    return table


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs=BY_CHECKPOINT)
def reference(entry: RunEntry) -> "Reference | None":
    """Features of the run's training films; None where it kept none; raises CheckpointError."""
    from training.run.reference import load_reference

    return load_reference(entry.folder)


@st.cache_resource(max_entries=6, show_spinner="Reading the features of the run", hash_funcs=BY_CHECKPOINT)
def probe(entry: RunEntry) -> ProbeFilms | str | None:
    """The run's probe films with their features by epoch; why they can't be used, or None where it kept none."""
    try:
        probe_set = load_probe_set(entry.folder)
        if probe_set is None:
            return None
        return probe_films(probe_set.rows, probe_set.features, predictions(entry), positive(entry))
    except CheckpointError as error:
        return str(error).replace(str(entry.folder / PROBE_FILE), PROBE_FILE)
    except FeatureError as error:
        return str(error)


@st.cache_resource(max_entries=6, show_spinner=False, hash_funcs=BY_CHECKPOINT)
def plane(entry: RunEntry) -> Plane:
    """The main components of the features of a run that has probe films."""
    return principal_plane(cast(ProbeFilms, probe(entry)).sphere)


@st.cache_data(max_entries=200, show_spinner="Arranging the films", hash_funcs=BY_CHECKPOINT)
def neighbours(entry: RunEntry, epoch: int) -> np.ndarray:
    """The probe films of such a run arranged by t-SNE, films x 2."""
    return neighbour_map(cast(ProbeFilms, probe(entry)).sphere[epoch], plane(entry).positions[epoch])


@st.cache_data(ttl=5, max_entries=400, show_spinner=False, hash_funcs=BY_CHECKPOINT)  # it may be fitted at any time
def site_calibration(entry: RunEntry) -> SiteCalibration | str | None:
    """What training.calibrate left beside the checkpoint; why it can't be used, or None where it left nothing."""
    file = entry.folder / SITE_CALIBRATION
    if not os.path.lexists(file):
        return None
    try:
        return read_site_calibration(entry.folder)
    except SiteCalibrationError as error:
        return str(error).replace(str(file), file.name).replace(str(entry.folder), entry.folder.name)


def threshold_effect(entry: RunEntry, threshold: float) -> pd.DataFrame:
    """What a threshold does on validation films, for a run that has predictions of such films; raises PredictionsError."""
    from app.numbers.operating_point import operating_point, validation_films

    return operating_point(validation_films(cast(pd.DataFrame, predictions(entry))), positive(entry), threshold)
