"""Intervals by resampling patients, never films: films of one patient are not independent.

A resample is a column of patient weights, so a statistic of weighted films is computed for many resamples at once.
Efron and Tibshirani, An Introduction to the Bootstrap, 1993; BCa: Efron, JASA 1987, and for strata Davison and Hinkley,
Bootstrap Methods and their Application, 1997, section 5.3.2.
"""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from joblib import cpu_count
from scipy.stats import norm, t
from threadpoolctl import ThreadpoolController

from training.bias.numbers.interval import NO_INTERVAL as NO_INTERVAL
from training.bias.numbers.interval import Interval as Interval
from training.bias.numbers.metrics import MINIMUM_PATIENTS, Statistic

# Below this many patients, a cell could lose so many in a resample that it is hardly measured: cells are strata then.
FEW_PATIENTS = 30
# Patient weights that a thread holds at a time: enough to be worth a call, few enough for the cache.
CHUNK = 2**19
TAILS = np.array([0.025, 0.975])


def resampling_strata(patient: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Stratum of each patient, within which patients are drawn; all 0 where no stratum is needed.

    Where a source x target cell that can be measured has fewer than 30 patients, patients are drawn within their profile
    (the cells they have films in), so that no such cell vanishes; profiles of fewer than ten patients are one stratum.

    Args:
        patient: index of each film's patient, 0 to patients - 1.
    """
    cell = np.unique(np.stack([source, target], axis=1), axis=0, return_inverse=True)[1].ravel()
    patient_cells = np.unique(np.stack([patient, cell], axis=1), axis=0)
    size = np.bincount(patient_cells[:, 1])
    patients = int(patient.max()) + 1
    if not ((size >= MINIMUM_PATIENTS) & (size < FEW_PATIENTS)).any():
        return np.zeros(patients, int)
    first = np.searchsorted(patient_cells[:, 0], np.arange(patients))
    profiles: dict[tuple[int, ...], int] = {}
    cells = np.split(patient_cells[:, 1], first[1:])
    stratum = np.array([profiles.setdefault(tuple(c.tolist()), len(profiles)) for c in cells])
    return np.where(np.bincount(stratum)[stratum] < MINIMUM_PATIENTS, len(profiles), stratum)


def bootstrap(statistic: Statistic, stratum: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Statistics x resamples over patients drawn with replacement within strata.

    The same seed and strata give the same resamples, whatever the statistic.
    """
    members = [np.flatnonzero(stratum == value) for value in np.unique(stratum)]

    def draw(first: int, count: int) -> np.ndarray:
        rng = np.random.default_rng([seed, first])
        weights = np.empty((count, len(stratum)))
        for row in weights:
            for patients in members:
                picked = rng.integers(len(patients), size=len(patients), dtype=np.int32)
                row[patients] = np.bincount(picked, minlength=len(patients))
        return np.ascontiguousarray(weights.T)

    return over_chunks(statistic, draw, len(stratum), resamples)


def jackknife(statistic: Statistic, patients: int) -> np.ndarray:
    """Statistics x patients, each patient left out in turn."""

    def draw(first: int, count: int) -> np.ndarray:
        weights = np.ones((patients, count))
        weights[np.arange(first, first + count), np.arange(count)] = 0
        return weights

    return over_chunks(statistic, draw, patients, patients)


def permutation(statistic: Statistic, patients: int, permutations: int, seed: int) -> np.ndarray:
    """Statistics x permutations, each patient's two models swapped with probability one half.

    Args:
        statistic: of whether each patient is swapped, 0 or 1, patients x permutations.
    """

    def draw(first: int, count: int) -> np.ndarray:
        return np.random.default_rng([seed, first]).integers(2, size=(patients, count)).astype(float)

    return over_chunks(statistic, draw, patients, permutations)


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS on one thread while inside: the problems are small, and its threads would wait for one another."""
    with _libraries().limit(limits=1):
        yield


@functools.cache
def _libraries() -> ThreadpoolController:
    """Finding the loaded libraries takes longer than many a problem."""
    return ThreadpoolController()


def over_chunks(
    statistic: Statistic, draw: Callable[[int, int], np.ndarray], patients: int, columns: int
) -> np.ndarray:
    """A statistic of many columns of weights, a cache's worth at a time, on every core that this process may use.

    Args:
        draw: weights of patients x count from the first column and the count.
    """
    size = max(4, min(64, CHUNK // patients))
    with one_thread(), ThreadPoolExecutor(cpu_count()) as pool:
        parts = pool.map(lambda first: statistic(draw(first, min(size, columns - first))), range(0, columns, size))
        return np.concatenate(list(parts), axis=1)


def intervals(
    statistic: Statistic, stratum: np.ndarray, resamples: int, seed: int
) -> tuple[list[Interval], list[str], np.ndarray]:
    """95 % interval of each statistic, its method (`BCa`, `percentile` or empty), and statistics x resamples.

    BCa where there are no more patients than resamples (it needs one evaluation a patient), else percentile.
    """
    patients = len(stratum)
    estimate = statistic(np.ones((patients, 1)))[:, 0]
    drawn = bootstrap(statistic, stratum, resamples, seed)
    left_out = jackknife(statistic, patients) if patients <= resamples else np.full((len(drawn), patients), np.nan)
    results = [bca(*numbers, stratum) for numbers in zip(estimate, drawn, left_out, strict=True)]
    return [interval for interval, _ in results], [method for _, method in results], drawn


def bca(estimate: float, drawn: np.ndarray, left_out: np.ndarray, stratum: np.ndarray) -> tuple[Interval, str]:
    """Bias-corrected accelerated interval and `BCa`, or the percentile interval and `percentile` where it is undefined.

    It is undefined where every resample lies on one side of the estimate or a jackknife value is NaN. Resamples in which
    the statistic is NaN are left out.

    Args:
        left_out: the statistic with each patient left out.
    """
    percentile = percentile_interval(estimate, drawn)
    if np.isnan(percentile.estimate):
        return percentile, ""
    drawn = drawn[~np.isnan(drawn)]
    share = float((drawn < estimate).mean() + (drawn == estimate).mean() / 2)
    centre = np.bincount(stratum, weights=left_out)[stratum] / np.bincount(stratum)[stratum]
    influence = centre - left_out
    spread = float((influence**2).sum())
    if not (0 < share < 1 and spread > 0):
        return percentile, "percentile"
    bias, acceleration = norm.ppf(share), float((influence**3).sum()) / (6 * spread**1.5)
    z = bias + norm.ppf(TAILS)
    low, high = np.quantile(drawn, norm.cdf(bias + z / (1 - acceleration * z)))
    return Interval(float(estimate), float(low), float(high)), "BCa"


def percentile_interval(estimate: float, drawn: np.ndarray) -> Interval:
    """The middle 95 % of the resamples in which the statistic is defined; NaN where it is NaN for the sample itself."""
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(estimate) or not len(drawn):
        return NO_INTERVAL
    low, high = np.quantile(drawn, TAILS)
    return Interval(float(estimate), float(low), float(high))


def permutation_p(observed: float, permuted: np.ndarray) -> float:
    """Two-sided p: share of permutations at least as far from 0, the observed one counted among them."""
    # A relative margin, so that rounding doesn't decide about permutations that equal the observed difference.
    return float((1 + (np.abs(permuted) >= abs(observed) * (1 - 1e-9)).sum()) / (1 + len(permuted)))


def detectable_difference(drawn: np.ndarray, level: float = 0.05) -> float:
    """Smallest difference found with power 0.8 at a two-sided level: 2.80 standard errors of resampled ones at 0.05."""
    return float((norm.isf(level / 2) + norm.ppf(0.8)) * np.nanstd(drawn, ddof=1))


def seed_interval(differences: np.ndarray) -> Interval:
    """Mean of paired differences over seeds, with Student's t interval; NaN for a single seed."""
    n, mean = len(differences), float(np.mean(differences))
    if n < 2 or not np.isfinite(differences).all():
        return Interval(mean, float("nan"), float("nan"))
    half = float(t.ppf(0.975, n - 1) * np.std(differences, ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half)
