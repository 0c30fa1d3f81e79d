"""Intervals by resampling patients, never films: films of one patient are not independent.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993. Each resample is a vector of patient weights, so a statistic
of weighted films is computed for all resamples at once.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from training.bias.groups import MINIMUM_PATIENTS


class Interval(NamedTuple):
    """A 95 % interval, NaN where there is too little to conclude from."""

    estimate: float
    low: float
    high: float


def patient_weights(patient: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each film is in each resample of patients, resamples x films.

    Args:
        patient: patient of each film.
        resamples: number of resamples.
        rng: draws them.
    """
    names, index = np.unique(patient, return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return drawn[:, index]


def weighted_auroc(is_positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of weighted films, ties counted half, one value a row of `weights`; NaN where a class has no weight.

    Sorted once; then linear in the films for each row.

    Args:
        is_positive: of each film.
        score: of each film.
        weights: resamples x films, not negative.
    """
    order = np.argsort(score, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])  # where each run of ties begins
    weights, positive = weights[:, order], is_positive[order]
    up = np.add.reduceat(weights * positive, first, axis=1).astype(float)
    down = np.add.reduceat(weights * ~positive, first, axis=1).astype(float)
    below = np.cumsum(down, axis=1) - down
    total = up.sum(1) * down.sum(1)
    wins = (up * (below + down / 2)).sum(1)
    return np.divide(wins, total, out=np.full(len(weights), np.nan), where=total > 0)


def auroc_interval(
    is_positive: np.ndarray, scores: np.ndarray, patient: np.ndarray, resamples: int = 2000, seed: int = 0
) -> Interval:
    """AUROC with its percentile interval over patients; several score columns (seeds) are averaged in each resample.

    NaN below ten patients in either class.

    Args:
        is_positive: of each film.
        scores: films x seeds, or films.
        patient: of each film.
        resamples: of the bootstrap.
        seed: of the resampling; the same seed and patients give the same resamples, so differences pair.
    """
    return _interval(auroc_resamples(is_positive, scores, patient, resamples, seed))


def auroc_difference(
    is_positive: np.ndarray,
    scores: np.ndarray,
    reference: np.ndarray,
    patient: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Interval, float]:
    """AUROC of `scores` minus that of `reference` on the same patients, and the smallest difference detectable here.

    The minimum detectable effect is 2.80 standard errors: power 0.8 at a two-sided level of 0.05.
    """
    ours, theirs = (auroc_resamples(is_positive, s, patient, resamples, seed) for s in (scores, reference))
    gaps = ours - theirs
    if np.isnan(gaps[0]):
        return _interval(gaps), float("nan")
    return _interval(gaps), float((norm.ppf(0.975) + norm.ppf(0.8)) * np.nanstd(gaps[1:], ddof=1))


def auroc_resamples(
    is_positive: np.ndarray, scores: np.ndarray, patient: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """The AUROC as it is, then that of each resample: resamples + 1 values, averaged over score columns."""
    scores = scores.reshape(len(scores), -1)
    few = min(len(np.unique(patient[is_positive])), len(np.unique(patient[~is_positive]))) < MINIMUM_PATIENTS
    if few:
        return np.full(resamples + 1, np.nan)
    weights = np.vstack([np.ones(len(patient), int), patient_weights(patient, resamples, np.random.default_rng(seed))])
    return np.mean([weighted_auroc(is_positive, column, weights) for column in scores.T], axis=0)


def seed_interval(differences: np.ndarray) -> Interval:
    """Mean of paired differences over seeds, with Student's t interval; NaN for a single seed."""
    n, mean = len(differences), float(np.mean(differences))
    if n < 2 or not np.isfinite(differences).all():
        return Interval(mean, float("nan"), float("nan"))
    half = float(t.ppf(0.975, n - 1) * np.std(differences, ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def _interval(values: np.ndarray) -> Interval:
    if np.isnan(values[0]):
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.nanpercentile(values[1:], (2.5, 97.5))
    return Interval(float(values[0]), float(low), float(high))
