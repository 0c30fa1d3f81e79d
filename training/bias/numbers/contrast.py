"""Is the model worse on films that contradict their source? A contrast within a label, so that a blind model shows none.

Accuracy on films with their source's usual label against accuracy on the others compares labels too, sensitivity with
specificity, and differs for a model that never saw the source. Here films of one label are compared: those of sources where
it is usual with those of the others; then the mean over labels that have ten effective patients on both sides.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from training.bias.numbers.alignment import alignment
from training.bias.numbers.metrics import Statistic, ratio
from training.bias.numbers.proportions import Bounds, Trials, newcombe
from training.bias.numbers.uncertainty import NO_INTERVAL, Interval, permutation, permutation_p
from training.bias.numbers.weighting import MINIMUM_PATIENTS, effective, effective_patients, film_weights


class Contrast(NamedTuple):
    """Accuracy on films of usual sources minus that on films of other sources, within a label; NaN for too few patients.

    Attributes:
        p: two-sided, of no difference.
        patients: effective patients of the smallest side that was measured, else of the largest that was not.
        labels: the labels that were measured.
    """

    interval: Interval
    p: float
    patients: float
    labels: tuple[str, ...]


def label_contrast(table: pd.DataFrame, majority: dict[str, str]) -> Contrast:
    """The contrast of one model.

    Args:
        table: predictions; films without a target, and of sources without a usual label, are left out.
        majority: of the training films, from `alignment.majority_targets`.
    """
    sides = _Sides.of(table, majority)
    if not sides.labels:
        return Contrast(NO_INTERVAL, float("nan"), sides.patients, ())
    share = [_share(*sides.hits(side, sides.right)) for label in sides.rows for side in label]
    estimate, trials = np.array(share).T
    bounds = Bounds(estimate, trials, np.full(len(estimate), np.nan), wide=True)

    def at(z: float) -> Interval:
        low, high = bounds.at(z)
        gaps = [
            newcombe((estimate[i], low[i], high[i]), (estimate[i + 1], low[i + 1], high[i + 1]))
            for i in range(0, len(estimate), 2)
        ]
        value, lower, upper = np.array(gaps).T
        mean = float(value.mean())
        away = [float(np.sqrt((side**2).sum())) / len(value) for side in (value - lower, upper - value)]
        return Interval(mean, mean - away[0], mean + away[1])

    least, most = 0.0, 40.0
    while most - least > 1e-4:  # the level at which a bound is 0
        z = (least + most) / 2
        found = at(z)
        least, most = (z, most) if found.low > 0 or found.high < 0 else (least, z)
    return Contrast(at(float(norm.ppf(0.975))), float(2 * norm.sf(least)), sides.patients, sides.labels)


def point_contrast(table: pd.DataFrame, majority: dict[str, str]) -> float:
    """The contrast alone, each film counted once; NaN for too few patients."""
    sides = _Sides.of(table, majority)
    right = sides.right
    gaps = [right[usual].mean() - right[other].mean() for usual, other in sides.rows]
    return float(np.mean(gaps)) if gaps else float("nan")


def contrast_statistic(table: pd.DataFrame, majority: dict[str, str]) -> Statistic | None:
    """The contrast as a function of patient weights; None for too few patients."""
    sides = _Sides.of(table, majority)
    if not sides.labels:
        return None
    parts = [[sides.hits(side, sides.right) for side in label] for label in sides.rows]

    def values(weights: np.ndarray) -> np.ndarray:
        rates = [[ratio(right @ weights, films @ weights) for right, films, _ in label] for label in parts]
        return np.mean([usual - other for usual, other in rates], axis=0)[None]

    return values


def contrast_difference_p(
    reference: pd.DataFrame, other: pd.DataFrame, majority: dict[str, str], permutations: int, seed: int
) -> float:
    """Two-sided p of no difference of two models' contrasts, swapped patient by patient; the films of both in one order."""
    sides, right = _Sides.of(reference, majority), (other["target"] == other["prediction"]).to_numpy()
    if not sides.labels:
        return float("nan")
    pairs = [
        (sides.hits(side, sides.right)[0], *sides.hits(side, right)[:2], 1 if usual else -1)
        for label in sides.rows
        for usual, side in zip((True, False), label, strict=True)
    ]

    def difference(swapped: np.ndarray) -> np.ndarray:
        sign = 1 - 2 * swapped
        parts = [side * ((b - a) @ sign) / films.sum() for a, b, films, side in pairs]
        return np.sum(parts, axis=0)[None] / len(sides.labels)

    count = sides.count
    return permutation_p(
        float(difference(np.zeros((count, 1)))[0, 0]), permutation(difference, count, permutations, seed)[0]
    )


@dataclass(frozen=True)
class _Sides:
    """Rows of usual and of other films of each label that has enough patients on both sides."""

    right: np.ndarray
    patient: np.ndarray
    weight: np.ndarray
    rows: list[tuple[np.ndarray, np.ndarray]]
    labels: tuple[str, ...]
    patients: float

    @classmethod
    def of(cls, table: pd.DataFrame, majority: dict[str, str]) -> "_Sides":
        side = alignment(table["target"], table["source"], majority).to_numpy()
        target, patient = table["target"].to_numpy(object), pd.factorize(table["patient"])[0]
        # Each side of each label is weighted on its own.
        cell = pd.factorize(pd.Series(target).astype(str) + "\0" + pd.Series(side).astype(str))[0]
        weight = film_weights(patient, cell)
        rows, labels, patients, short = [], [], [], [0.0]
        for label in pd.unique(table["target"].dropna()):
            pair = tuple(np.flatnonzero((target == label) & (side == name)) for name in ("aligned", "conflicting"))
            fewest = min(effective_patients(patient[at], weight[at]) for at in pair)
            if fewest < MINIMUM_PATIENTS:
                short.append(fewest)
                continue
            rows.append((pair[0], pair[1]))
            labels.append(str(label))
            patients.append(fewest)
        right = (table["target"] == table["prediction"]).to_numpy()
        return cls(right, patient, weight, rows, tuple(labels), min(patients) if patients else max(short))

    @property
    def count(self) -> int:
        return int(self.patient.max()) + 1

    def hits(self, rows: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Weight of the films called right and of all films, by patient, and the effective number of films."""
        weight = self.weight[rows]
        by_patient = [np.bincount(self.patient[rows], w, self.count) for w in (weight * right[rows], weight)]
        return by_patient[0], by_patient[1], effective(weight)


def _share(right: np.ndarray, films: np.ndarray, worth: float) -> tuple[float, float]:
    """A share of films and its independent trials; its variance is that of a ratio of sums over patients."""
    share = right.sum() / films.sum()
    count = (films > 0).sum()
    variance = ((right - share * films) ** 2).sum() / films.sum() ** 2 * count / max(count - 1, 1)
    least = effective(films)
    # With one film a patient the variance says nothing that the number of patients does not.
    return float(share), Trials(least, max(least, worth)).of(float(share), float(variance))
