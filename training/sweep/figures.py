"""Drawings of a sweep: what each hyper-parameter does to what is sought, and what several aims cost one another."""

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import altair as alt
import pandas as pd
import vl_convert

from datasets.files import write_aside, write_text
from training.bias.report.figures import PALETTE, as_svg
from training.sweep.space import Dimension
from training.sweep.summary import BEST, OTHERS

WIDTH, HEIGHT = 220, 180
COLUMNS = 4


def sensitivity(trials: pd.DataFrame, space: Sequence[Dimension], objectives: Sequence[str]) -> alt.VConcatChart:
    """Each objective on validation (rows) against each hyper-parameter (columns), a point a finished trial.

    Args:
        trials: columns of the hyper-parameters, of the objectives, and `kind`, a word for the legend.
    """

    def row(objective: str) -> alt.ConcatChart:
        points = (_points(trials, dimension, objective, not i % COLUMNS) for i, dimension in enumerate(space))
        return alt.concat(*points, columns=COLUMNS)

    return alt.vconcat(*map(row, objectives))


def pareto(trials: pd.DataFrame, objectives: Sequence[str]) -> alt.HConcatChart:
    """Every pair of objectives, a point a trial; those that no other trial beats in all objectives are joined.

    Args:
        trials: finished ones: columns of the objectives, `trial`, `kind`, and whether they are on the `front`.
    """
    charts = []
    for first, second in combinations(objectives, 2):
        base = alt.Chart(trials).encode(x=_axis(first, False), y=_axis(second))
        front = base.transform_filter("datum.front")
        line = front.mark_line(color="#999", strokeDash=[4, 3]).encode(order=f"{first}:Q")
        names = front.mark_text(dx=8, dy=-8, color="#333").encode(text="trial:N")
        charts.append((line + _marks(base) + names).properties(width=WIDTH + 80, height=HEIGHT + 60))
    return alt.hconcat(*charts)


def save(chart: alt.TopLevelMixin, stem: Path) -> None:
    """Write the chart as `<stem>.svg` and `<stem>.png`."""
    svg = as_svg(chart, "white")
    write_text(stem.with_suffix(".svg"), svg)
    write_aside(stem.with_suffix(".png"), lambda file: file.write_bytes(vl_convert.svg_to_png(svg, scale=2)))


def _points(trials: pd.DataFrame, dimension: Dimension, objective: str, named: bool) -> alt.Chart:
    title = dimension.name.replace("_", " ")
    if dimension.choices:
        x = alt.X(f"{dimension.name}:N", title=title, axis=alt.Axis(labelAngle=0))
    else:
        span = [dimension.low, dimension.high]
        scale = alt.Scale(type="log" if dimension.logarithmic else "linear", domain=span, nice=False)
        ticks = {"values": _decades(*span)} if dimension.logarithmic else {"tickCount": 5}
        x = alt.X(f"{dimension.name}:Q", title=title, scale=scale, axis=alt.Axis(format="~g", grid=False, **ticks))
    y = _axis(objective)
    if not named:
        y.title = None
    return _marks(alt.Chart(trials).encode(x=x, y=y)).properties(width=WIDTH, height=HEIGHT)


def _marks(base: alt.Chart) -> alt.Chart:
    colour = alt.Scale(domain=[OTHERS, BEST], range=[PALETTE[5], PALETTE[1]])
    shape = alt.Scale(domain=[OTHERS, BEST], range=["circle", "diamond"])
    return base.mark_point(filled=True, size=60, opacity=0.85).encode(
        color=alt.Color("kind:N", title=None, scale=colour), shape=alt.Shape("kind:N", title=None, scale=shape)
    )


def _decades(low: float, high: float) -> list[float]:
    """The powers of ten within a range."""
    return [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]


def _axis(objective: str, vertical: bool = True) -> alt.X | alt.Y:
    kind = alt.Y if vertical else alt.X
    title, scale = f"{objective.replace('_', ' ')} (validation)", alt.Scale(zero=False, padding=8)
    return kind(f"{objective}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5))
