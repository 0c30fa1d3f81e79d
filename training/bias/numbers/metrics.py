"""Metrics of a predictions table as functions of patient weights; the room's docstring has the picture.

Metrics that are ratios of sums over films come from a matrix product with sums by patient. AUROC and AUPRC sort the films
once, then take time linear in the films for each resample. Every value is defined as in scikit-learn, with weighted films;
an undefined metric is NaN, never 0. Expected calibration error: Naeini, Cooper and Hauskrecht, AAAI 2015, with ten bins of
equal width, closed on the left (scores of 1 are in the last), and the score of the positive class instead of the confidence;
less what chance alone gives a calibrated model, which grows as films get fewer, so it can fall a little below 0.

Films are weighted so that no patient dominates (`weighting.film_weights`); in `point_metric` each film counts once.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from training.bias.numbers.weighting import MINIMUM_PATIENTS, effective_patients, film_weights

METRICS = ("accuracy", "balanced_accuracy", "auroc", "auprc", "sensitivity", "specificity", "ece", "brier")
LOWER_IS_BETTER = frozenset({"ece", "brier"})
BINS = 10


class PredictionsError(ValueError):
    """A table that can't be measured; the message is a sentence for the user."""


Statistic = Callable[[np.ndarray], np.ndarray]
"""From weights of patients x resamples to values x resamples."""


@dataclass(frozen=True)
class FilmColumns:
    """The columns of a predictions table that metrics read, one entry a film.

    Attributes:
        target: index of the film's class.
        is_positive: whether it is of the positive class.
        called_positive: whether the positive class was predicted.
        score: probability of the positive class, NaN where no class is positive.
        ranking: orders the films for AUROC and AUPRC: the score, or ranks in its place.
        patient: index of the patient in the whole table, also where these films are a part of it.
    """

    target: np.ndarray
    correct: np.ndarray
    is_positive: np.ndarray
    called_positive: np.ndarray
    score: np.ndarray
    ranking: np.ndarray
    patient: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> "FilmColumns":
        return FilmColumns(**{name: column[rows] for name, column in vars(self).items()})

    def __len__(self) -> int:
        return len(self.patient)


def read_films(table: pd.DataFrame, positive: str | None) -> FilmColumns:
    """Arrays of a table whose films all have a target.

    Raises:
        PredictionsError: no film, a column that isn't there, a film without a patient, a score outside 0 to 1.
    """
    require_columns(table, ("patient", "target", "prediction", *(["score"] if positive is not None else [])))
    if table.empty:
        raise PredictionsError("the predictions table has no film with a target: there is nothing to measure")
    if table["patient"].isna().any():
        raise PredictionsError(_what_is_wrong(table["patient"].isna(), "no patient"))
    score = np.full(len(table), np.nan)
    if positive is not None:
        score = table["score"].to_numpy(float)
        if np.isnan(score).any():
            raise PredictionsError(_what_is_wrong(table["score"].isna(), f"no score for {positive}"))
        outside = (table["score"] < 0) | (table["score"] > 1)
        if outside.any():
            raise PredictionsError(_what_is_wrong(outside, f"a score outside 0 to 1, the probability of {positive}"))
    target, prediction = table["target"].astype(str), table["prediction"].astype(str)
    return FilmColumns(
        target=pd.factorize(target, sort=True)[0],
        correct=(target == prediction).to_numpy(),
        is_positive=(target == positive).to_numpy(),
        called_positive=(prediction == positive).to_numpy(),
        score=score,
        ranking=score if positive is None else ranking_score(table),
        patient=pd.factorize(table["patient"])[0],
    )


def ranking_score(table: pd.DataFrame) -> np.ndarray:
    """What orders the films: the score, or where films are read by site that of the model's own temperature."""
    return table["own_score" if "own_score" in table else "score"].to_numpy(float)


def require_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise PredictionsError for a column that the table doesn't have, with those it has."""
    for column in columns:
        if column not in table:
            near = difflib.get_close_matches(column, map(str, table.columns), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise PredictionsError(
                f"no column {column!r} in the predictions, which have {', '.join(map(str, table.columns))}{hint}"
            )


def metric_names(positive: str | None) -> tuple[str, ...]:
    """Those of `METRICS` that are defined: the two accuracies alone where no class is positive."""
    return METRICS if positive is not None else METRICS[:2]


def shortfall(table: pd.DataFrame, metric: str, positive: str | None) -> str:
    """Why a metric can't be concluded from the films of a table, as a sentence; empty where it can.

    Ten patients are needed, or as many effective ones, in each class that the metric reads.
    """
    patient, target = pd.factorize(table["patient"])[0], table["target"].astype(str).to_numpy()
    is_positive = target == positive
    if metric == "balanced_accuracy":
        needed = {f" with {name}": target == name for name in np.unique(target)}
        if len(needed) < 2:
            return "cannot conclude: films of one class, two are needed"
    elif metric in ("auroc", "auprc"):
        needed = {f" with {positive}": is_positive, f" without {positive}": ~is_positive}
    elif metric == "sensitivity":
        needed = {f" with {positive}": is_positive}
    elif metric == "specificity":
        needed = {f" without {positive}": ~is_positive}
    else:
        needed = {"": np.ones(len(table), bool)}
    weight = film_weights(patient, pd.factorize(target)[0])
    patients = {whose: effective_patients(patient[films], weight[films]) for whose, films in needed.items()}
    whose, fewest = min(patients.items(), key=lambda item: item[1])
    if fewest >= MINIMUM_PATIENTS:
        return ""
    count = len(np.unique(patient[needed[whose]]))
    worth = f", worth {fewest:.1f} since some have many films" if count >= MINIMUM_PATIENTS else ""
    return f"cannot conclude: {count} patient{'s' if count != 1 else ''}{whose}{worth}, {MINIMUM_PATIENTS} are needed"


def film_metrics(films: FilmColumns, metrics: Sequence[str], weight: np.ndarray | None = None) -> Statistic:
    """Metrics of some films in the order asked for, NaN where a class has no weight.

    Args:
        metrics: names from `METRICS`; `shortfall` says whether there are enough patients.
        weight: of each film; None for `film_weights`.
    """
    weight = film_weights(films.patient, films.target) if weight is None else weight
    patients, patient = np.unique(films.patient, return_inverse=True)
    columns = {
        name: _sum_by(patient, _RATIOS[name].columns(films) * weight[:, None]) for name in metrics if name in _RATIOS
    }
    if "ece" in columns:
        columns["ece"][:, BINS : 2 * BINS] **= 2
    names, cuts = list(columns), np.cumsum([block.shape[1] for block in columns.values()])[:-1]
    sums_by_patient = np.hstack(list(columns.values())) if columns else None
    ranked = "auroc" in metrics or "auprc" in metrics
    ranking = Ranking(films.is_positive, films.ranking, films.patient, weight) if ranked else None

    def values(weights: np.ndarray) -> np.ndarray:
        result = {}
        if sums_by_patient is not None:
            sums = sums_by_patient.T @ np.take(weights, patients, axis=0)
            result = {name: _RATIOS[name].value(part) for name, part in zip(names, np.split(sums, cuts), strict=True)}
        if ranking is not None:
            ordered = ranking.weighted(weights)
            result |= {"auroc": ratio(ordered.wins, ordered.pairs), "auprc": ordered.average_precision}
        return np.stack([result[name] for name in metrics])

    return values


def pooled_auroc(rankings: Sequence["Ranking"]) -> Statistic:
    """AUROC over the pairs of films within each ranking: concordant pairs by all pairs, both summed over rankings."""

    def values(weights: np.ndarray) -> np.ndarray:
        ranked = [ranking.weighted(weights) for ranking in rankings]
        return ratio(np.sum([r.wins for r in ranked], axis=0), np.sum([r.pairs for r in ranked], axis=0))[None]

    return values


def stacked(statistics: Sequence[Statistic]) -> Statistic:
    """The values of several statistics, one below the other."""
    return lambda weights: np.concatenate([statistic(weights) for statistic in statistics])


def paired_difference(other: Statistic, reference: Statistic) -> Statistic:
    """`other` minus `reference`, both read with the same weights, so that their resamples pair."""
    return lambda weights: other(weights) - reference(weights)


def swapped_difference(both: Statistic) -> Statistic:
    """Second model minus first, where some patients' two models are swapped: weights are 1 for these patients, else 0.

    Args:
        both: of both models' films as one sample, in which the patients of the second model come after those of the first.
    """

    def values(swapped: np.ndarray) -> np.ndarray:
        first = np.concatenate([1 - swapped, swapped])
        return both(1 - first) - both(first)

    return values


class Ranked(NamedTuple):
    """Concordant pairs and average precision of ordered films, one value a resample.

    Attributes:
        wins: pairs of a positive and a negative film in which the positive is higher, ties half.
        pairs: all pairs of a positive and a negative film.
        average_precision: sum over thresholds of precision times the recall gained; NaN where a class has no weight.
    """

    wins: np.ndarray
    pairs: np.ndarray
    average_precision: np.ndarray


class Ranking:
    """Films in order of falling score, to be weighted: one sort, then linear in the films for each resample."""

    def __init__(
        self, is_positive: np.ndarray, score: np.ndarray, patient: np.ndarray, weight: np.ndarray | None = None
    ) -> None:
        weight = np.ones(len(score)) if weight is None else weight
        order = np.argsort(-score, kind="stable")
        positive, negative = order[is_positive[order]], order[~is_positive[order]]
        self._positive_patient, self._negative_patient = patient[positive], patient[negative]
        self._positive_weight, self._negative_weight = weight[positive, None], weight[negative, None]
        # For each positive film: negative films above it, those and its ties, and positive films down to its ties.
        levels, others = -score[positive], -score[negative]
        self._above = np.searchsorted(others, levels, side="left")
        self._through = np.searchsorted(others, levels, side="right")
        self._positives = np.searchsorted(levels, levels, side="right")

    def weighted(self, weights: np.ndarray) -> Ranked:
        """With weights of patients x resamples."""
        positive = np.take(weights, self._positive_patient, axis=0) * self._positive_weight
        positive_sum = _running_sum(positive)
        negative_sum = _running_sum(np.take(weights, self._negative_patient, axis=0) * self._negative_weight)
        above, through = np.take(negative_sum, self._above, axis=0), np.take(negative_sum, self._through, axis=0)
        positives, pairs = positive_sum[-1], positive_sum[-1] * negative_sum[-1]
        wins = pairs - np.einsum("ij,ij->j", positive, np.add(above, through, out=above)) / 2
        hits = np.take(positive_sum, self._positives, axis=0)
        called = np.add(hits, through, out=through)
        precision = np.divide(hits, np.maximum(called, np.finfo(float).tiny, out=called), out=hits)
        average = ratio(np.einsum("ij,ij->j", positive, precision), positives)
        return Ranked(wins, pairs, np.where(negative_sum[-1] > 0, average, np.nan))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient of two arrays of one shape, NaN where the denominator is not positive."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)


def point_metric(table: pd.DataFrame, metric: str, positive: str | None) -> float:
    """A metric of films that all have a target, each film counted once; NaN where there are too few patients."""
    if shortfall(table, metric, positive):
        return float("nan")
    films = read_films(table, positive)
    return float(film_metrics(films, (metric,), np.ones(len(films)))(np.ones((films.patient.max() + 1, 1)))[0, 0])


def reliability_curve(table: pd.DataFrame, positive: str) -> pd.DataFrame:
    """Mean `score`, `share_positive` and number of `films` in each of ten equal bins of the score; NaN in empty bins."""
    table = table[table["target"].notna()]
    films = read_films(table, positive)
    columns = pd.DataFrame({"score": films.score, "share_positive": films.is_positive.astype(float)})
    binned = columns.groupby(_bin(films.score))
    return binned.mean().assign(films=binned.size()).reindex(range(BINS)).fillna({"films": 0}).astype({"films": int})


def roc_points(table: pd.DataFrame, positive: str) -> pd.DataFrame:
    """The ROC curve as a frame: `false_positive_rate`, `sensitivity`, `threshold` (infinite in the first row).

    Raises:
        PredictionsError: films of one class.
    """
    table = table[table["target"].notna()]
    films = read_films(table, positive)
    if films.is_positive.all() or not films.is_positive.any():
        raise PredictionsError(f"an ROC curve needs films with and without {positive}")
    rate, sensitivity, threshold = roc_curve(films.is_positive, films.ranking)
    return pd.DataFrame({"false_positive_rate": rate, "sensitivity": sensitivity, "threshold": threshold})


class _Ratio(NamedTuple):
    """A metric made of weighted sums over films: `columns` (films x k) are summed, `value` reads sums (k x resamples)."""

    columns: Callable[[FilmColumns], np.ndarray]
    value: Callable[[np.ndarray], np.ndarray]


def _one_hot(index: np.ndarray, count: int) -> np.ndarray:
    return (index[:, None] == np.arange(count)).astype(float)


def _bin(score: np.ndarray) -> np.ndarray:
    return np.minimum((score * BINS).astype(int), BINS - 1)


def _mean_recall_columns(films: FilmColumns) -> np.ndarray:
    members = _one_hot(films.target, films.target.max(initial=0) + 1)
    return np.hstack([members * films.correct[:, None], members])


def _mean_recall(sums: np.ndarray) -> np.ndarray:
    correct, members = np.split(sums, 2)
    recall = ratio(correct, members)
    return ratio(np.nansum(recall, axis=0), (members > 0).sum(axis=0))


def _calibration_columns(films: FilmColumns) -> np.ndarray:
    """By bin the excess of the score, and the standard deviation of a calibrated film's; then the number of films."""
    excess, spread = (films.score - films.is_positive)[:, None], np.sqrt(films.score * (1 - films.score))[:, None]
    bins = _one_hot(_bin(films.score), BINS)
    return np.hstack([bins * excess, bins * spread, np.ones_like(excess)])


def _calibration_error(sums: np.ndarray) -> np.ndarray:
    """Within a bin, count x |mean score - share positive| is |sum of (score - is positive)|.

    Were the model calibrated, that sum would be nearly normal about 0, with the variance that the squared sums by patient
    give; the mean of its size is sqrt(2 / pi) standard deviations.
    """
    excess, variance, films = sums[:BINS], sums[BINS : 2 * BINS], sums[-1]
    chance = np.sqrt(2 / np.pi) * np.sqrt(variance).sum(axis=0)
    return ratio(np.abs(excess).sum(axis=0) - chance, films)


_RATIOS = {
    "accuracy": _Ratio(lambda f: np.c_[f.correct, np.ones(len(f))], lambda s: ratio(s[0], s[1])),
    "balanced_accuracy": _Ratio(_mean_recall_columns, _mean_recall),
    "sensitivity": _Ratio(
        lambda f: np.c_[f.is_positive & f.called_positive, f.is_positive].astype(float), lambda s: ratio(s[0], s[1])
    ),
    "specificity": _Ratio(
        lambda f: np.c_[~f.is_positive & ~f.called_positive, ~f.is_positive].astype(float), lambda s: ratio(s[0], s[1])
    ),
    "ece": _Ratio(_calibration_columns, _calibration_error),
    "brier": _Ratio(lambda f: np.c_[(f.score - f.is_positive) ** 2, np.ones(len(f))], lambda s: ratio(s[0], s[1])),
}


def _sum_by(patient: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Patients x k from films x k."""
    return np.stack([np.bincount(patient, weights=column) for column in columns.T], axis=1)


def _running_sum(weights: np.ndarray) -> np.ndarray:
    """Row i: weight of the first i films."""
    total = np.empty((len(weights) + 1, weights.shape[1]))
    total[0] = 0
    np.cumsum(weights, axis=0, out=total[1:])
    return total


def _what_is_wrong(wrong: pd.Series, what: str) -> str:
    """A sentence on the films that are wrong: how many, how, and which is the first."""
    count, first = int(wrong.sum()), int(np.argmax(wrong.to_numpy()))
    return f"{count} of {len(wrong)} films {'has' if count == 1 else 'have'} {what} (the first in row {first} of the table)"
