"""Training curves and feature maps as Altair charts, readable on light and dark grounds.

Okabe and Ito's palette without its black; what a colour tells apart, a shape or a dash tells apart too.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from training.bias.report.figures import PALETTE

COLOURS = [colour for colour in PALETTE if colour != "#000000"]
TRIANGLES = ["triangle-down", "triangle-right", "triangle-left"]
SHAPES = ["circle", "triangle-up", "square", "diamond", "cross", *TRIANGLES, "stroke"]
DASHES = [[1, 0], [6, 4]]
GREY = "#888888"
AS_CANVAS = {"embedOptions": {"renderer": "canvas"}}  # for Vega: one picture, not one element a mark
POINT, BOX = "point", "box"
MANY = 30  # picked films that would cover each other if they were drawn large
LEGEND = {"orient": "bottom", "labelLimit": 320, "symbolOpacity": 1, "symbolSize": 90}


def linked_map(
    films: pd.DataFrame, kinds: Sequence[str], limits: tuple[tuple[float, float], ...], title: str
) -> alt.Chart:
    """Films on a plane, to be picked by a click (Shift adds) or a box; picked ones are large, the others faint.

    Args:
        films: columns film, x, y, kind, row, source, target, score, prediction, weight (`all`, `picked` or `rest`).
        kinds: all kinds, in the order of their colours.
        limits: of either axis, the same for every epoch.
        title: of both axes, which adds their number.
    """
    films = films.sort_values("weight", key=lambda weight: weight == "picked", kind="stable")  # drawn last, so on top
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    # Ordinal by name: else numbers are spread over the range.
    by_weight = {"type": "ordinal", "domain": ["all", "picked", "rest"]}
    large = 150 if (films["weight"] == "picked").sum() <= MANY else 60
    return (
        alt.Chart(films)
        .mark_point(filled=True)
        .encode(
            x=alt.X("x:Q", title=f"{title} 1", axis=axis, scale=alt.Scale(domain=limits[0], nice=False)),
            y=alt.Y("y:Q", title=f"{title} 2", axis=axis, scale=alt.Scale(domain=limits[1], nice=False)),
            **colour_and_shape("kind", kinds, alt.Legend(**LEGEND, columns=3)),
            opacity=alt.Opacity("weight:N", legend=None, scale=alt.Scale(**by_weight, range=[0.75, 1, 0.18])),
            size=alt.Size("weight:N", legend=None, scale=alt.Scale(**by_weight, range=[45, large, 35])),
            tooltip=[
                alt.Tooltip("row:N", title="film"),
                "source:N",
                alt.Tooltip("target:N", title="label"),
                alt.Tooltip("score:Q", format=".3f"),
                alt.Tooltip("prediction:N", title="called"),
            ],
        )
        .add_params(
            alt.selection_point(name=POINT, fields=["film"]), alt.selection_interval(name=BOX, encodings=["x", "y"])
        )
        .properties(height=420)
    )


def cosine_lines(cosines: pd.DataFrame, epoch: int) -> alt.LayerChart:
    """Mean cosines (columns run, pairs, epoch, cosine) over epochs, a colour a run, a dash a kind of pairs."""
    runs, pairs = (list(dict.fromkeys(cosines[name])) for name in ("run", "pairs"))
    by_run = colour_and_shape("run", runs, alt.Legend(**LEGEND, columns=1))
    base = alt.Chart(cosines).encode(
        x=alt.X("epoch:Q", title="epochs trained", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("cosine:Q", title="mean cosine", scale=alt.Scale(zero=False)),
        color=by_run["color"],
        detail="pairs:N",
        tooltip=["run:N", "pairs:N", "epoch:Q", alt.Tooltip("cosine:Q", format=".3f")],
    )
    dash = alt.StrokeDash(
        "pairs:N",
        title=None,
        scale=alt.Scale(domain=pairs, range=DASHES),
        legend=alt.Legend(orient="bottom", columns=1, labelLimit=320, symbolStrokeColor=GREY, symbolSize=400),
    )
    now = alt.Chart(pd.DataFrame({"epoch": [epoch]})).mark_rule(color=GREY, strokeDash=[2, 3]).encode(x="epoch:Q")
    lines = base.mark_line(strokeWidth=2).encode(strokeDash=dash)
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(shape=by_run["shape"])
    return alt.layer(now, lines, dots).properties(height=380)


def run_key(runs: Sequence[str]) -> alt.LayerChart:
    """Colour and shape of each run, for the small charts under it."""
    axis = alt.Axis(domain=False, ticks=False, labelLimit=400, grid=False)
    points = alt.Chart(pd.DataFrame({"run": runs, "at": 0})).mark_point(filled=True, size=90, opacity=1)
    points = points.encode(
        x=alt.X("at:Q", axis=None, scale=alt.Scale(domain=[0, 40])),
        y=alt.Y("run:N", sort=list(runs), title=None, axis=axis),
        **colour_and_shape("run", runs),
    )
    return alt.layer(points).properties(height=alt.Step(22))


def training_curve(values: pd.DataFrame, runs: Sequence[str], from_zero: bool = False) -> alt.LayerChart:
    """One quantity over epochs, a line a run, the kept epoch ringed.

    Args:
        values: columns run, epoch, value, kept (whether the run's checkpoint is of this epoch).
        runs: all runs, in the order of their colours.
        from_zero: whether the scale starts at 0.
    """
    by_run = colour_and_shape("run", runs)
    base = alt.Chart(values).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, tickCount=6)),
        y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=from_zero), axis=alt.Axis(tickCount=5)),
        color=by_run["color"],
        tooltip=["run:N", "epoch:Q", alt.Tooltip("value:Q", format=".4f")],
    )
    dots = base.mark_point(filled=True, size=45, opacity=1).encode(shape=by_run["shape"])
    rings = base.transform_filter("datum.kept").mark_point(size=220, strokeWidth=2, shape="circle")
    return alt.layer(base.mark_line(strokeWidth=1.8), dots, rings).properties(height=200)


def colour_and_shape(
    field: str,
    kinds: Sequence[str],
    legend: alt.Legend | None = None,
    colours: Sequence[str] = COLOURS,
    shapes: Sequence[str] = SHAPES,
) -> dict[str, Any]:
    """Encodings that give each kind a colour and a shape, in one legend or none."""
    return {
        "color": alt.Color(f"{field}:N", title=None, legend=legend, scale=alt.Scale(domain=list(kinds), range=colours)),
        "shape": alt.Shape(f"{field}:N", title=None, legend=legend, scale=alt.Scale(domain=list(kinds), range=shapes)),
    }
