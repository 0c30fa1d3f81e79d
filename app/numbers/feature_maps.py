"""The features of fixed films after each epoch: maps of them in a plane, and the pairs of films that EnD acts on."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from app.numbers.pairs import JUDGED

RIGHT, MISSED, FALSE_ALARM, OTHER = "right", "missed", "false alarm", "wrong class"
OUTCOMES = (RIGHT, MISSED, FALSE_ALARM, OTHER)
SHARED_SOURCE, SHARED_TARGET = "same source, other label", "same label, other source"


class FeatureError(ValueError):
    """Features that can't be drawn; the message is a sentence that names no path."""


@dataclass(frozen=True, eq=False)
class ProbeFilms:
    """A run's probe set: test and external films whose features were kept after each epoch."""

    films: pd.DataFrame  # columns row, file, split, source, target, score, prediction, outcome (one of `OUTCOMES`)
    sphere: dict[int, np.ndarray]  # films x width on the unit sphere, float32, by the number of epochs trained


class Plane(NamedTuple):
    """Films in the plane in which they vary most over all epochs of a run."""

    positions: dict[int, np.ndarray]  # films x 2 by epoch
    share: tuple[float, float]  # of all variance, for each axis


class PairCosines(NamedTuple):
    """Mean cosine of two kinds of pairs of films, NaN where there is no such pair."""

    shared_source: float  # of one source and different targets
    shared_target: float  # of one target and different sources


def probe_films(
    rows: np.ndarray, features: dict[int, np.ndarray], predictions: pd.DataFrame | None, positive: str
) -> ProbeFilms:
    """Join a run's probe set (`training.loop.probe_set.ProbeSet`) with its predictions of the same films, where it kept any.

    Raises FeatureError for no predictions, films without a prediction, and features that are NaN or infinite.
    """
    if predictions is None:
        raise FeatureError("it kept no predictions, so nothing is known of its films")
    if not features or not len(rows):
        raise FeatureError("its probe set holds no features")
    known = predictions[predictions["split"].isin(JUDGED)].drop_duplicates("row").set_index("row")
    if not np.isin(rows, known.index).all():
        raise FeatureError("its probe set and its predictions are not of the same films")
    if not all(np.isfinite(values).all() for values in features.values()):
        raise FeatureError("some of its features are NaN or infinite")
    films = known.loc[rows, ["file", "split", "source", "target", "score", "prediction"]].reset_index(names="row")
    films["outcome"] = outcomes(films["target"], films["prediction"], positive)
    return ProbeFilms(films, {epoch: on_sphere(values) for epoch, values in features.items()})


def outcomes(target: pd.Series, prediction: pd.Series, positive: str) -> np.ndarray:
    """Each film as one of `OUTCOMES`."""
    chosen = [target == prediction, target == positive, prediction == positive]
    return np.select([case.to_numpy(bool) for case in chosen], [RIGHT, MISSED, FALSE_ALARM], OTHER)


def on_sphere(features: np.ndarray) -> np.ndarray:
    """Features (films x width) of length 1, float32, as the terms of EnD see them; a feature of length 0 stays so."""
    wide = features.astype(np.float32)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def same_films(first: ProbeFilms, second: ProbeFilms) -> bool:
    """Whether a row number means one film in both runs."""
    left, right = (run.films.set_index("row")["file"] for run in (first, second))
    shared = left.index.intersection(right.index)
    return len(shared) > 0 and bool((left[shared] == right[shared]).all())


def principal_plane(sphere: dict[int, np.ndarray]) -> Plane:
    """The two main components, fitted once over all epochs, so that films move and the axes stay."""
    from sklearn.decomposition import PCA

    together = np.concatenate(list(sphere.values()))
    components = min(2, *together.shape)
    with np.errstate(invalid="ignore"):  # features that are all the same have no variance
        pca = PCA(components, svd_solver="covariance_eigh").fit(together)
    padded = np.zeros(2)
    padded[:components] = np.nan_to_num(pca.explained_variance_ratio_)
    positions = {}
    for epoch, values in sphere.items():
        positions[epoch] = np.zeros((len(values), 2))
        positions[epoch][:, :components] = pca.transform(values)
    return Plane(positions, (float(padded[0]), float(padded[1])))


def perplexity(films: int) -> float:
    """How many neighbours a film has in t-SNE: 30, fewer where there are fewer than 91 films."""
    return min(30.0, (films - 1) / 3)


def neighbour_map(sphere: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Films x 2 by t-SNE, in [-1, 1]; seeded, and started from films x 2, so that maps of one run resemble each other."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    flat = start.astype(np.float32)
    flat = flat / max(float(flat[:, 0].std()), 1e-12) * 1e-4  # as small as a random start, so that films can pass
    if len(sphere) >= 8:
        tsne = TSNE(perplexity=perplexity(len(sphere)), init=flat, random_state=0, max_iter=500)
        with threadpool_limits(1):  # a few hundred films: threads would only wait for one another
            flat = tsne.fit_transform(sphere)
    return np.asarray(flat / max(float(np.abs(flat).max()), 1e-12), float)


def pair_cosines(sphere: np.ndarray, target: np.ndarray, source: np.ndarray) -> PairCosines:
    """Mean cosines of the pairs that EnD acts on, of films x width on the sphere, from sums over groups: linear in films."""
    wide = sphere.astype(float)
    cells, cell = np.unique(np.stack([codes(target), codes(source)], axis=1), axis=0, return_inverse=True)
    cell = cell.ravel()
    sums = np.zeros((len(cells), wide.shape[1]))
    np.add.at(sums, cell, wide)
    counts = np.bincount(cell, minlength=len(cells)).astype(float)
    return PairCosines(_across(sums, counts, cells[:, 1]), _across(sums, counts, cells[:, 0]))


def codes(values: np.ndarray) -> np.ndarray:
    """Values as whole numbers from 0, equal for equal values."""
    return np.unique(np.asarray(values, dtype=str), return_inverse=True)[1].ravel()


def cosines_by_epoch(run: ProbeFilms) -> pd.DataFrame:
    """Columns epoch, pairs (`SHARED_SOURCE` or `SHARED_TARGET`), cosine."""
    target, source = (run.films[name].to_numpy() for name in ("target", "source"))
    cosines = {epoch: pair_cosines(sphere, target, source) for epoch, sphere in run.sphere.items()}
    kinds = (SHARED_SOURCE, SHARED_TARGET)
    records = [(epoch, *row) for epoch, pair in cosines.items() for row in zip(kinds, pair, strict=True)]
    return pd.DataFrame(records, columns=["epoch", "pairs", "cosine"])


def _across(sums: np.ndarray, counts: np.ndarray, group: np.ndarray) -> float:
    """Mean cosine of pairs of one group and different cells, from the cells' sums and counts."""
    cosines = pairs = 0.0
    for value in np.unique(group):
        members = group == value
        cosines += float((sums[members].sum(0) ** 2).sum() - (sums[members] ** 2).sum()) / 2
        pairs += float(counts[members].sum() ** 2 - (counts[members] ** 2).sum()) / 2
    return cosines / pairs if pairs else float("nan")
