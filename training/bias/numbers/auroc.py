"""AUROC over arrays: its interval, its difference between two models, and a permutation test of that difference.

Several score columns (training seeds) are averaged. With strata, only pairs of films within a stratum count. Permutation of
two models' ranks: Bandos, Rockette and Gur, Statistics in Medicine 2005, here patient by patient.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from training.bias.numbers.metrics import (
    MINIMUM_PATIENTS,
    Ranking,
    Statistic,
    paired_difference,
    pooled_auroc,
    swapped_difference,
)
from training.bias.numbers.uncertainty import (
    NO_INTERVAL,
    Interval,
    detectable_difference,
    intervals,
    permutation,
    permutation_p,
    resampling_strata,
)


def stratified_auroc(
    is_positive: np.ndarray, scores: np.ndarray, patient: np.ndarray, stratum: np.ndarray
) -> Statistic:
    """AUROC over pairs of films within a stratum, averaged over columns of scores; NaN where no stratum has both classes.

    Concordant pairs summed over strata, divided by all pairs summed over strata: how strata compare with one another has
    no influence.

    Args:
        scores: films x columns (seeds).
    """
    rows = mixed_strata(is_positive, stratum)
    columns = [pooled_auroc([Ranking(is_positive[r], column[r], patient[r]) for r in rows]) for column in scores.T]
    return lambda weights: np.mean([column(weights) for column in columns], axis=0)


def mixed_strata(is_positive: np.ndarray, stratum: np.ndarray) -> list[np.ndarray]:
    """Rows of each stratum that has films of both classes."""
    rows = [np.flatnonzero(stratum == value) for value in np.unique(stratum)]
    return [r for r in rows if is_positive[r].any() and not is_positive[r].all()]


def auroc_interval(
    is_positive: np.ndarray,
    scores: np.ndarray,
    patient: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
    stratum: np.ndarray | None = None,
) -> Interval:
    """AUROC with its interval over patients; NaN below ten patients in either class.

    Args:
        scores: films x seeds (averaged in each resample), or films.
        seed: the same seed and patients give the same resamples, so differences pair.
        stratum: of each film; only pairs of films within a stratum count.
    """
    films = _PairFilms.read(is_positive, patient, stratum)
    if not films.enough:
        return NO_INTERVAL
    (interval,), _, _ = intervals(films.auroc(scores), films.resampling, resamples, seed)
    return interval


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

    The minimum detectable effect is 2.80 standard errors: power 0.8 at a two-sided level of 0.05.
    """
    films = _PairFilms.read(is_positive, patient, stratum)
    if not films.enough:
        return NO_INTERVAL, float("nan")
    difference = paired_difference(films.auroc(scores), films.auroc(reference))
    (interval,), _, drawn = intervals(difference, films.resampling, resamples, seed)
    return interval, detectable_difference(drawn[0])


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

    Scores are replaced by mid-ranks within model, seed and stratum, so that models on different scales stay comparable.

    Args:
        scores: as in `auroc_interval`; `reference` has the same shape.
    """
    films = _PairFilms.read(is_positive, patient, stratum)
    if not films.enough:
        return float("nan")
    both = np.concatenate([films.ranks(reference), films.ranks(scores)])
    patient = np.concatenate([films.patient, films.patient + films.patients])
    auroc = stratified_auroc(np.tile(films.is_positive, 2), both, patient, np.tile(films.stratum, 2))
    difference = swapped_difference(auroc)
    permuted = permutation(difference, films.patients, permutations, seed)
    return permutation_p(float(difference(np.zeros((films.patients, 1)))[0, 0]), permuted[0])


class _PairFilms(NamedTuple):
    """Films of the strata that have both classes; `enough` where each class has ten patients among them."""

    chosen: np.ndarray
    is_positive: np.ndarray
    patient: np.ndarray
    stratum: np.ndarray

    @classmethod
    def read(cls, is_positive: np.ndarray, patient: np.ndarray, stratum: np.ndarray | None) -> "_PairFilms":
        index = np.zeros(len(patient), int) if stratum is None else np.unique(stratum, return_inverse=True)[1]
        rows = mixed_strata(is_positive, index)
        chosen = np.sort(np.concatenate(rows)) if rows else np.empty(0, int)
        return cls(chosen, is_positive[chosen], np.unique(patient[chosen], return_inverse=True)[1], index[chosen])

    @property
    def patients(self) -> int:
        return int(self.patient.max()) + 1

    @property
    def enough(self) -> bool:
        by_class = (self.patient[self.is_positive], self.patient[~self.is_positive])
        return min(len(np.unique(patient)) for patient in by_class) >= MINIMUM_PATIENTS

    @property
    def resampling(self) -> np.ndarray:
        return resampling_strata(self.patient, self.stratum, self.is_positive.astype(int))

    def auroc(self, scores: np.ndarray) -> Statistic:
        return stratified_auroc(self.is_positive, self._columns(scores), self.patient, self.stratum)

    def ranks(self, scores: np.ndarray) -> np.ndarray:
        return pd.DataFrame(self._columns(scores)).groupby(self.stratum).rank().to_numpy()

    def _columns(self, scores: np.ndarray) -> np.ndarray:
        return scores.reshape(len(scores), -1)[self.chosen]
