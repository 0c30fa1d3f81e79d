"""Drawing of two checkpoints' scores of the same films against each other."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from training.bias.report.figures import PALETTE

GREY = "#888"  # read on white and on black
PICKED = "film"  # name of the selection


def score_against_score(
    films: pd.DataFrame,
    x: str,
    y: str,
    names: tuple[str, str],
    thresholds: tuple[float | None, float | None],
    labels: Sequence[str],
) -> alt.LayerChart:
    """A point a film; those on the diagonal have the same score from both. A click picks the film.

    Args:
        films: columns row, source, label, `x` and `y`.
        x: column of the first run's scores.
        thresholds: of both runs, drawn dashed; None where the most probable class is called.
        labels: all labels, also of films that are not drawn, so that each keeps its colour and shape.
    """
    unit, ends = alt.Scale(domain=[0, 1]), pd.DataFrame({"a": [0, 1], "b": [0, 1]})
    axes = [
        channel(f"{column}:Q", title=f"score of {name}", scale=unit, axis=alt.Axis(tickCount=5, titleLimit=420))
        for channel, column, name in zip((alt.X, alt.Y), (x, y), names, strict=True)
    ]
    diagonal = alt.Chart(ends).mark_line(color=GREY, strokeWidth=1).encode(x="a:Q", y="b:Q")
    lines = [
        alt.Chart(pd.DataFrame({"a": [threshold]})).mark_rule(color=GREY, strokeDash=[4, 4]).encode(channel("a:Q"))
        for channel, threshold in zip((alt.X, alt.Y), thresholds, strict=True)
        if threshold is not None
    ]
    picked = alt.selection_point(name=PICKED, fields=["row"], on="click", empty=True)
    tips = [
        alt.Tooltip("row:Q", title="film"),
        "source:N",
        "label:N",
        *(alt.Tooltip(f"{c}:Q", title=name, format=".3f") for c, name in zip((x, y), names, strict=True)),
    ]
    known = [*labels, "no label"] if films["label"].isna().any() else [*labels]
    points = (
        alt.Chart(films.assign(label=films["label"].fillna("no label")))
        .mark_point(filled=True, size=70, opacity=0.65)
        .encode(
            *axes,
            color=alt.Color("label:N", title=None, scale=alt.Scale(domain=known, range=PALETTE[: len(known)])),
            shape=alt.Shape("label:N", title=None, scale=alt.Scale(domain=known)),
            tooltip=tips,
        )
        .add_params(picked)
    )
    return alt.layer(diagonal, *lines, points).properties(height=460).configure_legend(orient="bottom", labelLimit=300)
