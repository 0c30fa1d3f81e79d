"""The bias report as one self-contained HTML file: verdict first, then tables and vector figures."""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from training.bias.numbers.groups import EQUALISED_ODDS, GroupMetrics
from training.bias.numbers.metrics import LOWER_IS_BETTER, METRICS
from training.bias.numbers.uncertainty import Interval
from training.bias.questions.unlabelled import EXPECTED, QUANTILES, Unlabelled
from training.bias.report import figures
from training.bias.report.answers import BY_KEY, Difference
from training.bias.report.values import BiasReport, RunAudit

NAMES = {"auroc": "AUROC", "auprc": "AUPRC", "ece": "ECE", "brier": "Brier", "equalised_odds": "equalised odds"}
FORESTS = (("source", "auroc"), ("source", "sensitivity"), ("source", "specificity"), ("source x target", "accuracy"))
# A table longer than this is cut, and says so: report.json has the rest.
ROWS = 60


def write_page(report: BiasReport, file: Path) -> None:
    """Render the report into `file`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training.bias.report", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"bounds": bounds, "gap": gap}
    environment.filters |= {"span": span, "number": number, "metric": metric_name, "p": p_value, "share": share}
    page = environment.get_template("page.html.j2").render(
        report=report,
        runs=[(run, drawings(run)) for run in report.runs],
        comparisons=[(c, comparison_rows(c.rows)) for c in report.comparisons],
        unlabelled=[(run, unlabelled_drawings(run)) for run in report.unlabelled],
        names=", ".join([*(run.name for run in report.runs), *(run.name for run in report.unlabelled)]),
        both=forest_of_runs(report),
        metrics=(*METRICS, EQUALISED_ODDS),
        group_table=group_table,
        quantiles=("mean", *QUANTILES),
        cut=cut,
        rows=ROWS,
        by_key=BY_KEY,
    )
    file.write_text(page, encoding="utf-8")


def drawings(run: RunAudit) -> dict[str, str]:
    """SVG of each figure that this run has numbers for."""
    charts = {}
    if len(run.roc):
        charts["roc"] = figures.roc(run.roc)
    if len(run.reliability):
        charts["reliability"] = figures.reliability(run.reliability)
    for by, metric in FORESTS:
        if by in run.groups:
            rows = run.groups[by].values.query("metric == @metric")
            if rows["estimate"].notna().any():
                name = f"forest {by} {metric}"
                charts[name] = figures.forest(rows, metric_name(metric), rows["estimate"].iloc[0])
    if len(run.map):
        charts |= {f"map {name}": figures.feature_map(run.map, name) for name in ("source", "target")}
    if len(run.shortcuts):
        charts["shortcuts"] = figures.shortcuts(run.shortcuts.dropna(subset=["estimate"]))
    return {name: figures.as_svg(chart) for name, chart in charts.items()}


def unlabelled_drawings(run: Unlabelled) -> dict[str, str]:
    """SVG of each figure that a run on films without labels has numbers for."""
    charts = {}
    if len(run.distributions) and run.distributions["median"].notna().any():
        charts["scores"] = figures.score_strips(cut(run.distributions), run.about.get("threshold"))
    if len(run.abstention) and run.abstention["estimate"].notna().any():
        charts["abstention"] = figures.forest(cut(run.abstention), "share of outliers", EXPECTED)
    return {name: figures.as_svg(chart) for name, chart in charts.items()}


def cut(frame: pd.DataFrame) -> pd.DataFrame:
    """The first `ROWS` rows and the last, which may be the one that the others are compared with."""
    return frame if len(frame) <= ROWS + 1 else pd.concat([frame.head(ROWS), frame.tail(1)])


def forest_of_runs(report: BiasReport) -> str:
    """AUROC by source of all runs in one figure, or nothing for a single run."""
    frames = [
        run.groups["source"].values.query("metric == 'auroc'").assign(run=run.name)
        for run in report.runs
        if "source" in run.groups
    ]
    frames = [frame for frame in frames if frame["estimate"].notna().any()]
    if len(frames) < 2:
        return ""
    return figures.as_svg(figures.forest(pd.concat(frames, ignore_index=True), "AUROC"))


def group_table(metrics: GroupMetrics) -> list[dict[str, Any]]:
    """A row for each group, then one of the gaps: group, films, patients, and a `cell` for each metric."""
    rows: list[dict[str, Any]] = []
    for name, part in metrics.values.groupby("group", sort=False):
        cells = {row["metric"]: cell(row, row["estimate"]) for row in part.to_dict("records")}
        first = part.iloc[0]
        rows.append({"group": name, "films": first["films"], "patients": first["patients"], "cells": cells})
    gaps = {}
    for row in metrics.gaps.to_dict("records"):
        gaps[row["metric"]] = entry = cell(row, row["difference"])
        if entry["value"] and row["worst_group"]:
            entry["note"] = f"worst: {row['worst_group']}"
    rows.append({"group": "largest difference", "films": "", "patients": "", "cells": gaps})
    return rows


def cell(row: dict[Any, Any], value: float) -> dict[str, str]:
    """Two decimals and the interval to go below them, or a note on why there is none."""
    if np.isnan(value):
        return {"value": "", "interval": "", "note": row["note"]}
    return {"value": f"{value:.2f}", "interval": f"{row['low']:.2f} to {row['high']:.2f}", "note": ""}


def comparison_rows(rows: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows as dictionaries; those without a difference come last."""
    if rows.empty:
        return []
    known = rows["difference"].notna()
    return pd.concat([rows[known], rows[~known]]).to_dict("records")


def span(row: dict[Any, Any] | pd.Series, value: str = "estimate", form: str = ".3f") -> str:
    """`0.814 (0.752 to 0.861)` from the columns `value`, low and high, or `cannot conclude`."""
    return f"{Interval.of(row, value):{form}}"


def bounds(row: pd.Series, name: str) -> str:
    """`1.04 (0.80 to 1.28)` from the columns `name`, `name`_low and `name`_high, or `cannot conclude`."""
    return f"{Interval(row[name], row[f'{name}_low'], row[f'{name}_high']):.2f}"


def gap(row: Difference) -> str:
    """`+0.031 (-0.014 to +0.075)`, or `cannot conclude`."""
    return f"{Interval(row.estimate, row.low, row.high):+.3f}"


def share(row: dict[Any, Any] | pd.Series) -> str:
    """`41 % (30 to 52 %)`, or `cannot conclude`."""
    if np.isnan(row["estimate"]):
        return "cannot conclude"
    return f"{100 * row['estimate']:.0f} % ({100 * row['low']:.0f} to {100 * row['high']:.0f} %)"


def number(value: float | None, form: str = ".3f") -> str:
    """A number, or nothing for None and NaN."""
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else f"{value:{form}}"


def p_value(value: float) -> str:
    """`0.034`, `< 0.001`, or nothing."""
    return "" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def metric_name(name: str) -> str:
    """`auroc` as AUROC, others in words; an arrow down where lower is better."""
    word = NAMES.get(name, name.replace("_", " "))
    return f"{word} ↓" if name in LOWER_IS_BETTER else word
