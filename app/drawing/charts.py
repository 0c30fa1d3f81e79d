"""The charts of the page Compare. Charts that the report has too are in `training.bias.report.figures`."""

import altair as alt
import pandas as pd

from training.bias.report.figures import PALETTE

UNIT = alt.Scale(domain=[0, 1])
SCORE = alt.X("score:Q", title="model score", scale=UNIT, axis=alt.Axis(tickCount=5))


def score_lines(scores: pd.DataFrame) -> alt.LayerChart:
    """Each checkpoint's score on a line from 0 to 1, its threshold a tick: columns run, score, threshold, called."""
    y = alt.Y("run:N", title=None, sort=None, axis=alt.Axis(labelLimit=320, grid=True))
    base = alt.Chart(scores).encode(y=y)
    ticks = base.mark_tick(thickness=3, size=22, color=PALETTE[1]).encode(
        x=alt.X("threshold:Q", scale=UNIT), tooltip=["run:N", alt.Tooltip("threshold:Q", format=".3f")]
    )
    dots = base.mark_point(filled=True, size=130, opacity=1, color=PALETTE[0]).encode(
        x=SCORE, tooltip=["run:N", alt.Tooltip("score:Q", format=".3f"), "called:N"]
    )
    return alt.layer(ticks, dots).properties(height=alt.Step(34))


def counterfactual_bars(scores: pd.DataFrame) -> alt.Chart:
    """The score with each part blanked, a group of bars a part: columns run, part, score."""
    order = list(dict.fromkeys(scores["part"]))
    legend = alt.Legend(orient="bottom", columns=1, labelLimit=400)
    return (
        alt.Chart(scores)
        .mark_bar(height=9)
        .encode(
            y=alt.Y("part:N", title="blanked", sort=order),
            yOffset=alt.YOffset("run:N", sort=None),
            x=SCORE,
            color=alt.Color("run:N", title=None, sort=None, scale=alt.Scale(range=PALETTE), legend=legend),
            tooltip=["run:N", "part:N", alt.Tooltip("score:Q", format=".3f")],
        )
        .properties(height=alt.Step(14, **{"for": "offset"}))
    )
