"""What checkpoints say of a film, asked once and kept by the film's content and the run's checkpoint."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
import streamlit as st

from app.services import models
from app.services.runs import BY_CHECKPOINT
from app.services.visit import has_own_threshold, threshold_of
from training.run.index import RunEntry

if TYPE_CHECKING:  # torch is imported when the first film is scored
    from app.reading.film import FilmScore, Likeness
    from app.reading.upload import Film
    from datasets.film.radiograph import Radiograph
    from training.scoring.predict import Predictor

Answer = TypeVar("Answer")
KEPT = 4000  # answers of some kB


def ask(question: "Callable[[Predictor, Radiograph], Answer]", entry: RunEntry, film: "Film") -> Answer:
    """Call a function of `app.reading.film` with a run's model, under its lock, and the film as that model reads it."""
    model = models.model(entry)
    with model.lock:
        return question(model.predictor, film.readings[model.predictor.checkpoint.preprocessing.voi])


def score(entry: RunEntry, film: "Film") -> "FilmScore":
    """A run's prediction for a film."""
    return _score(entry, film.key, film)


def without_parts(entry: RunEntry, film: "Film") -> dict[str, float]:
    """A run's score of a film without each of `shortcuts.PARTS`."""
    return _without_parts(entry, film.key, film)


def moves(entry: RunEntry, film: "Film") -> dict[str, float]:
    """How far a run's score of a film moves without each of `shortcuts.PARTS`."""
    whole = score(entry, film).score
    return {part: without - whole for part, without in without_parts(entry, film).items()}


def oddities(film: "Film") -> tuple[str, ...]:
    """See `app.reading.appearance.oddities`."""
    return _oddities(film.key, film)


def evidence(entry: RunEntry, film: "Film") -> np.ndarray:
    """Grad-CAM of a run for a film, in [0, 1]; raises ModelError where the model has no such map."""
    return _evidence(entry, film.key, film).astype(np.float32) / 255


def called(entry: RunEntry, score: "FilmScore") -> str:
    """The class that a film is called: of two classes by the visitor's threshold, or else the run's."""
    threshold, targets = threshold_of(entry), entry.header["info"]["targets"]
    if threshold is None or len(targets) != 2:
        return score.prediction
    positive = models.positive(entry)
    return positive if score.score >= threshold else next(name for name in targets if name != positive)


def threshold_in_words(entry: RunEntry) -> str:
    """What films of this run are called by, to follow a call or the run's name; empty for several classes."""
    threshold = threshold_of(entry)
    if threshold is None:
        return ""
    return f" at {threshold:.3f}" + (", your threshold" if has_own_threshold(entry) else "")


def likeness(entry: RunEntry, score: "FilmScore") -> "Likeness | None":
    """How near a film is to the run's training films; None where the run kept no features of them."""
    from app.reading.film import likeness

    reference = models.reference(entry)
    return None if reference is None else likeness(reference, score.features)


def nearest_by_label(entry: RunEntry, score: "FilmScore") -> pd.DataFrame | None:
    """The nearest training film of each label; None where the run kept none."""
    from app.reading.film import nearest_by_label

    reference, own = models.reference(entry), models.predictions(entry)
    if reference is None or own is None:
        return None
    return nearest_by_label(reference, own[own["split"] == "train"], score.features)


@st.cache_data(max_entries=KEPT, show_spinner=False, hash_funcs=BY_CHECKPOINT)
def _score(entry: RunEntry, key: str, _film: "Film") -> "FilmScore":
    from app.reading.film import score_film

    return ask(score_film, entry, _film)


@st.cache_data(max_entries=KEPT, show_spinner=False, hash_funcs=BY_CHECKPOINT)
def _without_parts(entry: RunEntry, key: str, _film: "Film") -> dict[str, float]:
    from app.reading.film import scores_without

    return ask(scores_without, entry, _film)


@st.cache_data(max_entries=KEPT, show_spinner=False)
def _oddities(key: str, _film: "Film") -> tuple[str, ...]:
    from app.reading.appearance import oddities

    return oddities(_film.shown)


@st.cache_data(max_entries=48, show_spinner="Grad-CAM", hash_funcs=BY_CHECKPOINT)
def _evidence(entry: RunEntry, key: str, _film: "Film") -> np.ndarray:
    """In 255 steps, of which a page shows no more."""
    from app.reading.film import evidence

    return (255 * ask(evidence, entry, _film)).round().astype(np.uint8)
