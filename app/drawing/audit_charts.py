"""Charts of the bias page that the report does not have: frames in, Altair charts out."""

import altair as alt
import pandas as pd

from training.bias.report import figures

GREY = "#888"  # read on white and on black


def with_legend_below(chart: alt.LayerChart, height: int, entries: int) -> alt.LayerChart:
    """The chart with its legend below it, where there is room for long names.

    Args:
        height: of the chart without its legend, in pixels.
        entries: number of names in the legend, which takes its height from the chart's.
    """
    below = {"orient": "bottom", "columns": 1, "labelLimit": 420, "symbolLimit": 40}
    return chart.properties(height=height + 70 + 30 * entries).configure_legend(**below)


def square(chart: alt.LayerChart, groups: int) -> alt.LayerChart:
    """A curve in the unit square with a legend of so many groups below."""
    return with_legend_below(chart, 300, groups)


def forest(values: pd.DataFrame, title: str, reference: float | None = None) -> alt.LayerChart:
    """Estimates with intervals by group and run; where nothing can be concluded, it says so in place of a mark.

    Args:
        values: columns group, run, estimate, low, high.
        reference: where a dotted line is drawn.
    """
    order, runs = list(dict.fromkeys(values["group"])), values["run"].nunique()
    unknown = values[values["estimate"].isna()]
    layers = [figures.forest(values, title, reference)]
    if len(unknown):
        words = (
            alt.Chart(unknown)
            .mark_text(align="left", baseline="middle", color=GREY, text="cannot conclude", fontSize=11)
            .encode(y=alt.Y("group:N", title=None, sort=order), x=alt.value(6))
        )
        side = alt.YOffset("run:N", sort=list(dict.fromkeys(values["run"])))
        layers.append(words.encode(yOffset=side) if runs > 1 else words)
    return with_legend_below(alt.layer(*layers), (15 * runs + 10) * len(order), runs if runs > 1 else 0)
