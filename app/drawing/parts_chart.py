"""Drawing of the scores of a film without one part at a time."""

import altair as alt
import pandas as pd

from training.bias.report.figures import PALETTE


def scores_without_parts(scores: pd.DataFrame) -> alt.Chart:
    """A group of bars for each missing part, a bar for each run: columns run, missing, score."""
    order = list(dict.fromkeys(scores["missing"]))
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=400)
    return (
        alt.Chart(scores)
        .mark_bar(height=9)
        .encode(
            y=alt.Y("missing:N", title="missing", sort=order, axis=alt.Axis(labelLimit=200)),
            yOffset=alt.YOffset("run:N", sort=None),
            x=alt.X("score:Q", title="model score", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5)),
            color=alt.Color("run:N", title=None, sort=None, scale=alt.Scale(range=PALETTE), legend=legend),
            tooltip=["run:N", "missing:N", alt.Tooltip("score:Q", format=".3f")],
        )
        .properties(height=alt.Step(14, **{"for": "offset"}))
    )
