"""Charts of the bias page that the report does not have: frames in, Altair charts out."""

import altair as alt
import pandas as pd

from app.numbers.dependence import LESS, MORE, NOT_TESTED, OPEN
from training.bias.report import figures
from training.bias.report.first_screen import signed

GREY = "#888"  # read on white and on black
NOT_KNOWN = "cannot conclude"


def with_legend_below(chart: alt.LayerChart, height: int, entries: int) -> alt.LayerChart:
    """The chart with a legend of so many entries below it, where there is room for long names; `height` is without it."""
    below = {"orient": "bottom", "columns": 1, "labelLimit": 420, "symbolLimit": 40}
    return chart.properties(height=height + 70 + 30 * entries).configure_legend(**below)


def square(chart: alt.LayerChart, groups: int) -> alt.LayerChart:
    """A curve in the unit square with a legend of so many groups below."""
    return with_legend_below(chart, 300, groups)


def forest(values: pd.DataFrame, title: str, reference: float | None = None) -> alt.LayerChart:
    """Estimates with intervals by group and run; where nothing can be concluded, it says so in place of a mark.

    `values` has the columns group, run, estimate, low and high; `reference` is where a dotted line is drawn.
    """
    order, runs = list(dict.fromkeys(values["group"])), list(dict.fromkeys(values["run"]))
    unknown = values[values["estimate"].isna()]
    layers = [figures.forest(values, title, reference)]
    if len(unknown):
        words = alt.Chart(unknown).mark_text(align="left", baseline="middle", color=GREY, fontSize=11, text=NOT_KNOWN)
        words = words.encode(y=alt.Y("group:N", title=None, sort=order), x=alt.value(6))
        layers.append(words.encode(yOffset=alt.YOffset("run:N", sort=runs)) if len(runs) > 1 else words)
    height = (15 * len(runs) + 10) * len(order)
    return with_legend_below(alt.layer(*layers), height, len(runs) if len(runs) > 1 else 0)


def dependence(rows: pd.DataFrame, ink: str) -> alt.LayerChart:
    """Paired differences with intervals, 0 dotted; to its right a run depends less on the source. Numbers stand at the left.

    Args:
        rows: columns run, measure, estimate, low, high, verdict.
        ink: of the measures and numbers.
    """
    runs, known = list(dict.fromkeys(rows["run"])), rows["estimate"].notna()
    numbers = rows[["estimate", "low", "high"]].to_numpy(float)
    sizes = ["{} ({} to {}) · ".format(*map(signed, row)) for row in numbers]
    words = rows["verdict"].where(~known, sizes + rows["verdict"])
    if len(runs) > 1:
        words = rows["run"] + ": " + words
    rows = rows.assign(words=words, line=rows["measure"] + "\n" + words)
    reach = max(0.05, float(rows.loc[known, ["low", "high"]].abs().to_numpy().max())) * 1.15 if known.any() else 1.0
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    title = "\N{LEFTWARDS ARROW} more dependent · difference · less dependent \N{RIGHTWARDS ARROW}"
    x = alt.X("low:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5, format="+.2f"))
    two_lines = {"labelExpr": "split(datum.label, '\\n')", "labelLineHeight": 15, "labelOffset": -6}
    axis = alt.Axis(**two_lines, labelLimit=340, labelFontSize=12, labelColor=ink)
    y = alt.Y("line:N", title=None, sort=list(rows["line"]), axis=axis)
    base = alt.Chart(rows).encode(y=y)
    colour = alt.Color("verdict:N", scale=_verdicts(VERDICT_COLOURS), legend=None)
    tooltip = ["run:N", "measure:N", alt.Tooltip("words:N", title="difference")]
    layers = [
        alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(color=GREY, strokeDash=[3, 3]).encode(x=alt.X("x:Q", scale=scale)),
        base.mark_rule(strokeWidth=2.5).encode(x=x, x2="high:Q", color=colour),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            x=alt.X("estimate:Q", scale=scale), color=colour, tooltip=tooltip,
            shape=alt.Shape("verdict:N", scale=_verdicts(VERDICT_SHAPES), legend=None),
        ),
    ]  # fmt: skip
    return alt.layer(*layers).properties(height=48 * len(rows) + 50)


VERDICT_COLOURS = {LESS: figures.PALETTE[2], MORE: figures.PALETTE[1], OPEN: GREY, NOT_TESTED: GREY}
VERDICT_SHAPES = {LESS: "circle", MORE: "diamond", OPEN: "square", NOT_TESTED: "cross"}


def _verdicts(marks: dict[str, str]) -> alt.Scale:
    return alt.Scale(domain=list(marks), range=list(marks.values()))
