"""What one checkpoint brings to the audit: its predictions and features, and what is known of its training films."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

PERTURBED_FILMS = 500  # unless asked otherwise
NEEDED = ("file", "patient", "source", "target", "score", "prediction")  # columns of the predictions
MAY_BE_TRAINED_ON = "Some of these films may be films that the run was trained on"
TRAINED_ON = "The run was trained or calibrated on"


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

    def require_sound(self) -> None:
        """Raises PredictionsError where predictions and features don't fit together, or targets are no class names."""
        from training.bias.numbers.metrics import (  # scikit-learn, for which no page waits
            PredictionsError,
            require_columns,
        )

        require_columns(self.predictions, NEEDED if self.positive is not None else [n for n in NEEDED if n != "score"])
        if not isinstance(self.features, np.ndarray):
            raise PredictionsError(f"{self.name}: features are {type(self.features).__name__}: give a numpy array")
        if nameless := int(self.predictions["patient"].isna().sum()):
            raise PredictionsError(f"{self.name}: {nameless} predictions have no patient")
        if self.positive is not None and not pd.api.types.is_numeric_dtype(self.predictions["score"]):
            raise PredictionsError(f"{self.name}: scores must be numbers, not {self.predictions['score'].dtype}")
        films, shape = len(self.predictions), np.shape(self.features)
        if len(shape) != 2 or shape[0] != films:
            raise PredictionsError(
                f"{self.name}: features of shape {shape} for {films} predictions: a row of numbers for each film is needed"
            )
        if not np.isfinite(self.features).all():
            raise PredictionsError(f"{self.name}: features must be numbers, without NaN and infinity")
        for column in ("target", "prediction"):
            values = self.predictions[column].dropna()
            for strange in (value for value in values if not isinstance(value, str)):
                raise PredictionsError(
                    f"{self.name}: the column {column} holds {strange!r}: write the names of the classes as text, such as "
                    f"{self.positive or 'covid'}, and None where a film has no label"
                )
        targets = set(self.predictions["target"].dropna())
        classes = targets | set(self.predictions["prediction"].dropna())
        meant = next((name for name in classes if name.casefold() == str(self.positive).casefold()), None)
        if meant is not None and self.positive not in classes:
            raise PredictionsError(f"{self.name}: no film has or is called {self.positive!r}: did you mean {meant!r}?")
        if (
            self.positive is not None
            and len(targets) > 1
            and not targets & {self.positive, *self.predictions["prediction"]}
        ):
            raise PredictionsError(
                f"{self.name}: targets are {', '.join(sorted(targets))}, none of which is predicted or the positive class "
                f"{self.positive}: write both columns in the same class names"
            )
