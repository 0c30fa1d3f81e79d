"""AUROC over arrays: its interval, its difference between two models, and a permutation test of that difference.

Several score columns (training seeds) are averaged. With strata, only pairs of films within a stratum count. Permutation:
of two models' ranks, Bandos, Rockette and Gur, Statistics in Medicine 2005, here patient by patient, and with ranks among
weighted films: else a patient with many films would set the ranks of all others.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from training.bias.numbers.metrics import (
    Ranking,
    Statistic,
    paired_difference,
    pooled_auroc,
    stacked,
    swapped_difference,
)
from training.bias.numbers.proportions import AurocTrials, correlation, newcombe, wilson
from training.bias.numbers.uncertainty import (
    NO_INTERVAL,
    Interval,
    detectable_difference,
    intervals,
    permutation,
    permutation_p,
    resampling_strata,
)
from training.bias.numbers.weighting import (
    MINIMUM_PATIENTS,
    effective,
    effective_patients,
    film_weights,
    weighted_ranks,
)

# AUROC above which a resample of patients seldom differs from the sample.
NEARLY_ALL = 0.95


def stratified_auroc(
    is_positive: np.ndarray, scores: np.ndarray, patient: np.ndarray, stratum: np.ndarray
) -> Statistic:
    """AUROC over pairs of films within a stratum, averaged over columns of scores; NaN where no stratum has both classes.

    Concordant pairs summed over strata, divided by all pairs summed over strata: how strata compare with one another has
    no influence.

    Args:
        scores: films x columns (seeds).
    """
    columns = aurocs_by_column(is_positive, scores, patient, stratum)
    return lambda weights: columns(weights).mean(axis=0, keepdims=True)


def aurocs_by_column(
    is_positive: np.ndarray, scores: np.ndarray, patient: np.ndarray, stratum: np.ndarray
) -> Statistic:
    """`stratified_auroc` of each column of scores apart: columns x resamples."""
    rows, weight = mixed_strata(is_positive, stratum), stratum_weights(is_positive, patient, stratum)
    return stacked(
        [pooled_auroc([Ranking(is_positive[r], column[r], patient[r], weight[r]) for r in rows]) for column in scores.T]
    )


def stratum_weights(is_positive: np.ndarray, patient: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """`film_weights` within each stratum."""
    weight = np.ones(len(patient))
    for value in np.unique(stratum):
        rows = np.flatnonzero(stratum == value)
        weight[rows] = film_weights(patient[rows], is_positive[rows].astype(int))
    return weight


def pair_trials(is_positive: np.ndarray, patient: np.ndarray, stratum: np.ndarray, weight: np.ndarray) -> AurocTrials:
    """Trials of an AUROC over pairs within strata that all have both classes."""
    counts = []
    for value in np.unique(stratum):
        for side in (is_positive, ~is_positive):
            rows = np.flatnonzero((stratum == value) & side)
            counts.append((effective_patients(patient[rows], weight[rows]), effective(weight[rows])))
    by_patient, by_film = np.array(counts).T
    return AurocTrials(by_patient[::2], by_patient[1::2], by_film[::2], by_film[1::2])


def mixed_strata(is_positive: np.ndarray, stratum: np.ndarray) -> list[np.ndarray]:
    """Rows of each stratum that has films of both classes."""
    rows = [np.flatnonzero(stratum == value) for value in np.unique(stratum)]
    return [r for r in rows if is_positive[r].any() and not is_positive[r].all()]


class MeasuredAuroc(NamedTuple):
    """AUROC with its interval, two-sided p of 0.5, and effective patients of the rarer class; NaN below ten of these."""

    interval: Interval
    p: float
    patients: float


def measured_auroc(
    is_positive: np.ndarray,
    scores: np.ndarray,
    patient: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
    stratum: np.ndarray | None = None,
) -> MeasuredAuroc:
    """AUROC with its interval over patients (Wilson, see `proportions`) and test.

    Args:
        scores: films x seeds (averaged in each resample), or films.
        seed: the same seed and patients give the same resamples, so differences pair.
        stratum: of each film; only pairs of films within a stratum count.
    """
    films = PairFilms.read(is_positive, patient, stratum)
    if not films.enough:
        return MeasuredAuroc(NO_INTERVAL, float("nan"), films.fewest)
    (found,), _, drawn = intervals(films.auroc(scores), films.resampling, resamples, seed)
    trials = films.trials(found.estimate, drawn[0])
    low, high = wilson(np.array(found.estimate), np.array(trials))
    p = float(2 * norm.sf(abs(found.estimate - 0.5) * 2 * np.sqrt(trials)))
    return MeasuredAuroc(Interval(found.estimate, float(low), float(high)), p, films.fewest)


def auroc_interval(
    is_positive: np.ndarray,
    scores: np.ndarray,
    patient: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
    stratum: np.ndarray | None = None,
) -> Interval:
    """The interval of `measured_auroc`."""
    return measured_auroc(is_positive, scores, patient, resamples, seed, stratum).interval


def auroc_difference(
    is_positive: np.ndarray,
    scores: np.ndarray,
    reference: np.ndarray,
    patient: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
    stratum: np.ndarray | None = None,
) -> tuple[Interval, float]:
    """AUROC of `scores` minus that of `reference` on the same patients, and the smallest difference detectable here.

    The interval is BCa; where a model ranks nearly all pairs right, Newcombe's, from both models' own intervals and the
    correlation of their resamples. The smallest detectable difference is 2.80 standard errors: power 0.8 at a two-sided
    level of 0.05.
    """
    films = PairFilms.read(is_positive, patient, stratum)
    if not films.enough:
        return NO_INTERVAL, float("nan")
    models = films.auroc(scores), films.auroc(reference)
    both = stacked([*models, paired_difference(*models)])
    (first, second, gap), _, drawn = intervals(both, films.resampling, resamples, seed)
    if max(first.estimate, second.estimate) > NEARLY_ALL or min(first.estimate, second.estimate) < 1 - NEARLY_ALL:
        own = films.interval(first.estimate, drawn[0]), films.interval(second.estimate, drawn[1])
        gap = Interval(*newcombe(own[0], own[1], correlation(drawn[0], drawn[1])))
    return gap, detectable_difference(drawn[2])


def auroc_permutation_p(
    is_positive: np.ndarray,
    scores: np.ndarray,
    reference: np.ndarray,
    patient: np.ndarray,
    stratum: np.ndarray | None = None,
    permutations: int = 2000,
    seed: int = 0,
) -> float:
    """Two-sided p of no difference in AUROC, by swapping the two models patient by patient, all seeds together.

    Scores are replaced by weighted mid-ranks within model, seed and stratum, so that models of
    different scales stay comparable.

    Args:
        scores: as in `auroc_interval`; `reference` has the same shape.
    """
    films = PairFilms.read(is_positive, patient, stratum)
    if not films.enough:
        return float("nan")
    both = np.concatenate([films.ranks(reference), films.ranks(scores)])
    patient = np.concatenate([films.patient, films.patient + films.patients])
    auroc = stratified_auroc(np.tile(films.is_positive, 2), both, patient, np.tile(films.stratum, 2))
    difference = swapped_difference(auroc)
    permuted = permutation(difference, films.patients, permutations, seed)
    return permutation_p(float(difference(np.zeros((films.patients, 1)))[0, 0]), permuted[0])


class PairFilms(NamedTuple):
    """Films of the strata that have both classes; `enough` where each class has ten patients among them.

    Attributes:
        chosen: which of all films these are; the other columns have an entry for each of these.
        patient: index, 0 to `patients` - 1.
    """

    chosen: np.ndarray
    is_positive: np.ndarray
    patient: np.ndarray
    stratum: np.ndarray

    @classmethod
    def read(cls, is_positive: np.ndarray, patient: np.ndarray, stratum: np.ndarray | None) -> "PairFilms":
        """Those among all films; without strata all films are one stratum."""
        index = np.zeros(len(patient), int) if stratum is None else np.unique(stratum, return_inverse=True)[1]
        rows = mixed_strata(is_positive, index)
        chosen = np.sort(np.concatenate(rows)) if rows else np.empty(0, int)
        return cls(chosen, is_positive[chosen], np.unique(patient[chosen], return_inverse=True)[1], index[chosen])

    @property
    def patients(self) -> int:
        """How many there are."""
        return int(self.patient.max()) + 1

    @property
    def enough(self) -> bool:
        """Whether an AUROC can be concluded."""
        return self.fewest >= MINIMUM_PATIENTS

    @property
    def fewest(self) -> float:
        """Effective patients of the rarer class."""
        weight, by_class = self.weight, (self.is_positive, ~self.is_positive)
        return min(effective_patients(self.patient[side], weight[side]) for side in by_class)

    @property
    def resampling(self) -> np.ndarray:
        """Stratum of each patient, within which patients are drawn."""
        return resampling_strata(self.patient, self.stratum, self.is_positive.astype(int))

    @property
    def weight(self) -> np.ndarray:
        """Of each film."""
        return stratum_weights(self.is_positive, self.patient, self.stratum)

    def auroc(self, scores: np.ndarray) -> Statistic:
        """Mean over columns of scores, which have an entry for each of all films."""
        return stratified_auroc(self.is_positive, self.columns(scores), self.patient, self.stratum)

    def interval(self, estimate: float, drawn: np.ndarray) -> Interval:
        """Wilson's, from resamples."""
        low, high = wilson(np.array(estimate), np.array(self.trials(estimate, drawn)))
        return Interval(estimate, float(low), float(high))

    def trials(self, estimate: float, drawn: np.ndarray) -> float:
        """How many an AUROC with these resamples is worth."""
        return self.worth.of(estimate, float(np.nanvar(drawn, ddof=1)))

    @property
    def worth(self) -> AurocTrials:
        """What tells the trials from an AUROC and its variance."""
        return pair_trials(self.is_positive, self.patient, self.stratum, self.weight)

    def ranks(self, scores: np.ndarray) -> np.ndarray:
        """Weighted mid-ranks within stratum and column."""
        columns, weight = self.columns(scores), self.weight
        ranks = np.empty(columns.shape)
        for value in np.unique(self.stratum):
            rows = self.stratum == value
            ranks[rows] = np.stack([weighted_ranks(column, weight[rows]) for column in columns[rows].T], axis=1)
        return ranks

    def columns(self, scores: np.ndarray) -> np.ndarray:
        """Of these films, films x columns."""
        return scores.reshape(len(scores), -1)[self.chosen]
