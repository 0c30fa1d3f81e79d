"""What a run remembers of its training films' features, so that a later film can be told to be unlike them.

Distance to the k-th nearest training feature, features on the unit sphere: Sun, Ming, Zhu and Li, Out-of-Distribution
Detection with Deep Nearest Neighbors, ICML 2022. As there, the limit is the 95th percentile of the distances of held-out
films like the training ones, here those of validation: about 5 % of such films are flagged by construction. Kept are 2,000
training films at most, drawn without regard to patient, source or label, as float16. They name nobody, but they were made
from films: a run folder goes where the films' predictions may go.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.neighbors import NearestNeighbors

from training.checkpoint import CheckpointError, write_aside

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
        validation_distances: of each validation film, float32.
        k: the neighbour whose distance counts, from 1.
    """

    features: np.ndarray
    validation_distances: np.ndarray
    k: int

    @classmethod
    def of(cls, train_features: np.ndarray, validation_features: np.ndarray, seed: int) -> "Reference":
        """Draw the training films to remember and measure the validation films against them.

        Args:
            train_features: films x width, one film or more.
            validation_features: films x width, or none.
            seed: of the draw.
        """
        drawn = np.sort(np.random.default_rng(seed).permutation(len(train_features))[:FILMS])
        kept = on_unit_sphere(train_features[drawn]).astype(np.float16)
        reference = cls(kept, np.empty(0, np.float32), min(K, len(kept)))
        return cls(kept, reference.distances(validation_features), reference.k)

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
        if not len(features):
            return found
        if features.shape[1] != self.features.shape[1]:
            raise ValueError(
                f"features of {features.shape[1]} numbers a film, the reference has {self.features.shape[1]}: "
                "it was made with another model"
            )
        neighbours = NearestNeighbors(n_neighbors=self.k, algorithm="brute").fit(self.features.astype(np.float32))
        finite = np.flatnonzero(np.isfinite(features).all(axis=1))
        for first in range(0, len(finite), BLOCK):
            at = finite[first : first + BLOCK]
            found[at] = neighbours.kneighbors(on_unit_sphere(features[at]))[0][:, -1]
        return found


def on_unit_sphere(features: np.ndarray) -> np.ndarray:
    """Features divided by their length, float32; those of length 0 stay 0."""
    features = features.astype(np.float32)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.divide(features, length, out=np.zeros_like(features), where=length > 0)


def save_reference(reference: Reference, run: Path) -> None:
    """Write `reference.safetensors` into the run folder, whole or not at all."""
    arrays = {"features": reference.features, "validation_distances": reference.validation_distances}
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
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: numbers that NumPy doesn't know
        raise CheckpointError(f"{file} is not a safetensors file ({error}); other formats are never loaded") from None
    written = metadata.get("format"), metadata.get("version")
    if written != (FORMAT, str(FORMAT_VERSION)):
        raise CheckpointError(
            f"{file} has format {written[0]!r}, version {written[1]}; this package reads {FORMAT!r}, {FORMAT_VERSION}"
        )
    try:
        reference = Reference(arrays["features"], arrays["validation_distances"], json.loads(metadata["header"])["k"])
    except (KeyError, TypeError, ValueError) as error:
        detail = f"entry {error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{file} is broken: {detail}") from None
    features, held, k = reference.features, reference.validation_distances, reference.k
    whole = features.ndim == 2 and held.ndim == 1 and isinstance(k, int) and 1 <= k <= len(features)
    if not whole or not np.isfinite(features).all() or np.isnan(held).any():
        raise CheckpointError(f"{file} is broken: its features, distances and k are no reference")
    return reference
