"""Charts of the bias page that the report does not have: frames in, Altair charts out."""

import altair as alt
import pandas as pd

from training.bias.report import figures

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
