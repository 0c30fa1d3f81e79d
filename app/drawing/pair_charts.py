"""Drawing of two checkpoints' scores of the same films against each other."""

from collections.abc import Sequence
from typing import NamedTuple

import altair as alt
import pandas as pd

from training.bias.report.figures import PALETTE

GREY = "#888"  # read on white and on black
PICKED = "film"  # name of the selection


class Axis(NamedTuple):
    """The scores of a run."""

    column: str
    run: str
    threshold: float | None  # drawn dashed; None where the most probable class is called


def score_against_score(films: pd.DataFrame, axes: Sequence[Axis], labels: Sequence[str]) -> alt.LayerChart:
    """A point a film; those on the diagonal have the same score from both. A click picks the film.

    `films` has the columns row, source, label and those of both axes. `labels` are all labels, also of films that are not
    drawn, so that each keeps its colour and shape.
    """
    unit, style = alt.Scale(domain=[0, 1]), alt.Axis(tickCount=5, titleLimit=420)
    diagonal = alt.Chart(pd.DataFrame({"a": [0, 1], "b": [0, 1]})).mark_line(color=GREY, strokeWidth=1)
    layers, channels = [diagonal.encode(x="a:Q", y="b:Q")], []
    tips = [alt.Tooltip("row:Q", title="film"), "source:N", "label:N"]
    for channel, axis in zip((alt.X, alt.Y), axes, strict=True):
        channels.append(channel(f"{axis.column}:Q", title=f"score of {axis.run}", scale=unit, axis=style))
        tips.append(alt.Tooltip(f"{axis.column}:Q", title=axis.run, format=".3f"))
        if axis.threshold is not None:
            line = alt.Chart(pd.DataFrame({"a": [axis.threshold]})).mark_rule(color=GREY, strokeDash=[4, 4])
            layers.append(line.encode(channel("a:Q")))
    known = [*labels, "no label"] if films["label"].isna().any() else [*labels]
    points = alt.Chart(films.assign(label=films["label"].fillna("no label"))).encode(
        *channels,
        color=alt.Color("label:N", title=None, scale=alt.Scale(domain=known, range=PALETTE[: len(known)])),
        shape=alt.Shape("label:N", title=None, scale=alt.Scale(domain=known)),
        tooltip=tips,
    )
    picked = alt.selection_point(name=PICKED, fields=["row"], on="click", empty=True)
    layers.append(points.mark_point(filled=True, size=70, opacity=0.65).add_params(picked))
    return alt.layer(*layers).properties(height=460).configure_legend(orient="bottom", labelLimit=300)
