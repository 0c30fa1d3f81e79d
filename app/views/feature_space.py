"""Feature space: the same films in two checkpoints, in a plane, epoch by epoch, and what EnD does to their pairs."""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from app.drawing import checkpoint_charts
from app.drawing.map_sides import Side, sides_of
from app.drawing.markdown import escaped
from app.numbers.feature_maps import OUTCOMES, RIGHT, ProbeFilms, cosines_by_epoch
from app.services import models
from app.services.runs import label, require_runs
from app.views.picked_films import films, map_key, pick
from training.run.index import RunEntry

PCA, TSNE = "PCA", "t-SNE"
COLOURS = {"source": "source", "label": "target", "error": "outcome"}
STEP_SECONDS = 1.5
SHAPE = 1.35  # width of a map by its height
MARKS = "A mark is a test or external film, which no epoch was chosen by. Click one to pick its film, or draw a box."
PICKING = (
    " Shift and a click add a film; a click beside the marks lets all go. Films stay picked when the epoch changes. Right, "
    "missed and false alarm are by the finished run, at its threshold."
)
PAIRS = (
    "Mean cosine between the features of two films: 1 the same direction, 0 nothing in common. EnD's term R_perp pushes "
    "films of one source towards 0, so that the source can't be predicted from them; only its pairs of different labels "
    "are drawn, because the classifier itself pulls those of one label together. R_par pulls films of one label from "
    "different sources towards 1. The dotted upright is the epoch of the maps; the scale starts where the values do."
)
CAPTIONS = {
    PCA: "PCA projects the features onto the plane in which they vary most over all epochs: films move, the axes stay. Films "
    "that lie together here may lie apart in directions that are not drawn. Axes of different runs can't be compared.",
    TSNE: "t-SNE keeps neighbours together, anew for each epoch, started from the PCA map: it shows who is next to whom, not "
    "how far groups lie apart or how large they are.",
}


def page() -> None:
    """Choose two runs; the rest is drawn again with each epoch."""
    st.title("Feature space")
    runs = []
    for entry in two_runs(require_runs()):
        probe = models.probe(entry)
        if isinstance(probe, ProbeFilms):
            runs.append((entry, label(entry), probe))
        else:
            why = probe or "it kept no features of its films during training; a run trained with this version does"
            st.warning(f"{escaped(label(entry))} has no map: {why}.", icon=":material/scatter_plot:")
    if not runs:
        st.write("This command trains two runs on synthetic films that keep them, in minutes:")
        st.code("python -m training.train --dataset phantom --paired", language=None)
        return
    sides, linked = sides_of(runs)
    if not linked:
        st.info("The two runs have different films here: what is picked in one map is not in the other.")
    playing = bool(st.session_state.get("map_playing"))
    st.fragment(maps, run_every=STEP_SECONDS if playing else None)(sides)


def two_runs(entries: Sequence[RunEntry]) -> list[RunEntry]:
    """The runs to be seen side by side: where more are chosen, the page asks which."""
    if len(entries) <= 2:
        return list(entries)
    runs = {label(entry): entry for entry in entries}
    left, right = st.columns(2)
    first = left.selectbox("Left", list(runs), 0, key="map_left")
    second = right.selectbox("Right", [name for name in runs if name != first], 0, key="map_right")
    return [runs[name] for name in (first, second) if name in runs]


def maps(sides: Sequence[Side]) -> None:
    """Everything that changes with the epoch."""
    epoch = choose_epoch(sorted({epoch for side in sides for epoch in side.run.sphere}))
    left, right = st.columns(2)
    arrangement = left.segmented_control("Arranged by", [PCA, TSNE], default=PCA, key="map_by", required=True)
    colour = right.segmented_control("Coloured by", list(COLOURS), default="source", key="map_colour", required=True)
    near = arrangement == PCA and st.toggle("Zoom in on this epoch; else all epochs share a scale", key="map_near")
    column = COLOURS[colour]
    kinds = sorted({str(kind) for side in sides for kind in side.films[column]})
    if column == "outcome":
        kinds = [kind for kind in OUTCOMES if kind in kinds or kind == RIGHT]
    picked = set(st.session_state.get("map_picked", []))
    for number, (side, place) in enumerate(zip(sides, st.columns(len(sides)), strict=True)):
        points, limits = positions(side, epoch, str(arrangement), near)
        points["kind"] = side.films[column].astype(str)
        points["weight"] = points["film"].isin(picked).map({True: "picked", False: "rest"}) if picked else "all"
        with place:
            draw_map(number, side, epoch, points, kinds, limits, str(arrangement))
    st.caption(MARKS, help=CAPTIONS[str(arrangement)] + PICKING)
    pairs(sides, epoch)
    films(sides, picked)


def choose_epoch(epochs: Sequence[int]) -> int:
    """The epoch that is shown: from the slider, or the next one while it plays."""
    state, now = st.session_state, time.monotonic()
    if state.get("map_epoch") not in epochs:
        state["map_epoch"] = epochs[-1]
    if len(epochs) == 1:
        return epochs[0]
    if state.get("map_playing") and state.get("map_moved") is None:
        state["map_moved"] = now
    elif state.get("map_playing") and now - state["map_moved"] > 0.7 * STEP_SECONDS:
        later = [epoch for epoch in epochs if epoch > state["map_epoch"]]
        if later:
            state["map_epoch"], state["map_moved"] = later[0], now
        else:
            state["map_playing"] = False
            st.rerun()  # the whole page, whose run stops the clock
    button, slider = st.columns([1, 5], vertical_alignment="bottom")
    title, icon = ("Pause", ":material/pause:") if state.get("map_playing") else ("Play", ":material/play_arrow:")
    if button.button(title, icon=icon, key="map_play", width="stretch", on_click=partial(play, epochs)):
        state["map_moved"] = None  # the clock starts when the whole page has been drawn again
        st.rerun()
    after = {epoch: f"after epoch {epoch}" if epoch else "before training" for epoch in epochs}
    return int(slider.select_slider("Epoch", epochs, key="map_epoch", format_func=after.__getitem__))


def play(epochs: Sequence[int]) -> None:
    """Start or stop; at the last epoch it starts from the first."""
    state = st.session_state
    state["map_playing"] = not state.get("map_playing")
    if state["map_playing"] and state.get("map_epoch") == epochs[-1]:
        state["map_epoch"] = epochs[0]


def last_kept(side: Side, epoch: int) -> int:
    """The last epoch up to this one after which the run kept features; its first where there is none."""
    return max((kept for kept in side.run.sphere if kept <= epoch), default=min(side.run.sphere))


def positions(
    side: Side, epoch: int, arrangement: str, near: bool
) -> tuple[pd.DataFrame, tuple[tuple[float, float], ...]]:
    """The films of one run with their x and y, and the limits of both axes; `near` leaves out other epochs' positions."""
    if arrangement == PCA:
        by_epoch = models.plane(side.entry).positions
        xy = by_epoch[last_kept(side, epoch)]
        shown = xy if near else np.concatenate(list(by_epoch.values()))
    else:
        xy = models.neighbours(side.entry, last_kept(side, epoch))
        shown = np.array([[-1.0, -1.0], [1.0, 1.0]])
    columns = ["film", "row", "source", "target", "score", "prediction"]
    return side.films[columns].assign(x=xy[:, 0], y=xy[:, 1]), axis_limits(shown)


def axis_limits(xy: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Limits of axes on which a distance looks about the same in either direction, with a margin."""
    (left, low), (right, high) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
    half = 0.54 * max(right - left, SHAPE * (high - low), 1e-6)
    x, y = (left + right) / 2, (low + high) / 2
    return (x - half, x + half), (y - half / SHAPE, y + half / SHAPE)


def draw_map(
    number: int,
    side: Side,
    epoch: int,
    points: pd.DataFrame,
    kinds: list[str],
    limits: tuple[tuple[float, float], ...],
    arrangement: str,
) -> None:
    """One map with its heading; films that are clicked or in a box are picked."""
    kept = last_kept(side, epoch)
    other_epoch = "" if kept == epoch else f" · after epoch {kept}, its last before this one"
    st.markdown(f"**{escaped(side.label)}**{other_epoch}")
    key = map_key(number, arrangement)
    st.altair_chart(
        # As one picture: drawn as SVG, the box that a visitor draws would be a picture without a name to a screen reader.
        checkpoint_charts.linked_map(points, kinds, limits, arrangement).properties(
            usermeta=checkpoint_charts.AS_CANVAS
        ),
        key=key,
        on_select=partial(pick, key, number, points),
        width="stretch",
        alt=f"Map of {len(points)} films of {side.label} by {arrangement}; the box under the maps picks films as well",
    )
    if arrangement == PCA:
        first, second = (f"{100 * share:.0f} %" for share in models.plane(side.entry).share)
        st.caption(f"The axes hold {first} and {second} of all variance of the features over all epochs.")


def pairs(sides: Sequence[Side], epoch: int) -> None:
    """The cosines that EnD acts on."""
    st.header("What EnD pulls and pushes", help=PAIRS)
    cosines = pd.concat([cosines_by_epoch(side.run).assign(run=side.label) for side in sides])
    if cosines["cosine"].notna().any():
        chart = checkpoint_charts.cosine_lines(cosines.dropna(), epoch)
        what = "Mean cosine of two kinds of pairs of films over the epochs, for each run"
        st.altair_chart(chart, width="stretch", alt=what)
    else:
        st.write("There are no such pairs: every label comes from a source of its own.")
    st.caption("Disentangled: the solid line low, the dashed one high.")
    with st.expander("The numbers"):
        table = cosines.pivot_table(index="epoch", columns=["run", "pairs"], values="cosine", sort=False)
        table.columns = pd.Index([" · ".join(names) for names in table.columns])
        st.dataframe(table.map("{:.3f}".format, na_action="ignore"))


page()
