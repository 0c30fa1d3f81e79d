"""What a run remembers of its training films' features, so that a later film can be told to be unlike them.

Distance to the k-th nearest training feature, features on the unit sphere: Sun, Ming, Zhu and Li, Out-of-Distribution
Detection with Deep Nearest Neighbors, ICML 2022. As there, the limit is the 95th percentile of the distances of held-out
films like the training ones, here those of validation: about 5 % of such films are flagged by construction. Kept are 2,000
training films at most, drawn without regard to patient, source or label, as float16. They name nobody, but they were made
from films: a run folder goes where the films' predictions may go.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.neighbors import NearestNeighbors

from datasets.files import write_aside
from training.run.checkpoint_header import CheckpointError, read_arrays

NAME = "reference.safetensors"
FORMAT = "end-cxr-reference"
FORMAT_VERSION = 1
FILMS = 2000
K = 10  # one in 200 of a full reference: a stray training film, or one patient's two, makes nothing familiar
PERCENTILE = 95
# With fewer validation films the 95th percentile is their largest distance, which says little.
MINIMUM_FILMS = 20
BLOCK = 10_000  # films whose distances are computed at a time


@dataclass(frozen=True, eq=False)
class Reference:
    """Training films' features, and how far validation films are from them.

    Attributes:
        features: films x width, float16, of length 1.
        rows: row of each film in the cohort's table, int64: with the run's predictions and data folder the way to the film.
        validation_distances: of each validation film, float32.
        k: the neighbour whose distance counts, from 1.
    """

    features: np.ndarray
    rows: np.ndarray
    validation_distances: np.ndarray
    k: int

    @classmethod
    def of(
        cls, train_features: np.ndarray, validation_features: np.ndarray, seed: int, rows: np.ndarray | None = None
    ) -> "Reference":
        """Draw the training films to remember and measure the validation films against them.

        Args:
            train_features: films x width, one film or more.
            validation_features: films x width, or none.
            seed: of the draw.
            rows: of the training films in the cohort's table; None numbers them from 0.
        """
        drawn = np.sort(np.random.default_rng(seed).permutation(len(train_features))[:FILMS])
        kept = on_unit_sphere(train_features[drawn]).astype(np.float16)
        rows = np.arange(len(train_features)) if rows is None else rows
        reference = cls(kept, rows[drawn].astype(np.int64), np.empty(0, np.float32), min(K, len(kept)))
        return dataclasses.replace(reference, validation_distances=reference.distances(validation_features))

    @property
    def limit(self) -> float:
        """Distance beyond which a film counts as unlike the training films; NaN below 20 validation films."""
        if len(self.validation_distances) < MINIMUM_FILMS:
            return math.nan
        return float(np.percentile(self.validation_distances, PERCENTILE, method="higher"))

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Euclidean distance (0 to 2) of each film to its k-th nearest training film, float32.

        Args:
            features: films x width, of the model that the reference was made with, as it gave them; a film with a
                feature that is no number is infinitely far.

        Raises:
            ValueError: features of another width.
        """
        found = np.full(len(features), np.inf, np.float32)
        if len(features):
            finite, distances, _ = self._neighbours(features, self.k, np.arange(len(self.features)))
            found[finite] = distances[:, -1]
        return found

    def nearest(self, feature: np.ndarray, among: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest of some of the training films to one film.

        Args:
            feature: of the film, width.
            among: which of the kept training films are looked at.
            count: how many to return at most.

        Returns:
            Their positions among the kept ones, nearest first, and their distances (0 to 2); none for a feature that is no
            number.
        """
        finite, distances, found = self._neighbours(feature[None], min(count, len(among)), among)
        return (among[found[0]], distances[0]) if len(finite) else (np.empty(0, np.int64), np.empty(0, np.float32))

    def _neighbours(self, features: np.ndarray, k: int, among: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which films have finite features, and of these the distances and places of the k nearest."""
        if features.shape[1] != self.features.shape[1]:
            raise ValueError(
                f"features of {features.shape[1]} numbers a film, the reference has {self.features.shape[1]}: "
                "it was made with another model"
            )
        neighbours = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(self.features[among].astype(np.float32))
        finite = np.flatnonzero(np.isfinite(features).all(axis=1))
        distances, places = np.empty((len(finite), k), np.float32), np.empty((len(finite), k), np.int64)
        for first in range(0, len(finite), BLOCK):
            part = slice(first, first + BLOCK)
            distances[part], places[part] = neighbours.kneighbors(on_unit_sphere(features[finite[part]]))
        return finite, distances, places


def on_unit_sphere(features: np.ndarray) -> np.ndarray:
    """Features divided by their length, float32; those of length 0 stay 0."""
    features = features.astype(np.float32)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.divide(features, length, out=np.zeros_like(features), where=length > 0)


def save_reference(reference: Reference, run: Path) -> None:
    """Write `reference.safetensors` into the run folder, whole or not at all."""
    arrays = {
        "features": reference.features,
        "rows": reference.rows,
        "validation_distances": reference.validation_distances,
    }
    metadata = {"format": FORMAT, "version": str(FORMAT_VERSION), "header": json.dumps({"k": reference.k})}
    write_aside(run / NAME, lambda file: save_file(arrays, file, metadata=metadata))


def load_reference(run: Path) -> Reference | None:
    """Read it from a run folder; None where the run has none, as those of before there were references.

    Raises:
        CheckpointError: a file that is not safetensors, another format or version, arrays that can't be a reference.
    """
    file = run / NAME
    if not file.is_file():
        return None
    metadata, arrays = read_arrays(file, FORMAT, FORMAT_VERSION)
    try:
        k = json.loads(metadata["header"])["k"]
        reference = Reference(arrays["features"], arrays["rows"], arrays["validation_distances"], k)
    except (KeyError, TypeError, ValueError) as error:
        detail = f"entry {error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{file} is broken: {detail}") from None
    features, held, k = reference.features, reference.validation_distances, reference.k
    whole = features.ndim == 2 and reference.rows.shape == (len(features),) and held.ndim == 1
    whole = whole and isinstance(k, int) and 1 <= k <= len(features)
    if not whole or not np.isfinite(features).all() or np.isnan(held).any():
        raise CheckpointError(f"{file} is broken: its features, distances and k are no reference")
    return reference
