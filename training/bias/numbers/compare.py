"""Two checkpoints on the same films: paired differences, intervals, p-values and the smallest detectable difference.

Both models meet the same resamples of patients. The p-value comes from swapping the models' predictions patient by patient;
for AUROC and AUPRC the scores are first replaced by mid-ranks of weighted films within each model (after Bandos, Rockette and
Gur, Statistics in Medicine 2005), so that models on different scales stay exchangeable. Family-wise error over the rows:
Holm, Scandinavian Journal of Statistics 1979.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from training.bias.numbers.alignment import alignment
from training.bias.numbers.auroc import NEARLY_ALL, mixed_strata, pair_trials, stratum_weights
from training.bias.numbers.groups import SHARES, group_names, worth_of
from training.bias.numbers.metrics import (
    LOWER_IS_BETTER,
    FilmColumns,
    PredictionsError,
    Ranking,
    Statistic,
    film_metrics,
    metric_names,
    pooled_auroc,
    read_films,
    require_columns,
    shortfall,
    stacked,
    swapped_difference,
)
from training.bias.numbers.proportions import AurocTrials, Bounds, Trials, correlation, newcombe
from training.bias.numbers.uncertainty import (
    Interval,
    detectable_difference,
    intervals,
    percentile_interval,
    permutation,
    permutation_p,
    resampling_strata,
)
from training.bias.numbers.weighting import film_weights, weighted_ranks

LEVEL = 0.05
WITHIN_SOURCES, WORST_GROUP = "within sources", "worst group"
NUMBERS = ("reference", "other", "difference", "low", "high", "p", "p_holm", "detectable")
COLUMNS = (
    "part", "metric", "films", "patients", "reference", "other", "difference", "low", "high", "method", "p", "p_holm",
    "detectable", "verdict", "note",
)  # fmt: skip


class CompareError(PredictionsError):
    """Two tables that can't be compared; the message is a sentence for the user."""


def compare(
    reference: pd.DataFrame,
    other: pd.DataFrame,
    positive: str | None,
    majority: dict[str, str] | None = None,
    resamples: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Differences `other` minus `reference` on the same films, a row for each part of the films and metric.

    Args:
        reference: predictions of one model; films without a target are left out.
        other: predictions of another for the same films, paired by `file`, in any order.
        positive: None where there is no positive class (only the accuracies then).
        majority: of the training films, from `majority_targets`; with it, aligned and conflicting films are compared too.

    Returns:
        part (`all films`, `aligned`, `conflicting`, `within SOURCE`, `within sources`: AUROC over pairs of films of one
        source, `worst group`: target x source), metric, films, patients, reference, other, difference, low, high (95 %),
        method of the interval, p, p_holm (over all rows that have one), detectable (the difference that the verdict finds
        with power 0.8, were it the only one among the rows), verdict (`better` or `worse` where p_holm is below 0.05 and
        the interval excludes 0, else `cannot conclude`; ECE and Brier are better when lower) and note, why a row is NaN.
        Where a model is right for nearly all films the interval is Newcombe's, from both models' own.

    Raises:
        CompareError: the tables don't hold the same films with the same targets, or hold one twice.
        PredictionsError: a missing column, no film with a target, a score outside 0 to 1.
    """
    reference, other = paired(reference, other)
    first, second = read_films(reference, positive), read_films(other, positive)
    count = int(first.patient.max()) + 1
    rows = _rows(reference, first, positive, majority or {})
    records: list[dict[str, Any]] = [
        {"part": row.part, "metric": row.metric, "films": len(row.films), "note": row.note, "method": ""}
        | {"patients": len(np.unique(first.patient[row.films]))}
        for row in rows
    ]
    known = [i for i, row in enumerate(rows) if not row.note]
    if known:
        weights = {i: [film_weights(first.patient[at], first.target[at]) for at in rows[i].blocks] for i in known}

        def statistic(block: Callable[[np.ndarray], FilmColumns], copies: int = 1) -> Statistic:
            parts = [(rows[i], [np.tile(weight, copies) for weight in weights[i]]) for i in known]
            return stacked([row.statistic([block(at) for at in row.blocks], weight) for row, weight in parts])

        models = statistic(first.__getitem__), statistic(second.__getitem__)
        both = statistic(lambda at: as_one_sample(first[at], second[at], count), copies=2)
        stratum = resampling_strata(first.patient, pd.factorize(reference["source"])[0], first.target)
        found, methods, drawn = intervals(_models_and_difference(*models), stratum, resamples, seed)
        permuted = permutation(swapped_difference(both), count, permutations, seed)
        for number, i in enumerate(known):
            row, own = rows[i], [number, len(known) + number]
            at = 2 * len(known) + number
            gap, method, points = found[at], methods[at], [found[model].estimate for model in own]
            if row.part == WORST_GROUP:  # the jackknife of a minimum says nothing
                gap, method = percentile_interval(gap.estimate, drawn[at]), "percentile"
            elif row.metric in (*SHARES, "auroc") and not 1 - NEARLY_ALL <= min(points) <= max(points) <= NEARLY_ALL:
                trials = [row.trials(films[row.films]) for films in (first, second)]
                gap, method = _from_both(points, drawn[own], trials, row.metric in SHARES), "Newcombe"
            records[i] |= {"reference": points[0], "other": points[1], "difference": gap.estimate}
            records[i] |= {"low": gap.low, "high": gap.high, "method": method}
            p = permutation_p(gap.estimate, permuted[number])
            records[i] |= {"p": p, "detectable": detectable_difference(drawn[at], LEVEL / len(known))}
    frame = pd.DataFrame(records).reindex(columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float))
    frame["p_holm"] = holm(frame["p"].to_numpy())
    frame["verdict"] = [_verdict(row) for _, row in frame.iterrows()]
    return frame


def paired(reference: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables without the films that have no target, `other` in the order of `reference`; raises CompareError."""
    for name, table in (("reference", reference), ("other", other)):
        require_columns(table, ("file", "source", "target"))
        twice = int(table["file"].duplicated().sum())
        if twice:
            raise CompareError(f"{twice} films are in the {name} table more than once: compare one run with one run")
    common = len(set(reference["file"]) & set(other["file"]))
    if not common == len(reference) == len(other):
        hint = "" if common else "; films hashed under different keys never match"
        raise CompareError(
            f"the tables hold different films: {len(reference)} in the reference, {len(other)} in the other, "
            f"{common} in both{hint}"
        )
    other = other.set_index("file").loc[reference["file"]].reset_index()
    targets = [table["target"].astype(object).where(table["target"].notna(), None) for table in (reference, other)]
    disagree = sum(a != b for a, b in zip(*targets, strict=True))
    if disagree:
        raise CompareError(f"{disagree} of {common} films have another target in one table than in the other")
    labelled = reference["target"].notna().to_numpy()
    return reference[labelled], other[labelled]


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values; NaN stays NaN and does not count in the family."""
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN sorts last
    steps = np.arange(len(order), 0, -1) * p[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def _verdict(row: pd.Series) -> str:
    low, high = (-row["high"], -row["low"]) if row["metric"] in LOWER_IS_BETTER else (row["low"], row["high"])
    if row["p_holm"] < LEVEL and (low > 0 or high < 0):
        return "better" if low > 0 else "worse"
    return "cannot conclude"


class _Row(NamedTuple):
    """One comparison: a metric of some of the films.

    Attributes:
        blocks: positions of its films: a block a source for `within sources`, a cell for `worst group`, else one block.
        note: why nothing can be concluded, else empty.
    """

    part: str
    metric: str
    blocks: list[np.ndarray]
    note: str

    @property
    def films(self) -> np.ndarray:
        return np.concatenate([np.empty(0, int), *self.blocks])

    def trials(self, films: FilmColumns) -> Trials | AurocTrials:
        """What a model's metric is worth, from its films."""
        if self.part == WITHIN_SOURCES:
            stratum = np.repeat(np.arange(len(self.blocks)), [len(at) for at in self.blocks])
            weight = stratum_weights(films.is_positive, films.patient, stratum)
            return pair_trials(films.is_positive, films.patient, stratum, weight)
        found = worth_of(films, self.metric)[1]
        assert found is not None
        return found

    def statistic(self, blocks: list[FilmColumns], weights: list[np.ndarray]) -> Statistic:
        """The metric, from a model's films in each block, with the weights of these films."""
        pairs = list(zip(blocks, weights, strict=True))
        if self.part == WITHIN_SOURCES:
            return pooled_auroc([Ranking(f.is_positive, f.ranking, f.patient, weight) for f, weight in pairs])
        metric = stacked([film_metrics(films, (self.metric,), weight) for films, weight in pairs])
        return (lambda weights: metric(weights).min(axis=0, keepdims=True)) if self.part == WORST_GROUP else metric


def _models_and_difference(first: Statistic, second: Statistic) -> Statistic:
    def values(weights: np.ndarray) -> np.ndarray:
        a, b = first(weights), second(weights)
        return np.concatenate([a, b, b - a])

    return values


def _from_both(points: list[float], drawn: np.ndarray, trials: list[Trials | AurocTrials], wide: bool) -> Interval:
    """Second minus first, from the interval of each."""
    worth = [of.of(point, float(np.nanvar(d, ddof=1))) for of, point, d in zip(trials, points, drawn, strict=True)]
    low, high = Bounds(np.array(points), np.array(worth), np.full(2, np.nan), wide).at()
    own = [(point, float(low[model]), float(high[model])) for model, point in enumerate(points)]
    return Interval(*newcombe(own[1], own[0], correlation(drawn[0], drawn[1])))


def _rows(table: pd.DataFrame, films: FilmColumns, positive: str | None, majority: dict[str, str]) -> list[_Row]:
    def metric_row(part: str, metric: str, at: np.ndarray) -> _Row:
        return _Row(part, metric, [at], shortfall(table.iloc[at], metric, positive))

    rows = [metric_row("all films", metric, np.arange(len(films))) for metric in metric_names(positive)]
    if majority:
        side = alignment(table["target"], table["source"], majority)
        rows += [metric_row(s, "accuracy", np.flatnonzero(side == s)) for s in ("aligned", "conflicting")]
    if positive is not None:
        source = group_names(table, ["source"])
        mixed = mixed_strata(films.is_positive, source)
        rows += [metric_row(f"within {source[at[0]]}", "auroc", at) for at in mixed]
        pooled = _Row(WITHIN_SOURCES, "auroc", mixed, "")
        rows.append(pooled._replace(note=shortfall(table.iloc[pooled.films], "auroc", positive)))
    cell = group_names(table, ["target", "source"])
    cells = [np.flatnonzero(cell == name) for name in np.unique(cell)]
    cells = [at for at in cells if not shortfall(table.iloc[at], "accuracy", positive)]
    note = "" if cells else "cannot conclude: no source and target cell has ten patients"
    return [*rows, _Row(WORST_GROUP, "accuracy", cells, note)]


def as_one_sample(first: FilmColumns, second: FilmColumns, patients: int) -> FilmColumns:
    """Both models' films as films of different patients, their order taken from mid-ranks within each model."""
    weight = film_weights(first.patient, first.target)
    first = replace(first, ranking=weighted_ranks(first.ranking, weight))
    second = replace(second, ranking=weighted_ranks(second.ranking, weight), patient=second.patient + patients)
    return FilmColumns(*map(np.concatenate, zip(vars(first).values(), vars(second).values(), strict=True)))
