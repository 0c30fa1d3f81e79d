"""Features of training films, kept in the run folder to detect outliers among later films.

Distance to the k-th nearest training feature, features on the unit sphere: Sun, Ming, Zhu and Li, Out-of-Distribution
Detection with Deep Nearest Neighbors, ICML 2022. As there, the limit is the 95th percentile of the distances of held-out
films, here those of validation: about 5 % of such films are flagged by construction. At most 2,000 training films are kept,
drawn without regard to patient, source or label, as float16. They name nobody, but they were made from films: share them only
where you may share predictions.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.run.checkpoint_header import CheckpointError, head_digest, read_arrays, write_arrays

NAME = "reference.safetensors"
FORMAT = "end-cxr-reference"
FORMAT_VERSION = 1
FILMS = 2000
K = 10  # one in 200 of a full reference: more than one outlier, or one patient's two films, among the training films
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
            rows: of the training films in the cohort's table; None numbers them from 0.
        """
        drawn = np.sort(np.random.default_rng(seed).permutation(len(train_features))[:FILMS])
        kept = on_unit_sphere(train_features[drawn]).astype(np.float16)
        rows = np.arange(len(train_features)) if rows is None else rows
        reference = cls(kept, rows[drawn].astype(np.int64), np.empty(0, np.float32), min(K, len(kept)))
        return dataclasses.replace(reference, validation_distances=reference.distances(validation_features))

    @property
    def limit(self) -> float:
        """Distance beyond which a film is an outlier; NaN below 20 validation films."""
        if len(self.validation_distances) < MINIMUM_FILMS:
            return math.nan
        return float(np.percentile(self.validation_distances, PERCENTILE, method="higher"))

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Euclidean distance (0 to 2) of each film to its k-th nearest training film, float32.

        Args:
            features: films x width, of the model that the reference was made with; a film with a feature that is NaN or
                infinite is infinitely far.
        """
        distance = np.full(len(features), np.inf, np.float32)
        if len(features):
            finite, to_neighbours, _ = self._neighbours(features, self.k, np.arange(len(self.features)))
            distance[finite] = to_neighbours[:, -1]
        return distance

    def nearest(self, feature: np.ndarray, among: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest of some of the training films to one film.

        Args:
            feature: of the film, width.
            among: which of the kept training films are looked at.

        Returns:
            Their positions among the kept ones, nearest first, and their distances (0 to 2); none where a feature is NaN or
            infinite.
        """
        finite, distances, places = self._neighbours(feature[None], min(count, len(among)), among)
        return (among[places[0]], distances[0]) if len(finite) else (np.empty(0, np.int64), np.empty(0, np.float32))

    def _neighbours(self, features: np.ndarray, k: int, among: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which films have finite features, and of these the distances and places of the k nearest."""
        if features.shape[1] != self.features.shape[1]:
            widths = f"features of {features.shape[1]} numbers a film, the reference has {self.features.shape[1]}"
            raise ValueError(f"{widths}: it was made with another model")
        from sklearn.neighbors import NearestNeighbors  # a second of imports that no score waits for

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
    """Write `reference.safetensors` into the run folder, whole or not at all, with the digest of its checkpoint."""
    arrays = {name: getattr(reference, name) for name in ("features", "rows", "validation_distances")}
    write_arrays(run / NAME, arrays, FORMAT, FORMAT_VERSION, k=reference.k, head=head_digest(run))


def load_reference(run: Path) -> Reference | None:
    """Read it from a run folder; None where the run has none, as runs of early versions.

    A file of another format or version, of arrays that can't be a reference, or of another run, as far as it says of
    which, raises CheckpointError.
    """
    file = run / NAME
    if not file.is_file():
        return None
    metadata, arrays = read_arrays(file, FORMAT, FORMAT_VERSION)
    try:
        header = json.loads(metadata["header"])
        k, head = header["k"], header.get("head")
        reference = Reference(arrays["features"], arrays["rows"], arrays["validation_distances"], k)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        detail = f"entry {error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{file} is broken: {detail}") from None
    features, distances, k = reference.features, reference.validation_distances, reference.k
    whole = features.ndim == 2 and reference.rows.shape == (len(features),) and distances.ndim == 1
    whole = whole and isinstance(k, int) and 1 <= k <= len(features)
    if not whole or not np.isfinite(features).all() or np.isnan(distances).any():
        raise CheckpointError(f"{file} is broken: its features, distances and k don't fit together")
    own = head_digest(run)
    if head and own and head != own:
        raise CheckpointError(f"{file} is of another run than the checkpoint beside it: copy that run's own file there")
    return reference
