"""Charts of the bias audit: frames in, Altair charts out, for the report and the app alike.

Colours: Okabe and Ito's palette, which readers with any colour vision can tell apart; marks differ in shape as well.
Black comes last: on the dark pages of the app it can't be seen.
"""

import altair as alt
import numpy as np
import pandas as pd

PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F7F7F", "#B22222", "#000000"]
WIDTH, HEIGHT = 300, 300
# Steps of an ROC curve that are drawn: more lie within a pixel.
STEPS = 500
# A point of a reliability curve from fewer films is noise.
FILMS_OF_A_POINT = 10


def roc(curves: pd.DataFrame) -> alt.LayerChart:
    """ROC curves, one for each group, of at most `STEPS` steps each.

    Args:
        curves: columns group, false_positive_rate, sensitivity.
    """
    curves = pd.concat([_thinned(curve) for _, curve in curves.groupby("group", sort=False)])
    steps = alt.Chart(curves).mark_line(interpolate="step-after", strokeWidth=1.8)
    x, y = _unit("false_positive_rate", "1 - specificity"), _unit("sensitivity", "sensitivity")
    return _over_diagonal(steps.encode(x=x, y=y, color=_colour("group"), order=alt.Order("false_positive_rate:Q")))


def has_points(bins: pd.DataFrame) -> bool:
    """Whether a reliability curve of these bins has a point."""
    return bool(len(bins) and (bins["films"] >= FILMS_OF_A_POINT).any())


def reliability(bins: pd.DataFrame) -> alt.LayerChart:
    """Share of positives against the mean score of each bin of ten films or more; a calibrated model lies on the diagonal.

    Args:
        bins: columns group, score, share_positive, films.
    """
    known = bins[bins["films"] >= FILMS_OF_A_POINT]
    base = alt.Chart(known).encode(
        x=_unit("score", "model score"), y=_unit("share_positive", "share of positives"), color=_colour("group")
    )
    points = base.mark_circle(opacity=0.8).encode(
        size=alt.Size("films:Q", title="films", scale=alt.Scale(range=[15, 300]), legend=None)
    )
    return _over_diagonal(base.mark_line(strokeWidth=1), points)


def forest(values: pd.DataFrame, title: str, reference: float | None = None) -> alt.LayerChart:
    """Estimates with their intervals, a line a group; groups of NaN stay as names without a mark.

    Args:
        values: columns group, estimate, low, high and, where several runs are drawn, run.
        reference: value of a dashed line, such as that over all films.
    """
    several = "run" in values and values["run"].nunique() > 1
    base = alt.Chart(values).encode(y=_lines("group", values))
    if several:
        runs = list(dict.fromkeys(values["run"]))
        base = base.encode(color=_colour("run"), yOffset=alt.YOffset("run:N", sort=runs))
    colour = {} if several else {"color": PALETTE[0]}
    x = alt.X("low:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=6))
    bars = base.mark_rule(strokeWidth=1.5, **colour).encode(x=x, x2="high:Q")
    dots = base.mark_point(filled=True, size=45, opacity=1, **colour).encode(x=alt.X("estimate:Q"))
    layers = [bars, dots] if reference is None else [_dashed(reference), bars, dots]
    height = (24 if several else 18) * values["group"].nunique()
    return alt.layer(*layers).properties(width=WIDTH + 80, height=max(60, height))


def decision(curve: pd.DataFrame) -> alt.LayerChart:
    """Net benefit by threshold with its interval, beside that of calling every film positive (dashed) and none (0).

    Args:
        curve: columns threshold, model, low, high, all.
    """
    least = min(-0.05, float(curve["low"].min()))
    y = alt.Scale(domain=[max(least, -0.2), max(0.05, float(curve["high"].max()))])
    base = alt.Chart(curve).encode(x=_unit("threshold", "score from which one acts"))
    band = base.mark_area(opacity=0.2, color=PALETTE[0], clip=True).encode(
        y=alt.Y("low:Q", title="net benefit", scale=y), y2="high:Q"
    )
    model = base.mark_line(strokeWidth=1.8, color=PALETTE[0], clip=True).encode(y=alt.Y("model:Q", scale=y))
    everyone = base.mark_line(strokeDash=[5, 3], color=PALETTE[1], clip=True).encode(y=alt.Y("all:Q", scale=y))
    none = alt.Chart(pd.DataFrame({"y": [0.0]})).mark_rule(color="#888").encode(y=alt.Y("y:Q", scale=y))
    return alt.layer(none, band, everyone, model).properties(width=WIDTH, height=HEIGHT)


def score_strips(values: pd.DataFrame, threshold: float | None = None) -> alt.LayerChart:
    """Distribution of scores by group: thin from 5th to 95th percentile, thick over the middle half, the median marked.

    Args:
        values: columns group, p5, p25, median, p75, p95; a group of NaN stays as a name without a strip.
        threshold: score from which a film is called positive, drawn as a dashed line.
    """
    base = alt.Chart(values).encode(y=_lines("group", values))
    layers = [
        base.mark_rule(strokeWidth=1.5, color=PALETTE[0]).encode(x=_unit("p5", "model score"), x2="p95:Q"),
        base.mark_bar(height=10, color=PALETTE[5]).encode(x="p25:Q", x2="p75:Q"),
        base.mark_tick(thickness=3, size=14, color=PALETTE[-1]).encode(x="median:Q"),
    ]
    if threshold is not None:
        layers.insert(0, _dashed(threshold))
    return alt.layer(*layers).properties(width=WIDTH + 80, height=max(60, 24 * values["group"].nunique()))


def feature_map(points: pd.DataFrame, colour: str) -> alt.Chart:
    """Films in the plane of the two main components of the features.

    Args:
        points: columns x, y and `colour`.
    """
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    return (
        alt.Chart(points)
        .mark_point(filled=True, size=14, opacity=0.6)
        .encode(
            x=alt.X("x:Q", title="component 1", axis=axis),
            y=alt.Y("y:Q", title="component 2", axis=axis),
            color=_colour(colour),
            shape=alt.Shape(f"{colour}:N", title=None, sort=None),
        )
        .properties(width=WIDTH, height=HEIGHT)
    )


def shortcuts(table: pd.DataFrame, ink: str = "#333") -> alt.LayerChart:
    """AUROC of each perturbation as bars from 0.5, with intervals.

    Args:
        table: columns shortcut, against, estimate, low, high.
        ink: of the intervals.
    """
    table = table.assign(shortcut=table["shortcut"].str.replace("_", " "))
    base = alt.Chart(table).encode(y=_lines("shortcut", table, 200), yOffset="against:N")
    scale = alt.Scale(domain=[0, 1])
    bars = base.mark_bar(height=8).encode(
        x=alt.X("estimate:Q", title="AUROC", scale=scale, axis=alt.Axis(tickCount=5)),
        x2=alt.datum(0.5),
        color=_colour("against"),
    )
    rules = base.mark_rule(color=ink).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    height = 32 * table["shortcut"].nunique()
    return alt.layer(bars, rules, _dashed(0.5)).properties(width=WIDTH + 80, height=height)


def as_svg(chart: alt.TopLevelMixin, background: str = "transparent") -> str:
    """The chart as self-contained SVG text."""
    import vl_convert

    # Text is measured here and drawn by the reader's machine: a font that is the same width on both, and room to spare.
    padding = {"left": 16, "right": 16, "top": 5, "bottom": 5}
    configured = chart.configure(font="Arial, Helvetica, sans-serif", background=background, padding=padding)
    configured = configured.configure_view(stroke=None).configure_legend(labelLimit=320)
    with alt.data_transformers.disable_max_rows():
        svg: str = vl_convert.vegalite_to_svg(configured.to_dict())
    return svg


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """About `STEPS` rows, evenly spaced, the first and the last among them."""
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, STEPS).round().astype(int))]


def _over_diagonal(*layers: alt.Chart) -> alt.LayerChart:
    diagonal = alt.Chart(pd.DataFrame({"x": [0, 1], "y": [0, 1]})).mark_line(color="#bbb", strokeDash=[4, 4])
    return alt.layer(diagonal.encode(x="x:Q", y="y:Q"), *layers).properties(width=WIDTH, height=HEIGHT)


def _dashed(value: float) -> alt.Chart:
    return alt.Chart(pd.DataFrame({"x": [value]})).mark_rule(color="#888", strokeDash=[3, 3]).encode(x="x:Q")


def _lines(field: str, values: pd.DataFrame, limit: int = 260) -> alt.Y:
    """A line for each name, in the table's order."""
    names = list(dict.fromkeys(values[field]))
    return alt.Y(f"{field}:N", title=None, sort=names, axis=alt.Axis(labelLimit=limit))


def _unit(field: str, title: str) -> dict:
    axis = {"scale": {"domain": [0, 1]}, "axis": {"tickCount": 5}}
    return {"field": field, "type": "quantitative", "title": title} | axis


def _colour(field: str) -> alt.Color:
    return alt.Color(f"{field}:N", title=None, scale=alt.Scale(range=PALETTE), sort=None)
