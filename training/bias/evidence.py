"""What one checkpoint brings to the audit: its predictions and features, and what is known of its training films."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

SPLITS = ("train", "validation", "test", "external")  # `datasets.sample.Split`, which needs torch
UNSEEN = ("test", "external")  # splits of films that a run was not trained in: of its sources, and of others
PERTURBED_FILMS = 500  # unless asked otherwise
MAY_BE_TRAINED_ON = "Some of these films may be films that the run was trained on"
TRAINED_ON = "The run was trained or calibrated on"


def is_external(films: pd.DataFrame) -> np.ndarray:
    """Which films are of split `external`; none where splits are not recorded."""
    return (films["split"] == "external").to_numpy() if "split" in films else np.zeros(len(films), bool)


def never_seen(films: pd.DataFrame, training: pd.DataFrame | None) -> np.ndarray:
    """Which films are of a source that the model never saw: external, and no training film is of their source.

    External films of known sources are those of a view, say, that was kept apart.
    """
    known: Any = [] if training is None or "source" not in training else training["source"].unique()
    return is_external(films) & ~films["source"].isin(known).to_numpy()


@dataclass(frozen=True)
class Evidence:
    """One checkpoint's predictions and features, with what is known of the films it was made with.

    Attributes:
        about: facts of the run for the report: method, model, seed, threshold, temperature and so on; plain values.
        predictions: the films to audit, columns of predictions.parquet.
        features: films x width, in the order of `predictions`.
        perturbed: score of the positive class of each film under each perturbation, by its name; NaN for films that were not
            perturbed.
        training: predictions of the run's training films, or None where they are not known.
        validation: predictions of its validation films, or None: films like the training films that it was not fitted to.
        distances: of each film in `predictions` to its k-th nearest training film (`training.run.reference`), or None.
        distance_limit: distance beyond which a film is an outlier, NaN where none could be set, or None.
        notes: sentences that a reader of the results must know, such as what is missing in the run's folder.
    """

    name: str
    about: dict[str, Any]
    positive: str | None
    predictions: pd.DataFrame
    features: np.ndarray
    perturbed: dict[str, np.ndarray] = field(default_factory=dict)
    training: pd.DataFrame | None = None
    validation: pd.DataFrame | None = None
    distances: np.ndarray | None = None
    distance_limit: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """The note that the films were or may have been trained on, which belongs beside the headline; empty without it."""
        return next((note for note in self.notes if note.startswith((MAY_BE_TRAINED_ON, TRAINED_ON))), "")
