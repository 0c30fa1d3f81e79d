"""How far sensitivity or specificity is apart between sources, and how much that differs between two models."""

import numpy as np
import pandas as pd

from training.bias.numbers.compare import as_one_sample, paired
from training.bias.numbers.groups import group_names
from training.bias.numbers.metrics import (
    FilmColumns,
    Statistic,
    film_metrics,
    paired_difference,
    read_films,
    shortfall,
    stacked,
    swapped_difference,
)
from training.bias.numbers.uncertainty import (
    NO_INTERVAL,
    Interval,
    bootstrap,
    percentile_interval,
    permutation,
    permutation_p,
    resampling_strata,
)
from training.bias.numbers.weighting import film_weights

RATES = ("sensitivity", "specificity")


def source_gap(table: pd.DataFrame, films: FilmColumns, positive: str) -> Statistic | None:
    """Equalised odds difference between sources: the larger of the ranges of sensitivity and of specificity, in [0, 1].

    A rate counts at sources with ten effective patients of its class; None where no rate has two such sources.
    """
    sources = _sources(table, positive)
    return _gap(films, sources) if sources else None


def _sources(table: pd.DataFrame, positive: str) -> dict[str, list[np.ndarray]]:
    """Rows of each source that has enough patients, by rate; rates with two such sources alone."""
    source = group_names(table, ["source"])
    found = {}
    for rate in RATES:
        parts = [np.flatnonzero(source == name) for name in np.unique(source)]
        parts = [rows for rows in parts if not shortfall(table.iloc[rows], rate, positive)]
        if len(parts) > 1:
            found[rate] = parts
    return found


def _gap(films: FilmColumns, sources: dict[str, list[np.ndarray]], second: FilmColumns | None = None) -> Statistic:
    """The gap of one model; with a second model's films that of both as one sample, see `as_one_sample`."""
    count, ranges = int(films.patient.max()) + 1, []
    for rate, parts in sources.items():
        rates = []
        for rows in parts:
            weight, of_source = film_weights(films.patient[rows], films.target[rows]), films[rows]
            if second is not None:
                weight, of_source = np.tile(weight, 2), as_one_sample(of_source, second[rows], count)
            rates.append(film_metrics(of_source, (rate,), weight))
        ranges.append(stacked(rates))
    return lambda weights: np.max([np.ptp(values(weights), axis=0, keepdims=True) for values in ranges], axis=0)


def source_gap_difference(
    reference: pd.DataFrame, other: pd.DataFrame, positive: str | None, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The gap of one model minus that of another on the same films, with a 95 % percentile interval over patients.

    It is below 0 where `other` treats sources more alike. Both models meet the same resamples.

    Args:
        reference: predictions of one model.
        other: predictions of another for the same films; raises CompareError where they are not.
        positive: without a positive class there is no gap.
    """
    first, second = paired(reference, other)
    if positive is None or first.empty:
        return NO_INTERVAL
    films = read_films(first, positive)
    gaps = [source_gap(table, read_films(table, positive), positive) for table in (first, second)]
    if gaps[0] is None or gaps[1] is None:
        return NO_INTERVAL
    difference = paired_difference(gaps[1], gaps[0])
    estimate = difference(np.ones((int(films.patient.max()) + 1, 1)))[0, 0]
    stratum = resampling_strata(films.patient, pd.factorize(first["source"])[0], films.target)
    return percentile_interval(float(estimate), bootstrap(difference, stratum, resamples, seed)[0])


def source_gap_p(
    reference: pd.DataFrame, other: pd.DataFrame, positive: str | None, permutations: int = 2000, seed: int = 0
) -> float:
    """Two-sided p of no difference of two models' gaps, swapped patient by patient; NaN where there is no gap."""
    first, second = paired(reference, other)
    if positive is None or first.empty or not (sources := _sources(first, positive)):
        return float("nan")
    films = read_films(first, positive)
    difference = swapped_difference(_gap(films, sources, read_films(second, positive)))
    count = int(films.patient.max()) + 1
    observed = float(difference(np.zeros((count, 1)))[0, 0])
    return permutation_p(observed, permutation(difference, count, permutations, seed)[0])
