"""Numbers of the same patients over several trainings: means and differences with intervals over patients and seeds.

Seeds are to a method what readers are to a modality, so this is the analysis of multi-reader, multi-case studies (Obuchowski
and Rockette, Communications in Statistics: Simulation and Computation 1995). The variance of a mean over seeds is

    variance between seeds / number of seeds  +  covariance of two seeds, over patients

The first shrinks with every seed. With one sample of patients it is unbiased for few seeds too, where resampled seeds would
be (seeds - 1) / seeds too close; it holds what seeds and patients do together. Where seeds redraw training patients it holds
that draw. The second, which all seeds share, is of the jackknife over patients. Critical values are those of Student's t for
either part, weighted by the parts (Cochran and Cox, Experimental Designs, 1957): with Satterthwaite's degrees of freedom, as
is common, three seeds call equal methods different too often. Near 1 the interval is the wider of this and Newcombe's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import t

from training.bias.numbers.auroc import NEARLY_ALL, PairFilms, aurocs_by_column
from training.bias.numbers.compare import LEVEL, holm
from training.bias.numbers.interval import NO_INTERVAL, Interval
from training.bias.numbers.metrics import Statistic, ratio
from training.bias.numbers.proportions import AurocTrials, Bounds, Trials, newcombe
from training.bias.numbers.uncertainty import jackknife
from training.bias.numbers.weighting import MINIMUM_PATIENTS, effective, effective_patients, film_weights

POWER = 0.8
# Patients are left out one by one, or of more than these in as many groups.
MOST_GROUPS = 1000


@dataclass(frozen=True)
class SeedMean:
    """Mean of a number over seeds, with the two parts of its variance.

    Attributes:
        from_patients: what all seeds share.
        from_seeds: 0 for a single seed, whose number stands for no other.
        patients: how many the first is estimated from.
    """

    estimate: float
    from_patients: float
    from_seeds: float
    seeds: int
    patients: int

    @property
    def variance(self) -> float:
        """Of the estimate."""
        return self.from_patients + self.from_seeds

    def critical(self, level: float) -> float:
        """How many standard errors from the estimate a two-sided interval at this level reaches."""
        of_patients = float(t.isf(level / 2, self.patients - 1))
        if not self.from_seeds:
            return of_patients
        of_seeds = float(t.isf(level / 2, self.seeds - 1))
        return (self.from_patients * of_patients + self.from_seeds * of_seeds) / self.variance


class SeedDifference(NamedTuple):
    """Mean over seeds of a paired difference; all NaN, or but the estimate, where nothing can be concluded.

    Attributes:
        interval: 95 %, over patients and seeds.
        p: two-sided, of no difference; below 0.05 exactly where the interval excludes 0.
        error: standard error.
        mean: what they follow from; None where nothing can be concluded.
    """

    interval: Interval
    p: float
    error: float
    mean: SeedMean | None

    def detectable(self, level: float = LEVEL) -> float:
        """Smallest true difference that is found with power 0.8 at a two-sided level."""
        if self.mean is None:
            return float("nan")
        return self.error * (self.mean.critical(level) + self.mean.critical(2 * (1 - POWER)))


class Judgement(NamedTuple):
    """What a row of a table of differences says.

    Attributes:
        p_holm: corrected for all rows of the table.
        detectable: smallest difference found with power 0.8 at the level that the first of these rows has to meet.
        verdict: `better`, `worse` or `cannot conclude`.
    """

    p_holm: float
    detectable: float
    verdict: str


def judged(differences: Sequence[SeedDifference], lower_is_better: Sequence[bool] = ()) -> list[Judgement]:
    """The rows of one table, corrected by Holm (Scandinavian Journal of Statistics 1979) over those that have a p.

    Args:
        lower_is_better: of each row; none by default.
    """
    p = np.array([difference.p for difference in differences])
    level = LEVEL / max(int((~np.isnan(p)).sum()), 1)
    found = []
    for difference, adjusted, lower in zip(differences, holm(p), lower_is_better or [False] * len(p), strict=True):
        gain = -difference.interval.estimate if lower else difference.interval.estimate
        verdict = ("better" if gain > 0 else "worse") if adjusted < LEVEL else "cannot conclude"
        found.append(Judgement(float(adjusted), difference.detectable(level), verdict))
    return found


def seed_mean(statistic: Statistic, patients: int) -> SeedMean:
    """Mean over seeds.

    Args:
        statistic: from weights of patients x resamples to seeds x resamples.
    """
    return mean_of_seeds(*over_patients(statistic, patients))


def over_patients(statistic: Statistic, patients: int) -> tuple[np.ndarray, np.ndarray]:
    """A statistic of all patients (seeds), and with each group of them left out in turn (seeds x groups)."""
    groups = min(patients, MOST_GROUPS)
    group = np.arange(patients) % groups
    return statistic(np.ones((patients, 1)))[:, 0], jackknife(lambda weights: statistic(weights[group]), groups)


def mean_of_seeds(values: np.ndarray, left_out: np.ndarray) -> SeedMean:
    """Mean over seeds, from what `over_patients` returns or from the difference of two such returns."""
    seeds, groups = left_out.shape
    covariance = np.cov(left_out).reshape(seeds, seeds) * (groups - 1) ** 2 / groups
    if seeds == 1:
        return SeedMean(float(values[0]), float(covariance[0, 0]), 0.0, 1, groups)
    shared = (covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1))
    return SeedMean(float(values.mean()), max(float(shared), 0.0), float(np.var(values, ddof=1)) / seeds, seeds, groups)


def auroc_over_seeds(
    is_positive: np.ndarray, scores: np.ndarray, patient: np.ndarray, stratum: np.ndarray | None = None
) -> Interval:
    """Mean AUROC over seeds with its interval over patients and seeds; of a single seed over patients alone.

    Args:
        scores: films x seeds.
        stratum: of each film; only pairs of films within a stratum count.
    """
    films = PairFilms.read(is_positive, patient, stratum)
    if not films.enough:
        return NO_INTERVAL
    return _alone(seed_mean(_aurocs(films, scores), films.patients), films.worth)


def auroc_difference_over_seeds(
    is_positive: np.ndarray,
    scores: np.ndarray,
    reference: np.ndarray,
    patient: np.ndarray,
    stratum: np.ndarray | None = None,
) -> SeedDifference:
    """Mean AUROC of `scores` minus that of `reference`; arguments as for `auroc_over_seeds`.

    Args:
        reference: the other method's, films x seeds; equal seeds share their draw of training patients.
    """
    films = PairFilms.read(is_positive, patient, stratum)
    if not films.enough:
        return NOT_KNOWN
    return _difference(_aurocs(films, scores), _aurocs(films, reference), films.patients, films.worth)


def share_over_seeds(hit: np.ndarray, patient: np.ndarray, target: np.ndarray) -> Interval:
    """Mean share of films over seeds, such as an accuracy, with its interval over patients and seeds.

    Args:
        hit: films x seeds, 1 for each film that counts (called right) and 0 for the others.
        target: index of each film's class, within which `film_weights` weights films.
    """
    films = _ShareFilms.read(patient, target)
    return _alone(seed_mean(films.shares(hit), films.patients), films.worth) if films.enough else NO_INTERVAL


def share_difference_over_seeds(
    hit: np.ndarray, reference: np.ndarray, patient: np.ndarray, target: np.ndarray
) -> SeedDifference:
    """Mean share of `hit` minus that of `reference`; arguments as for `share_over_seeds`."""
    films = _ShareFilms.read(patient, target)
    if not films.enough:
        return NOT_KNOWN
    return _difference(films.shares(hit), films.shares(reference), films.patients, films.worth)


def difference_of_seeds(gaps: np.ndarray) -> SeedDifference:
    """Mean of paired differences over seeds alone, each from a sample of its own; NaN for a single seed.

    Args:
        gaps: of each seed.
    """
    seeds = len(gaps)
    if seeds < 2:
        return NOT_KNOWN._replace(interval=NO_INTERVAL._replace(estimate=float(np.mean(gaps))))
    return _by_t(SeedMean(float(np.mean(gaps)), 0.0, float(np.var(gaps, ddof=1)) / seeds, seeds, seeds))


NOT_KNOWN = SeedDifference(NO_INTERVAL, float("nan"), float("nan"), None)


class _ShareFilms(NamedTuple):
    """Films of which shares are taken: index of each film's patient, and its weight."""

    patient: np.ndarray
    weight: np.ndarray

    @classmethod
    def read(cls, patient: np.ndarray, target: np.ndarray) -> "_ShareFilms":
        index = np.unique(patient, return_inverse=True)[1]
        return cls(index, film_weights(index, np.unique(target, return_inverse=True)[1]))

    @property
    def patients(self) -> int:
        return int(self.patient.max(initial=-1)) + 1

    @property
    def enough(self) -> bool:
        return effective_patients(self.patient, self.weight) >= MINIMUM_PATIENTS - 1e-6

    @property
    def worth(self) -> Trials:
        return Trials(effective_patients(self.patient, self.weight), effective(self.weight))

    def shares(self, hit: np.ndarray) -> Statistic:
        films = np.bincount(self.patient, self.weight)
        hits = np.stack([np.bincount(self.patient, self.weight * column) for column in hit.T])

        def values(weights: np.ndarray) -> np.ndarray:
            counted = hits @ weights
            return ratio(counted, np.broadcast_to(films @ weights, counted.shape))

        return values


def _aurocs(films: PairFilms, scores: np.ndarray) -> Statistic:
    return aurocs_by_column(films.is_positive, films.columns(scores), films.patient, films.stratum)


def _difference(other: Statistic, reference: Statistic, patients: int, worth: Trials | AurocTrials) -> SeedDifference:
    first, second = over_patients(other, patients), over_patients(reference, patients)
    both = mean_of_seeds(*first), mean_of_seeds(*second)
    gap = mean_of_seeds(*(a - b for a, b in zip(first, second, strict=True)))
    if gap.seeds < 2:
        return NOT_KNOWN._replace(interval=NO_INTERVAL._replace(estimate=gap.estimate))
    if 1 - NEARLY_ALL <= min(m.estimate for m in both) <= max(m.estimate for m in both) <= NEARLY_ALL:
        return _by_t(gap)
    # Student's holds the 0 of equal methods, Newcombe's a difference that the border at 1 skews: both must exclude 0.
    found = [_by_t(gap), _by_newcombe(*both, gap, worth)]
    low, high = (bound(getattr(f.interval, name) for f in found) for bound, name in ((min, "low"), (max, "high")))
    p, error = max(f.p for f in found), max(f.error for f in found)
    return SeedDifference(Interval(gap.estimate, low, high), p, error, gap)


def _by_t(gap: SeedMean) -> SeedDifference:
    error = float(np.sqrt(gap.variance))
    half = gap.critical(LEVEL) * error
    p = _p(lambda level: abs(gap.estimate) > gap.critical(level) * error)
    return SeedDifference(Interval(gap.estimate, gap.estimate - half, gap.estimate + half), p, error, gap)


def _by_newcombe(first: SeedMean, second: SeedMean, gap: SeedMean, worth: Trials | AurocTrials) -> SeedDifference:
    """From both methods' own intervals, which hold where nearly all films or pairs are right."""
    product = 2 * np.sqrt(first.variance * second.variance)
    related = (first.variance + second.variance - gap.variance) / product if product else 0.0
    related = float(np.clip(related, -1, 1))

    def at(level: float) -> Interval:
        return Interval(*newcombe(_alone(first, worth, level), _alone(second, worth, level), related))

    def excludes(level: float) -> bool:
        found = at(level)
        return found.low > 0 or found.high < 0

    interval = at(LEVEL)
    return SeedDifference(interval, _p(excludes), (interval.high - interval.low) / 2 / gap.critical(LEVEL), gap)


def _p(excludes: Callable[[float], bool]) -> float:
    """The level at which a bound is 0, from whether the interval at a level excludes 0; no less than 1e-12."""
    least, most = -12.0, 0.0
    for _ in range(40):
        middle = (least + most) / 2
        least, most = (least, middle) if excludes(10**middle) else (middle, most)
    return float(10**most)


def _alone(mean: SeedMean, worth: Trials | AurocTrials, level: float = LEVEL) -> Interval:
    """Wilson's interval, or of a share the wider one, from as many trials as patients and seeds together are worth."""
    spread, trials = mean.estimate * (1 - mean.estimate), worth.of(mean.estimate, mean.from_patients)
    if spread > 1e-12:
        trials = spread / (spread / trials + mean.from_seeds)
    bounds = Bounds(np.array([mean.estimate]), np.array([trials]), np.full(1, np.nan), isinstance(worth, Trials))
    low, high = bounds.at(mean.critical(level))
    return Interval(mean.estimate, float(low[0]), float(high[0]))
