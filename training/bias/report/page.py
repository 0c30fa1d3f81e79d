"""The bias report as one self-contained HTML file: the verdict on one screen, all else folded by question."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import jinja2
import numpy as np
import pandas as pd

from datasets.listed import listed
from training.bias.numbers.groups import ALL_FILMS, EQUALISED_ODDS, GroupMetrics
from training.bias.numbers.metrics import LOWER_IS_BETTER, METRICS
from training.bias.numbers.uncertainty import Interval
from training.bias.questions.unlabelled import EXPECTED, QUANTILES, Unlabelled
from training.bias.report import figures
from training.bias.report.answers import BY_KEY
from training.bias.report.attribute_screen import attribute_screen
from training.bias.report.first_screen import first_screen, minus
from training.bias.report.headline import short_names
from training.bias.report.values import BiasReport, Comparison, RunAudit

NAMES = {"auroc": "AUROC", "auprc": "AUPRC", "ece": "ECE", "brier": "Brier", "equalised_odds": "equalised odds"}
FORESTS = (("source", "auroc"), ("source", "sensitivity"), ("source", "specificity"), ("source x target", "accuracy"))
# A table longer than this is cut, and says so: report.json has the rest.
ROWS = 60

Drawn = list[tuple[str, str]]
"""Figures side by side: name of the run, or empty for all of them, and SVG."""

Grouped = tuple[str, str, list[tuple[str, dict[str, Any]]]]
"""A group's name, its films and patients in words, and for each run its name and a cell a metric."""


def write_page(report: BiasReport, file: Path) -> None:
    """Render the report into `file`."""
    template = _templates().get_template("page.html.j2")
    page = template.render(
        report=report,
        films=audited_films(report),
        screen=first_screen(report.verdict) if report.verdict is not None else None,
        attributes=attribute_screen(
            [run.attributes for run in report.runs], [pair.attributes for pair in report.comparisons]
        ),
        drawn=drawings(report.runs),
        unlabelled=[(run, unlabelled_drawings(run)) for run in report.unlabelled],
        names=", ".join([*(run.name for run in report.runs), *(run.name for run in report.unlabelled)]),
        short=short_names([run.name for run in report.runs]),
        equalised_odds=EQUALISED_ODDS,
        groupings=list(dict.fromkeys(by for run in report.runs for by in run.groups)),
        grouped=grouped,
        beside=beside,
        once=once,
        comparison_rows=comparison_rows,
        leak_changes=leak_changes,
        quantiles=("mean", *QUANTILES),
        cut=cut,
        rows=ROWS,
        by_key=BY_KEY,
    )
    file.write_text(page, encoding="utf-8")


@cache
def _templates() -> jinja2.Environment:
    """Compiled once a process, which may write many pages."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training.bias.report", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"bounds": bounds, "minus": minus, "span": span, "number": number}
    environment.filters |= {"metric": metric_name, "p": p_value, "share": share}
    return environment


def audited_films(report: BiasReport) -> str:
    """How many films of whom these are, and which sources are new to the models."""
    about = str(report.about["films"]).replace("test,external", "test and external")
    if not report.runs:
        return about
    first = report.runs[0]
    sources = first.cohort[first.cohort["source"] != ALL_FILMS]
    unseen = sources[sources["never_seen"]]["source"].tolist()
    new = f", never seen: {listed(unseen, 5)}" if unseen else ""
    several = "s" if len(sources) != 1 else ""
    return f"{first.films:,} films, {first.patients:,} patients, {len(sources)} source{several} · {about}{new}"


def drawings(runs: Sequence[RunAudit]) -> dict[str, Drawn]:
    """Each figure that has a mark: one of all runs where they share its axes, else one for each run that has it."""
    names = short_names([run.name for run in runs])
    charts: dict[str, Drawn] = {}
    of_run: dict[str, Callable[[RunAudit], alt.TopLevelMixin | None]] = {
        "roc": lambda run: figures.roc(run.roc) if len(run.roc) else None,
        "reliability": lambda run: (
            figures.reliability(run.reliability) if figures.has_points(run.reliability) else None
        ),
        "decision": lambda run: figures.decision(run.decision) if len(run.decision) else None,
        "shortcuts": _shortcuts,
        "map source": lambda run: figures.feature_map(run.map, "source") if len(run.map) else None,
        "map target": lambda run: figures.feature_map(run.map, "target") if len(run.map) else None,
    }
    for name, draw in of_run.items():
        found = [(run.name, draw(run)) for run in runs]
        charts[name] = [(run, figures.as_svg(chart)) for run, chart in found if chart is not None]
    for by, metric in FORESTS:
        parts = [run.groups[by].values.assign(run=names[run.name]) for run in runs if by in run.groups]
        if not parts:
            continue
        values = pd.concat(parts, ignore_index=True)
        known = values[(values["metric"] == metric) & values["estimate"].notna()]
        if known.empty:
            continue
        overall = known[known["group"] == ALL_FILMS]["estimate"]
        reference = float(overall.iloc[0]) if len(runs) == 1 and len(overall) else None
        chart = figures.forest(known, metric_name(metric), reference)
        charts[f"forest {by} {metric}"] = [("", figures.as_svg(chart))]
    return {name: drawn for name, drawn in charts.items() if drawn}


def _shortcuts(run: RunAudit) -> alt.TopLevelMixin | None:
    known = run.shortcuts.dropna(subset=["estimate"]) if len(run.shortcuts) else run.shortcuts
    return figures.shortcuts(known) if len(known) else None


def unlabelled_drawings(run: Unlabelled) -> dict[str, str]:
    """SVG of each figure that a run on films without labels has numbers for."""
    charts = {}
    if len(run.distributions) and run.distributions["median"].notna().any():
        known = run.distributions[run.distributions["median"].notna()]
        charts["scores"] = figures.score_strips(cut(known), run.about.get("threshold"))
    if len(run.abstention) and run.abstention["estimate"].notna().any():
        known = run.abstention[run.abstention["estimate"].notna()]
        charts["abstention"] = figures.forest(cut(known), "share of outliers", EXPECTED)
    return {name: figures.as_svg(chart) for name, chart in charts.items()}


def cut(frame: pd.DataFrame) -> pd.DataFrame:
    """The first `ROWS` rows and the last, which may be the one that the others are compared with."""
    return frame if len(frame) <= ROWS + 1 else pd.concat([frame.head(ROWS), frame.tail(1)])


def beside(frames: Mapping[str, pd.DataFrame], keys: Sequence[str]) -> list[tuple[dict[Any, Any], dict[str, Any]]]:
    """Rows of the same keys of all runs together: the first of them, and each run's own by its name."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for run, frame in frames.items():
        for record in frame.to_dict("records"):
            rows.setdefault(tuple(record[key] for key in keys), {})[run] = record
    return [(next(iter(of_runs.values())), of_runs) for of_runs in rows.values()]


def once(frames: Mapping[str, pd.DataFrame]) -> list[tuple[str, pd.DataFrame]]:
    """Each different frame with the names of its runs, no name where all have the same."""
    found: list[tuple[list[str], pd.DataFrame]] = []
    for run, frame in frames.items():
        same = next((names for names, other in found if other.equals(frame)), None)
        if same is not None:
            same.append(run)
        elif len(frame):
            found.append(([run], frame))
    return [(", ".join(names) if len(found) > 1 else "", frame) for names, frame in found]


def grouped(runs: Sequence[RunAudit], by: str) -> tuple[list[Grouped], list[str]]:
    """Groups of all runs, the gaps last, and the metrics that have a number in any."""
    names = short_names([run.name for run in runs])
    rows: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for run in runs:
        for row in group_table(run.groups[by]) if by in run.groups else ():
            rows.setdefault(row["group"], []).append((names[run.name], row["size"], row["cells"]))
    gap = rows.pop(GAP, [])
    found = []
    for group, lines in [*rows.items(), (GAP, gap)]:
        sizes = {size for _, size, _ in lines}
        together = sizes.pop() if len(sizes) == 1 else ""
        found.append((group, together, [(f"{run}, {size}" if sizes else run, cells) for run, size, cells in lines]))
    filled = {name for _, _, lines in found for _, cells in lines for name, cell in cells.items() if cell["value"]}
    return found, [name for name in METRICS if name in filled]


GAP = "largest difference"


def group_table(metrics: GroupMetrics) -> list[dict[str, Any]]:
    """A row for each group, then one of the gaps: group, size (films and patients in words), and a `cell` for each metric."""
    rows: list[dict[str, Any]] = []
    for name, part in metrics.values.groupby("group", sort=False):
        cells = {row["metric"]: cell(row, row["estimate"]) for row in part.to_dict("records")}
        first = part.iloc[0]
        rows.append({"group": name, "size": f"{first['films']} films, {first['patients']} patients", "cells": cells})
    gaps = {}
    for row in metrics.gaps.to_dict("records"):
        gaps[row["metric"]] = entry = cell(row, row["difference"])
        if entry["value"] and row["worst_group"]:
            entry["note"] = f"worst: {row['worst_group']}"
            if not np.isnan(row["ratio"]):
                span = f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}"
                entry["note"] += f"; worst / best {row['ratio']:.2f} ({span})"
    rows.append({"group": GAP, "size": "", "cells": gaps})
    return rows


def cell(row: dict[Any, Any], value: float) -> dict[str, str]:
    """Two decimals and the interval to go below them, or a note on why there is none."""
    if np.isnan(value):
        return {"value": "", "interval": "", "note": row["note"]}
    return {"value": minus(f"{value:.2f}"), "interval": minus(f"{row['low']:.2f} to {row['high']:.2f}"), "note": ""}


def comparison_rows(comparison: Comparison) -> list[dict[Any, Any]]:
    """Rows that have a difference, as dictionaries."""
    rows = comparison.rows
    return [] if rows.empty else rows[rows["difference"].notna()].to_dict("records")


def leak_changes(report: BiasReport) -> dict[tuple[str, str, str], dict[Any, Any]]:
    """Difference in leak by the other run's name, attribute and probe."""
    return {
        (comparison.other, row["attribute"], row["kind"]): row
        for comparison in report.comparisons
        for row in comparison.leakage.to_dict("records")
    }


def span(row: dict[Any, Any] | pd.Series, value: str = "estimate", form: str = ".3f") -> str:
    """`0.814 (0.752 to 0.861)` from the columns `value`, low and high, or `cannot conclude`."""
    return f"{Interval.of(row, value):{form}}"


def bounds(row: dict[Any, Any] | pd.Series, name: str) -> str:
    """`1.04 (0.80 to 1.28)` from the columns `name`, `name`_low and `name`_high, or `cannot conclude`."""
    return f"{Interval(row[name], row[f'{name}_low'], row[f'{name}_high']):.2f}"


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
