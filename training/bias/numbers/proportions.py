"""Intervals of numbers from 0 to 1 that hold near 0 and 1, where no resample of patients differs from the sample.

Each number is read as the share of successes among so many independent trials, and its interval is Wilson's (JASA 1927) or
the wider one of Agresti and Coull (The American Statistician 1998). The trials of a share are its effective patients, more
where films of a patient differ (Korn and Graubard, Survey Methodology 1998: the share's variance says how much). Those of an
AUROC follow from its variance by Hanley and McNeil (Radiology 1982), as in Newcombe, Statistics in Medicine 2006, method 5.
Differences: Newcombe, Statistics in Medicine 1998, method 10. All pairs of groups at once: the studentised
range (Tukey). Ratios: Miettinen and Nurminen, Statistics in Medicine 1985.
"""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, studentized_range

Z = float(norm.ppf(0.975))
# How far the observed variance may move the trials of a ranking metric from what the number of patients says.
LEAST_TRIALS, MOST_TRIALS = 0.5, 1.3


@dataclass(frozen=True)
class Trials:
    """How many independent trials a number is worth.

    Attributes:
        least: the fewest that its variance may say; `most` likewise.
        expected: where the variance can't say, as for a share of 0 or 1; None for `least`.
    """

    least: float
    most: float
    expected: float | None = None

    def of(self, estimate: float, variance: float) -> float:
        """The number of trials that gives this variance, within the bounds."""
        spread = estimate * (1 - estimate)
        if not (spread > 1e-12 and variance > 0):
            return self.least if self.expected is None else self.expected
        return float(np.clip(spread / variance, self.least, self.most))


@dataclass(frozen=True)
class AurocTrials:
    """How many independent trials an AUROC over pairs within strata is worth.

    Attributes:
        positives: effective patients of the positive class in each stratum; `negatives` likewise.
        positive_films: the same, were all films independent; `negative_films` likewise.
    """

    positives: np.ndarray
    negatives: np.ndarray
    positive_films: np.ndarray
    negative_films: np.ndarray

    def of(self, estimate: float, variance: float) -> float:
        """The number of trials that gives this variance, not far from what the counts say: the less, the fewer patients."""
        by_patient = auroc_trials(estimate, self.positives, self.negatives)
        by_film = auroc_trials(estimate, self.positive_films, self.negative_films)
        room = MOST_TRIALS + min(self.positives.sum(), self.negatives.sum()) / 100
        return Trials(LEAST_TRIALS * by_patient, room * by_film, by_patient).of(estimate, variance)


@dataclass(frozen=True)
class Bounds:
    """Estimates with what their intervals follow from; one entry a group, NaN trials where `spread` is given instead.

    Attributes:
        trials: independent trials of each number from 0 to 1.
        spread: standard error of each number that has no trials, else NaN.
        wide: whether the intervals are Agresti and Coull's.
    """

    estimate: np.ndarray
    trials: np.ndarray
    spread: np.ndarray
    wide: bool = False

    def at(self, z: float = Z) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds, z standard errors away."""
        low, high = wilson(self.estimate, self.trials, z, self.wide)
        known = ~np.isnan(self.trials)
        away = z * np.where(known, 0, self.spread)
        return np.where(known, low, self.estimate - away), np.where(known, high, self.estimate + away)


def wilson(estimate: np.ndarray, trials: np.ndarray, z: float = Z, wide: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval, or with `wide` Agresti and Coull's about the same centre, cut at 0 and 1."""
    centre = (estimate + z * z / (2 * trials)) / (1 + z * z / trials)
    if wide:
        half = z * np.sqrt(centre * (1 - centre) / (trials + z * z))
    else:
        half = z * np.sqrt(estimate * (1 - estimate) / trials + (z / (2 * trials)) ** 2) / (1 + z * z / trials)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)


def auroc_trials(estimate: float, positives: np.ndarray, negatives: np.ndarray) -> float:
    """Trials that an AUROC over pairs of positives and negatives is worth, by Hanley and McNeil's variance.

    Args:
        positives: effective number of positives in each stratum (pairs are within strata); `negatives` likewise.
    """
    shape = (1 - estimate) / (2 - estimate) + estimate / (1 + estimate)
    pairs = positives * negatives
    inflation = 1 + np.maximum((positives + negatives) / 2 - 1, 0) * shape
    return float(pairs.sum() ** 2 / (pairs * inflation).sum())


def newcombe(
    first: tuple[float, float, float], second: tuple[float, float, float], correlation: float = 0.0
) -> tuple[float, float, float]:
    """`first` minus `second` with its bounds, from both estimates with theirs.

    Args:
        first: estimate, low, high; `second` likewise.
        correlation: of the two estimates.
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    return (
        a - b,
        a - b - _joined(a - a_low, b_high - b, correlation),
        a - b + _joined(a_high - a, b - b_low, correlation),
    )


def ratio_interval(
    first: np.ndarray,
    first_trials: np.ndarray,
    second: np.ndarray,
    second_trials: np.ndarray,
    z: float = Z,
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the ratio of two independent shares, from 0 to infinity: ratios that the score test at z does not refuse."""
    bounds = []
    for upwards in (False, True):
        # The logarithm of the bound lies between these; the test is monotone on either side of the estimate.
        with np.errstate(divide="ignore", invalid="ignore"):
            estimate = np.clip(np.log(first) - np.log(second), -40, 40)
        inside, outside = estimate, np.full_like(estimate, 40.0 if upwards else -40.0)
        for _ in range(60):
            middle = (inside + outside) / 2
            kept = _score_statistic(first, first_trials, second, second_trials, np.exp(middle)) <= z * z
            inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
        bounds.append(np.exp(outside))
    low, high = bounds
    return np.where(first > 0, low, 0.0), np.where(second > 0, high, np.inf)


def widest_gap(*families: Bounds) -> tuple[float, float, float]:
    """Largest difference between two groups, with bounds that hold at once for all pairs of groups of all families.

    The lower bound is above 0 only where some pair of groups differs. Pairs are within a family.
    """
    parts = []
    for bounds in families:
        difference, low, high = _pairs(bounds, critical(len(bounds.estimate), 1 - 0.05 / len(families)))
        parts.append((difference.max(), low.max(), high.max()))
    largest, low, high = np.max(parts, axis=0)
    return float(largest), float(max(0.0, low)), float(min(1.0, high))


def gap_p(bounds: Bounds) -> float:
    """p of no difference between any two groups: the level at which the lower bound of `widest_gap` is 0."""
    count = len(bounds.estimate)
    low, high = 0.0, 40.0
    while high - low > 1e-4:
        z = (low + high) / 2
        low, high = (z, high) if _pairs(bounds, z)[1].max() > 0 else (low, z)
    return float(studentized_range.sf(low * np.sqrt(2), count, np.inf)) if low > 1e-3 else 1.0


def reference_gaps(bounds: Bounds, reference: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Each group minus the reference group: difference, bounds that hold for all of them at once (Sidak), and p.

    The entries of the reference group itself are 0, 0, 0 and NaN.
    """
    others = len(bounds.estimate) - 1
    z = float(norm.isf((1 - 0.95 ** (1 / others)) / 2))
    difference, low, high = (matrix[:, reference] for matrix in _pairs(bounds, z))
    least, most = np.zeros(others + 1), np.full(others + 1, 40.0)
    for _ in range(20):
        middle = (least + most) / 2
        apart = np.array([_differs(bounds, value, group, reference) for group, value in enumerate(middle)])
        least, most = np.where(apart, middle, least), np.where(apart, most, middle)
    p = 1 - (1 - 2 * norm.sf(least)) ** others
    p[reference] = np.nan
    return difference, low, high, np.minimum(p, 1)


def lowest(bounds: Bounds) -> tuple[float, float, float]:
    """Lowest of several groups' numbers, with bounds that hold for all groups at once (Sidak)."""
    z = float(norm.isf((1 - 0.95 ** (1 / len(bounds.estimate))) / 2))
    low, high = bounds.at(z)
    return float(bounds.estimate.min()), float(low.min()), float(high.min())


@functools.lru_cache
def critical(groups: int, level: float = 0.95) -> float:
    """Standard errors of a difference within which all pairs of groups stay at once with this probability."""
    return float(studentized_range.ppf(level, groups, np.inf)) / np.sqrt(2)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Of two numbers' resamples; 0 where either does not vary."""
    known = ~(np.isnan(first) | np.isnan(second))
    if known.sum() < 2 or not (np.ptp(first[known]) > 0 and np.ptp(second[known]) > 0):
        return 0.0
    return float(np.corrcoef(first[known], second[known])[0, 1])


def _pairs(bounds: Bounds, z: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row minus column: difference, low, high of each pair of groups."""
    estimate, (low, high) = bounds.estimate, bounds.at(z)
    below, above = estimate - low, high - estimate
    difference = estimate[:, None] - estimate
    away_low, away_high = np.hypot(below[:, None], above), np.hypot(above[:, None], below)
    return difference, difference - away_low, difference + away_high


def _differs(bounds: Bounds, z: float, group: int, reference: int) -> bool:
    _, low, high = _pairs(bounds, z)
    return bool(low[group, reference] > 0 or high[group, reference] < 0)


def _joined(first: float, second: float, correlation: float) -> float:
    return float(np.sqrt(max(first**2 + second**2 - 2 * correlation * first * second, 0.0)))


def _score_statistic(
    first: np.ndarray, first_trials: np.ndarray, second: np.ndarray, second_trials: np.ndarray, quotient: np.ndarray
) -> np.ndarray:
    """Chi squared of `quotient`, with the shares that are likeliest under it (Miettinen and Nurminen, equation 10)."""
    hits, others = first * first_trials, second * second_trials
    a = (first_trials + second_trials) * quotient
    b = first_trials * quotient + hits + second_trials + others * quotient
    likeliest = (b - np.sqrt(np.maximum(b * b - 4 * a * (hits + others), 0))) / (2 * a)
    expected = likeliest * quotient
    variance = expected * (1 - expected) / first_trials + quotient**2 * likeliest * (1 - likeliest) / second_trials
    total = first_trials + second_trials
    with np.errstate(divide="ignore", invalid="ignore"):
        return (first - quotient * second) ** 2 / (variance * total / (total - 1))
