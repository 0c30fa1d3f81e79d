"""ROC curves with operating points and net benefit by prevalence, a colour and a shape a run."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from app.drawing.checkpoint_charts import GREY, LEGEND, colour_and_shape

EVERY, NONE = "call every film", "call none"
STEPS = 500  # of an ROC curve that are drawn: more lie within a pixel


def operating_curves(curves: pd.DataFrame, marks: pd.DataFrame, runs: Sequence[str]) -> alt.LayerChart:
    """The ROC curves of runs with the operating point of each.

    Args:
        curves: columns run, false_positive_rate, sensitivity; of each run that has such a curve.
        marks: columns run, false_positive_rate, sensitivity, threshold.
        runs: all runs, in the order of their colours.
    """
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("false_positive_rate:Q", title="1 - specificity (false alarms)", scale=scale, axis=alt.Axis(tickCount=5))
    y = alt.Y("sensitivity:Q", title="sensitivity (found)", scale=scale, axis=alt.Axis(tickCount=5))
    by_run = colour_and_shape("run", runs, alt.Legend(**LEGEND, columns=2))
    diagonal = alt.Chart(pd.DataFrame({"false_positive_rate": [0, 1], "sensitivity": [0, 1]}))
    steps = alt.Chart(curves).mark_line(interpolate="step-after", strokeWidth=2)
    points = alt.Chart(marks).mark_point(filled=True, opacity=1, size=190, stroke=GREY, strokeWidth=1)
    tooltip = [
        "run:N",
        alt.Tooltip("threshold:Q", format=".3f"),
        alt.Tooltip("sensitivity:Q", format=".3f"),
        alt.Tooltip("false_positive_rate:Q", title="1 - specificity", format=".3f"),
    ]
    return alt.layer(
        diagonal.mark_line(color=GREY, strokeDash=[4, 4]).encode(x=x, y=y),
        steps.encode(x=x, y=y, color=by_run["color"], order=alt.Order("false_positive_rate:Q")),
        points.encode(x=x, y=y, tooltip=tooltip, **by_run),
    ).properties(height=400)


def benefit_lines(values: pd.DataFrame, runs: Sequence[str], prevalence: float) -> alt.LayerChart:
    """Net benefit by prevalence, beside that of calling every film (dashed) and none (0).

    Args:
        values: columns what (a run, or `EVERY`), prevalence in per cent, estimate, low, high; per 100 films.
        runs: all runs, in the order of their colours.
        prevalence: per cent, where a line is drawn.
    """
    known = values[values["what"] != EVERY]
    least, most = float(min(known["low"].min(), 0)), float(max(known["high"].max(), 1))
    # Calling every film falls far below what is worth seeing.
    scale = alt.Scale(domain=[least - 0.15 * (most - least), most], nice=False)
    y = alt.Y("estimate:Q", title="net benefit per 100 films", scale=scale, axis=alt.Axis(tickCount=6))
    axis = alt.Axis(tickCount=6, labelExpr="datum.value + ' %'")
    x = alt.X("prevalence:Q", title="prevalence", scale=alt.Scale(nice=False), axis=axis)
    tooltip = [
        alt.Tooltip("what:N", title="who is called"),
        alt.Tooltip("prevalence:Q", format=".1f"),
        alt.Tooltip("estimate:Q", title="net benefit", format=".2f"),
    ]
    colour = colour_and_shape("what", runs, alt.Legend(**LEGEND, columns=2))["color"]
    base, every = alt.Chart(known).encode(x=x), alt.Chart(values[values["what"] == EVERY])
    return alt.layer(
        base.mark_area(opacity=0.15, clip=True).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q", color=colour),
        every.mark_line(color=GREY, strokeDash=[5, 3], clip=True).encode(x=x, y=y, tooltip=tooltip),
        alt.Chart(pd.DataFrame({"y": [0.0]})).mark_rule(color=GREY).encode(y=alt.Y("y:Q", scale=scale)),
        alt.Chart(pd.DataFrame({"x": [prevalence]})).mark_rule(color=GREY, strokeDash=[1, 3]).encode(x="x:Q"),
        base.mark_line(strokeWidth=2, clip=True).encode(y=y, color=colour, tooltip=tooltip),
    ).properties(height=400)
