"""Two checkpoints on the same films: paired differences, their intervals, p-values and what could have been found at all.

Both models meet the same resamples of patients. The p-value is that of swapping the models' predictions patient by patient,
for AUROC and AUPRC after scores were replaced by mid-ranks within each model (Bandos, Rockette and Gur, Statistics in
Medicine 2005), so that models on different scales stay exchangeable. Family-wise error over the rows: Holm, Scandinavian
Journal of Statistics 1979.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from training.bias.numbers.auroc import mixed_strata
from training.bias.numbers.groups import alignment, group_names
from training.bias.numbers.metrics import (
    LOWER_IS_BETTER,
    Films,
    Measure,
    PredictionsError,
    Ranking,
    metric_names,
    pooled_auroc,
    read_films,
    require_columns,
    shortfall,
)
from training.bias.numbers.uncertainty import (
    Statistic,
    detectable_difference,
    intervals,
    percentile_interval,
    permutation,
    permutation_p,
    resampling_strata,
    swapped_difference,
)

LEVEL = 0.05
WORST_GROUP = "worst group"
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
        positive: name of the positive class, or None where there is none (only the accuracies then).
        majority: of the training films, from `majority_targets`; with it, aligned and conflicting films are compared too.
        resamples: of the bootstrap over patients.
        permutations: of the models within patients.
        seed: of both.

    Returns:
        part (`all films`, `aligned`, `conflicting`, `within SOURCE`, `within sources`: AUROC over pairs of films of one
        source, `worst group`: target x source), metric, films, patients, reference, other, difference, low, high (95 %),
        method of the interval, p, p_holm (over all rows that have one), detectable (2.80 standard errors: difference found
        with power 0.8), verdict (`better` or `worse` where p_holm is below 0.05 and the interval excludes 0, else
        `cannot conclude`; ECE and Brier are better when lower) and note, why a row is NaN.

    Raises:
        CompareError: the tables don't hold the same films with the same targets, or hold one twice.
        PredictionsError: a column that isn't there, no film with a target, a score that is no probability.
    """
    reference, other = paired(reference, other)
    first, second = read_films(reference, positive), read_films(other, positive)
    count = int(first.patient.max()) + 1
    rows = _rows(reference, first, positive, majority or {})
    known = [row for row in rows if not row.note]

    def statistic(select: Select) -> Statistic:
        each = [row.build(select) for row in known]
        return lambda weights: np.concatenate([one(weights) for one in each])

    measured: list[dict[str, Any]] = []
    if known:
        theirs, ours = statistic(first.__getitem__), statistic(second.__getitem__)
        stratum = resampling_strata(first.patient, pd.factorize(reference["source"])[0], first.target)
        found, methods, drawn = intervals(lambda weights: ours(weights) - theirs(weights), stratum, resamples, seed)
        mixed = swapped_difference(statistic(lambda at: _as_one_sample(first[at], second[at], count)))
        permuted = permutation(mixed, count, permutations, seed)
        points = np.hstack([model(np.ones((count, 1))) for model in (theirs, ours)])
        for row, gap, method, point, resampled, swapped in zip(
            known, found, methods, points, drawn, permuted, strict=True
        ):
            if row.part == WORST_GROUP:  # the jackknife of a minimum says nothing
                gap, method = percentile_interval(gap.estimate, resampled), "percentile"
            record = {"reference": point[0], "other": point[1], "difference": gap.estimate}
            record |= {"low": gap.low, "high": gap.high, "method": method}
            record |= {"p": permutation_p(gap.estimate, swapped), "detectable": detectable_difference(resampled)}
            measured.append(record)
    at = iter(measured)
    frame = pd.DataFrame(
        [
            {"part": row.part, "metric": row.metric, "films": len(row.films), "note": row.note}
            | {"patients": len(np.unique(first.patient[row.films])), "method": ""}
            | ({} if row.note else next(at))
            for row in rows
        ]
    ).reindex(columns=COLUMNS)
    frame = frame.astype(dict.fromkeys(NUMBERS, float))
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
    """Holm's adjusted p-values; NaN stays NaN and is no member of the family."""
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


Select = Callable[[np.ndarray], Films]
"""Films at some rows of the paired tables, as one model or both see them."""


class _Row(NamedTuple):
    """One comparison: what it is about, and how its statistic is made from the films of a model."""

    part: str
    metric: str
    films: np.ndarray
    note: str
    build: Callable[[Select], Statistic]


def _rows(table: pd.DataFrame, films: Films, positive: str | None, majority: dict[str, str]) -> list[_Row]:
    def metric_row(part: str, metric: str, at: np.ndarray) -> _Row:
        note = shortfall(table.iloc[at], metric, positive)
        return _Row(part, metric, at, note, lambda select: Measure(select(at), (metric,)))

    everything = np.arange(len(films))
    rows = [metric_row("all films", metric, everything) for metric in metric_names(positive)]
    if majority:
        side = alignment(table["target"], table["source"], majority)
        rows += [metric_row(s, "accuracy", np.flatnonzero(side == s)) for s in ("aligned", "conflicting")]
    if positive is not None:
        source = group_names(table, ["source"])
        mixed = mixed_strata(films.is_positive, source)
        rows += [metric_row(f"within {source[at[0]]}", "auroc", at) for at in mixed]
        pooled = np.concatenate([np.empty(0, int), *mixed])
        note = shortfall(table.iloc[pooled], "auroc", positive)
        rows.append(_Row("within sources", "auroc", pooled, note, lambda select: _within(select, mixed)))
    cell = group_names(table, ["target", "source"])
    cells = [np.flatnonzero(cell == name) for name in np.unique(cell)]
    cells = [at for at in cells if not shortfall(table.iloc[at], "accuracy", positive)]
    note = "" if cells else "cannot conclude: no source and target cell has ten patients"
    measured = np.concatenate([np.empty(0, int), *cells])
    return [*rows, _Row(WORST_GROUP, "accuracy", measured, note, lambda select: _lowest(select, cells))]


def _within(select: Select, sources: list[np.ndarray]) -> Statistic:
    rankings = [Ranking(films.is_positive, films.ranking, films.patient) for films in map(select, sources)]
    return lambda weights: pooled_auroc(rankings, weights)[None]


def _lowest(select: Select, cells: list[np.ndarray]) -> Statistic:
    measures = [Measure(select(at), ("accuracy",)) for at in cells]
    return lambda weights: np.concatenate([measure(weights) for measure in measures]).min(axis=0, keepdims=True)


def _as_one_sample(first: Films, second: Films, patients: int) -> Films:
    """Both models' films as films of different patients, their order taken from mid-ranks within each model."""
    ranked = [replace(films, ranking=rankdata(films.ranking)) for films in (first, second)]
    ranked[1] = replace(ranked[1], patient=ranked[1].patient + patients)
    return Films(
        *(np.concatenate(columns) for columns in zip(*(vars(films).values() for films in ranked), strict=True))
    )
