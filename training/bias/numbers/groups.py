"""Metrics of a predictions table by group, and how far groups are apart; an undefined metric is NaN, never 0.

The table has the columns of predictions.parquet. Fewer than `MINIMUM_PATIENTS` patients (in either class, for metrics that
need both) is too few to conclude from, and NaN. Equalised odds difference: Hardt, Price and Srebro, NeurIPS 2016, as in
fairlearn. Intervals of shares and of AUROC are those of `proportions`; of ECE an interval of two standard errors, of the
Brier score BCa, both from resamples of patients.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from training.bias.numbers.alignment import alignment
from training.bias.numbers.auroc import auroc_interval
from training.bias.numbers.contrast import point_contrast
from training.bias.numbers.metrics import (
    LOWER_IS_BETTER,
    METRICS,
    FilmColumns,
    film_metrics,
    metric_names,
    point_metric,
    read_films,
    require_columns,
    shortfall,
    stacked,
)
from training.bias.numbers.proportions import (
    LEAST_TRIALS,
    MOST_TRIALS,
    AurocTrials,
    Bounds,
    Trials,
    Z,
    critical,
    gap_p,
    lowest,
    ratio_interval,
    reference_gaps,
    widest_gap,
)
from training.bias.numbers.uncertainty import Interval, intervals, resampling_strata
from training.bias.numbers.weighting import effective, effective_patients, film_weights

ALL_FILMS = "all films"
NOT_RECORDED = "not recorded"
EQUALISED_ODDS = "equalised_odds"
SHARES = frozenset({"accuracy", "balanced_accuracy", "sensitivity", "specificity"})


@dataclass(frozen=True)
class GroupMetrics:
    """Metrics by group; estimates and bounds are NaN where there are too few patients to conclude.

    Attributes:
        values: a row for each group and metric: group (the first is `all films`), metric, estimate, low, high (95 % over
            patients), method (`Wilson`, `Agresti-Coull`, `normal`, `BCa` or `percentile`), films, patients, effective (what
            the patients are worth, see `weighting`; the fewer of both classes where a metric needs both), note (why there
            is no estimate).
        gaps: a row a metric and one for `equalised_odds` (the larger of the gaps in sensitivity and specificity): metric,
            difference between the best and the worst measured group, low, high, p; worst_group, its value worst, worst_low,
            worst_high; best_group, best; of shares the ratio of worst and best with
            ratio_low and ratio_high; groups_measured, groups; note. `not recorded` is no group here. The bounds and p
            allow for the choice of the groups among all, see `proportions.widest_gap`: a low of 0 means that no two groups
            differ demonstrably. With a reference group the differences are those from it.
    """

    values: pd.DataFrame
    gaps: pd.DataFrame
    notes: tuple[str, ...]


def group_metrics(
    table: pd.DataFrame,
    positive: str | None,
    by: Sequence[str],
    resamples: int = 2000,
    seed: int = 0,
    reference: str | None = None,
    metrics: Sequence[str] = METRICS,
) -> GroupMetrics:
    """Metrics for each group of films, with intervals over patients.

    Args:
        table: predictions; films without a target are left out.
        positive: None where there is no positive class (only the accuracies then).
        by: columns whose values, joined by ` · `, name the groups; a missing value is `not recorded`.
        reference: the group that the others are compared with; None compares all pairs.
        metrics: names from `METRICS`.

    Raises:
        PredictionsError: a missing column, no film with a target, a score outside 0 to 1.
    """
    require_columns(table, ("source", "target", *by))
    labelled = table[table["target"].notna()]
    films, metrics = read_films(labelled, positive), [name for name in metric_names(positive) if name in metrics]
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
    measured, methods, drawn = list[Interval](), list[str](), np.empty((0, resamples))
    if of_groups:
        measured, methods, drawn = intervals(stacked(of_groups), stratum, resamples, seed)
    trials, spread, worth = (np.full(len(known), np.nan) for _ in range(3))
    for number, row in enumerate(known.itertuples()):
        of_group, metric, found = films[rows[str(row.group)]], str(row.metric), measured[number]
        error = float(np.nanstd(drawn[number], ddof=1))
        worth[number], within = worth_of(of_group, metric)
        if within is not None:
            trials[number] = within.of(found.estimate, error**2)
            bounds = Bounds(np.array([found.estimate]), trials[[number]], spread[[number]], metric in SHARES).at()
            methods[number] = "Agresti-Coull" if metric in SHARES else "Wilson"
            measured[number] = Interval(found.estimate, *(float(bound[0]) for bound in bounds))
        else:
            spread[number] = error
        if metric == "ece":
            away = 1.96 * error
            ends = [max(0.0, found.estimate + step) for step in (0, -away, away)]
            measured[number], methods[number] = Interval(*ends), "normal"
    estimates = np.array([found.estimate for found in measured])
    values = with_intervals(values, known.index, measured, methods)
    for name, column in (("effective", worth), ("trials", trials)):
        values[name] = pd.Series(column, index=known.index).reindex(values.index)
    counts_of = ["films", "patients", "effective", "trials"]
    values = values[["group", "metric", *Interval._fields, "method", *counts_of, "note"]]
    notes = []
    if len(table) > len(labelled):
        notes.append(f"{len(table) - len(labelled)} of {len(table)} films have no target and are left out")
    if stratum.any():
        notes.append("patients were drawn within source and target, because some cells are small")
    if (film_weights(films.patient, films.target) < 1).any():
        notes.append("some patients have so many films that these count less, so that no patient decides a number")
    groups = sum(name != ALL_FILMS and NOT_RECORDED not in name for name in rows)
    gaps = _gaps(values, Bounds(estimates, trials, spread), groups, reference)
    return GroupMetrics(values, gaps, tuple(notes))


def worth_of(films: FilmColumns, metric: str) -> tuple[float, Trials | AurocTrials | None]:
    """Effective patients of a metric, the fewer of both classes where it needs both, and its trials (ECE and Brier: None)."""
    weight = film_weights(films.patient, films.target)
    if metric == "balanced_accuracy":
        classes = [films.target == value for value in range(films.target.max() + 1)]
        classes = [rows for rows in classes if rows.any()]
    elif metric in ("auroc", "auprc"):
        classes = [films.is_positive, ~films.is_positive]
    elif metric in ("sensitivity", "specificity"):
        classes = [films.is_positive == (metric == "sensitivity")]
    else:
        classes = [np.ones(len(films), bool)]
    by_patient = np.array([effective_patients(films.patient[rows], weight[rows]) for rows in classes])
    by_film = np.array([effective(weight[rows]) for rows in classes])
    worth = float(by_patient.min())
    if metric in SHARES:  # of the mean of two shares, each with its own trials
        least, most = (len(count) ** 2 / (1 / count).sum() for count in (by_patient, by_film))
        return worth, Trials(float(least), float(max(least, most)))
    if metric == "auroc":
        return worth, AurocTrials(by_patient[:1], by_patient[1:], by_film[:1], by_film[1:])
    if metric == "auprc":
        return worth, Trials(LEAST_TRIALS * by_patient[0], MOST_TRIALS * by_film[0], by_patient[0])
    return worth, None


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


def split_metrics(table: pd.DataFrame, positive: str | None, majority: dict[str, str]) -> dict[str, float]:
    """The headline metrics of one split's films; each film counts once.

    `conflicting_gap` alone says whether the source is used: the other accuracies compare films of different labels.

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
        "conflicting_gap": point_contrast(table, majority),
        "worst_group_accuracy": worst_group_accuracy(table),
        "n": len(table),
        "patients": patients(table),
    }


def _gaps(values: pd.DataFrame, bounds: Bounds, groups: int, reference: str | None) -> pd.DataFrame:
    """The frame of gaps; `bounds` has an entry for each of the values that have no note."""
    known = values[values["note"] == ""].reset_index(drop=True)
    families: dict[str, Bounds] = {}
    records: list[dict[str, Any]] = []
    for metric in values["metric"].unique():
        is_group = (known["group"] != ALL_FILMS) & ~known["group"].str.contains(NOT_RECORDED, regex=False)
        measured = known[(known["metric"] == metric) & is_group]
        record: dict[str, Any] = {"metric": metric, "groups_measured": len(measured), "groups": groups}
        names = measured["group"].tolist()
        if len(measured) < 2:
            record["note"] = f"cannot conclude: {len(measured)} of {groups} groups measured, two are needed"
        elif reference is not None and reference not in names:
            record["note"] = f"cannot conclude: the reference {reference} was not measured"
        else:
            at = measured.index
            families[metric] = family = Bounds(
                bounds.estimate[at], bounds.trials[at], bounds.spread[at], metric in SHARES
            )
            lower = metric in LOWER_IS_BETTER
            order = np.argsort(-family.estimate if lower else family.estimate, kind="stable")
            worst_at, best_at = int(order[0]), int(order[-1])
            if reference is None:
                record |= _difference(widest_gap(family)) | {"p": gap_p(family)}
            else:
                base = names.index(reference)
                difference, low, high, p = reference_gaps(family, base)
                other = int(np.nanargmin(p))
                if difference[other] < 0:
                    low, high = -high, -low
                record |= _difference((abs(difference[other]), max(0.0, low[other]), high[other]))
                record |= {"p": p[other]}
                behind = difference[other] > 0 if lower else difference[other] < 0
                worst_at, best_at = (other, base) if behind else (base, other)
            worst = _worst(family, lower) if reference is None else _one(family, worst_at)
            record |= {"worst_group": names[worst_at], "best_group": names[best_at]}
            record |= {"worst": worst[0], "worst_low": worst[1], "worst_high": worst[2]}
            record |= {"best": family.estimate[best_at]}
            if metric in SHARES:
                record |= _ratio(family, worst_at, best_at, Z if reference is not None else critical(len(measured)))
        records.append(record)
    rates = ("sensitivity", "specificity")
    counts = [record["groups_measured"] for record in records if record["metric"] in rates]
    if counts:
        record = {"metric": EQUALISED_ODDS, "groups_measured": min(counts), "groups": groups}
        if all(rate in families for rate in rates) and reference is None:
            record |= _difference(widest_gap(*(families[rate] for rate in rates)))
            record |= {"p": min(1.0, 2 * min(gap_p(families[rate]) for rate in rates))}
        elif all(rate in families for rate in rates):
            larger = max((r for r in records if r["metric"] in rates), key=lambda r: r["difference"])
            record |= {name: larger[name] for name in ("difference", "low", "high")}
            record |= {"p": min(1.0, 2 * min(r["p"] for r in records if r["metric"] in rates))}
        else:
            record["note"] = "cannot conclude: the gap in sensitivity or in specificity is not known"
        records.append(record)
    words = {"worst_group": "", "best_group": "", "note": ""}
    columns = [
        "metric", "difference", "low", "high", "p", "worst_group", "worst", "worst_low", "worst_high", "best_group", "best",
        "ratio", "ratio_low", "ratio_high", "groups_measured", "groups", "note",
    ]  # fmt: skip
    return pd.DataFrame([words | record for record in records]).reindex(columns=columns)


def _ratio(family: Bounds, worst: int, best: int, z: float) -> dict[str, float]:
    estimate, trials = family.estimate, family.trials
    low, high = ratio_interval(estimate[[worst]], trials[[worst]], estimate[[best]], trials[[best]], z)
    value = family.estimate[worst] / family.estimate[best] if family.estimate[best] > 0 else np.nan
    return {"ratio": float(value), "ratio_low": float(low[0]), "ratio_high": float(high[0])}


def _worst(family: Bounds, lower_is_better: bool) -> tuple[float, float, float]:
    if not lower_is_better:
        return lowest(family)
    value, low, high = lowest(Bounds(-family.estimate, family.trials, family.spread))
    return -value, -high, -low


def _one(family: Bounds, at: int) -> tuple[float, float, float]:
    low, high = family.at()
    return float(family.estimate[at]), float(low[at]), float(high[at])


def _difference(gap: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("difference", "low", "high"), gap, strict=True))
