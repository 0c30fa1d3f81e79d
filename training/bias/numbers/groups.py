"""Metrics of a predictions table by group, and how far groups are apart; an undefined metric is NaN, never 0.

The table has the columns of predictions.parquet. Fewer than `MINIMUM_PATIENTS` patients (in either class, for metrics that
need both) is too few to conclude from, and NaN. Equalised odds difference: Hardt, Price and Srebro, NeurIPS 2016, as in
fairlearn. All groups are measured in the same resamples of patients, so that their gaps have intervals too.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from training.bias.numbers.auroc import auroc_interval
from training.bias.numbers.metrics import (
    LOWER_IS_BETTER,
    film_metrics,
    metric_names,
    point_metric,
    read_films,
    require_columns,
    shortfall,
    stacked,
)
from training.bias.numbers.uncertainty import Interval, gap_interval, intervals, lowest_interval, resampling_strata

ALL_FILMS = "all films"
NOT_RECORDED = "not recorded"
EQUALISED_ODDS = "equalised_odds"


@dataclass(frozen=True)
class GroupMetrics:
    """Metrics by group; estimates and bounds are NaN where there are too few patients to conclude.

    Attributes:
        values: a row for each group and metric: group (the first is `all films`), metric, estimate, low, high (95 % over
            patients), method (`BCa` or `percentile`), films, patients, note (why there is no estimate).
        gaps: a row a metric and one for `equalised_odds` (the larger of the gaps in sensitivity and specificity): metric,
            difference between the best and the worst measured group, low, high; worst_group, its value worst, worst_low,
            worst_high; best_group, best; groups_measured, groups; note. The bounds allow for the choice of the groups
            among all, see `uncertainty.gap_interval`: a low of 0 means that no two groups differ demonstrably.
    """

    values: pd.DataFrame
    gaps: pd.DataFrame
    notes: tuple[str, ...]


def group_metrics(
    table: pd.DataFrame, positive: str | None, by: Sequence[str], resamples: int = 2000, seed: int = 0
) -> GroupMetrics:
    """Every metric for each group of films, with intervals over patients.

    Args:
        table: predictions; films without a target are left out.
        positive: None where there is no positive class (only the accuracies then).
        by: columns whose values, joined by ` · `, name the groups; a missing value is `not recorded`.

    Raises:
        PredictionsError: a missing column, no film with a target, a score outside 0 to 1.
    """
    require_columns(table, ("source", "target", *by))
    labelled = table[table["target"].notna()]
    films, metrics = read_films(labelled, positive), metric_names(positive)
    rows, records = group_rows(labelled, by), []
    for name, at in rows.items():
        part = labelled.iloc[at]
        counts = {"films": len(part), "patients": patients(part)}
        records += [{"group": name, "metric": m} | counts | {"note": shortfall(part, m, positive)} for m in metrics]
    values = pd.DataFrame(records)
    known = values[values["note"] == ""]
    measurable = known.groupby("group", sort=False)["metric"].agg(tuple)
    of_groups = [film_metrics(films[rows[str(name)]], chosen) for name, chosen in measurable.items()]
    stratum = resampling_strata(films.patient, pd.factorize(labelled["source"])[0], films.target)
    known_intervals, methods, drawn = list[Interval](), list[str](), np.empty((0, resamples))
    if of_groups:
        known_intervals, methods, drawn = intervals(stacked(of_groups), stratum, resamples, seed)
    values = with_intervals(values, known.index, known_intervals, methods)
    values = values[["group", "metric", *Interval._fields, "method", "films", "patients", "note"]]
    notes = []
    if len(table) > len(labelled):
        notes.append(f"{len(table) - len(labelled)} of {len(table)} films have no target and are left out")
    if stratum.any():
        notes.append("patients were drawn within source and target, because some cells are small")
    return GroupMetrics(values, _gaps(values, drawn, len(rows) - 1), tuple(notes))


def group_names(table: pd.DataFrame, by: Sequence[str]) -> np.ndarray:
    """Name of each film's group: its values of the columns, joined by ` · `."""
    columns = [table[column].astype(object).where(table[column].notna(), NOT_RECORDED).astype(str) for column in by]
    return functools.reduce(lambda names, column: names + " · " + column, columns).to_numpy(object)


def group_rows(table: pd.DataFrame, by: Sequence[str]) -> dict[str, np.ndarray]:
    """Rows of all films, then of each group (none where `by` is empty); `not recorded` comes last."""
    require_columns(table, by)
    group = group_names(table, by) if by else np.empty(0, object)
    names = sorted(set(group), key=lambda name: (NOT_RECORDED in name, name))
    return {ALL_FILMS: np.arange(len(table))} | {name: np.flatnonzero(group == name) for name in names}


def with_intervals(
    frame: pd.DataFrame, known: pd.Index, measured: Sequence[Interval], methods: Sequence[str]
) -> pd.DataFrame:
    """The frame with the columns estimate, low, high and method; NaN and empty but in the rows `known`."""
    frame = frame.join(pd.DataFrame(measured, index=known, columns=Interval._fields, dtype=float))
    return frame.assign(method=pd.Series(methods, index=known, dtype=object).reindex(frame.index, fill_value=""))


def within_source_auroc(table: pd.DataFrame, positive: str, resamples: int = 2000, seed: int = 0) -> Interval:
    """AUROC over the pairs of films of one source: concordant pairs summed over sources, by all such pairs.

    A model gains nothing here by telling sources apart. Sources of one class have no pairs; NaN where fewer than ten
    patients of a class are left.
    """
    require_columns(table, ("source", "target"))
    labelled = table[table["target"].notna()]
    films = read_films(labelled, positive)
    source = group_names(labelled, ["source"])
    return auroc_interval(films.is_positive, films.score, films.patient, resamples, seed, stratum=source)


def accuracy(table: pd.DataFrame) -> float:
    """Share of films whose prediction is their target."""
    return point_metric(table, "accuracy", None)


def auroc(table: pd.DataFrame, positive: str) -> float:
    """Area under the ROC curve of `score` for class `positive` against the rest."""
    return point_metric(table, "auroc", positive)


def worst_group_accuracy(table: pd.DataFrame) -> float:
    """Accuracy of the target x source cell where it is lowest, among cells of enough patients."""
    cells = [accuracy(cell) for _, cell in table.groupby(["target", "source"])]
    known = [value for value in cells if not np.isnan(value)]
    return min(known) if known else float("nan")


def patients(table: pd.DataFrame) -> int:
    """Number of different patients."""
    return int(table["patient"].nunique())


def majority_targets(target: pd.Series, source: pd.Series) -> dict[str, str]:
    """Each source's most frequent target among training films; sources whose top targets tie are left out."""
    majority = {}
    for name, counts in target.groupby(source).value_counts().groupby(level=0):
        top = counts.droplevel(0)
        if (top == top.max()).sum() == 1:
            majority[str(name)] = str(top.idxmax())
    return majority


def alignment(target: pd.Series, source: pd.Series, majority: dict[str, str]) -> pd.Series:
    """`aligned` where a film's target is its source's majority in training, `conflicting` where not, else empty."""
    usual = source.map(majority)
    side = pd.Series(np.where(usual == target, "aligned", "conflicting"), index=target.index, dtype=object)
    return side.where(usual.notna(), "")


def split_metrics(table: pd.DataFrame, positive: str | None, majority: dict[str, str]) -> dict[str, float]:
    """The headline metrics of one split's films.

    Args:
        positive: None where there is no positive class (AUROC is NaN then).
        majority: of the training films, from `majority_targets`.
    """
    side = alignment(table["target"], table["source"], majority)
    return {
        "accuracy": accuracy(table),
        "auroc": auroc(table, positive) if positive is not None else float("nan"),
        "aligned_accuracy": accuracy(table[side == "aligned"]),
        "conflicting_accuracy": accuracy(table[side == "conflicting"]),
        "worst_group_accuracy": worst_group_accuracy(table),
        "n": len(table),
        "patients": patients(table),
    }


def _gaps(values: pd.DataFrame, drawn: np.ndarray, groups: int) -> pd.DataFrame:
    """The frame of gaps; `drawn` has the resamples of the values that have no note."""
    known = values[values["note"] == ""].reset_index(drop=True)
    families: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    records: list[dict[str, Any]] = []
    for metric in values["metric"].unique():
        measured = known[(known["metric"] == metric) & (known["group"] != ALL_FILMS)]
        record: dict[str, Any] = {"metric": metric, "groups_measured": len(measured), "groups": groups}
        if len(measured) > 1:
            families[metric] = measured["estimate"].to_numpy(), drawn[measured.index]
            ranked = measured.sort_values("estimate", ascending=metric not in LOWER_IS_BETTER, kind="stable")
            worst = _worst_interval(metric, *families[metric])
            record |= {"worst_group": ranked["group"].iloc[0], "best_group": ranked["group"].iloc[-1]}
            record |= {"worst": worst.estimate, "worst_low": worst.low, "worst_high": worst.high}
            record |= {"best": ranked["estimate"].iloc[-1]} | _difference(gap_interval(families[metric]))
        else:
            record["note"] = f"cannot conclude: {len(measured)} of {groups} groups measured, two are needed"
        records.append(record)
    rates = ("sensitivity", "specificity")
    counts = [record["groups_measured"] for record in records if record["metric"] in rates]
    if counts:
        record = {"metric": EQUALISED_ODDS, "groups_measured": min(counts), "groups": groups}
        if all(rate in families for rate in rates):
            record |= _difference(gap_interval(*(families[rate] for rate in rates)))
        else:
            record["note"] = "cannot conclude: the gap in sensitivity or in specificity is not known"
        records.append(record)
    words = {"worst_group": "", "best_group": "", "note": ""}
    columns = [
        "metric", "difference", "low", "high", "worst_group", "worst", "worst_low", "worst_high", "best_group", "best",
        "groups_measured", "groups", "note",
    ]  # fmt: skip
    return pd.DataFrame([words | record for record in records]).reindex(columns=columns)


def _worst_interval(metric: str, estimate: np.ndarray, drawn: np.ndarray) -> Interval:
    if metric not in LOWER_IS_BETTER:
        return lowest_interval(estimate, drawn)
    mirrored = lowest_interval(1 - estimate, 1 - drawn)
    return Interval(1 - mirrored.estimate, 1 - mirrored.high, 1 - mirrored.low)


def _difference(gap: Interval) -> dict[str, float]:
    return {"difference": gap.estimate, "low": gap.low, "high": gap.high}
