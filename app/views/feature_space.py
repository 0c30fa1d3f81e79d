"""Feature space: the same films in two checkpoints, flat, epoch by epoch, and what EnD does to their pairs."""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from app import services
from app.drawing import checkpoint_charts
from app.drawing.audit_parts import escaped
from app.drawing.map_sides import Side, named, named_groups, said_of, sides_of
from app.drawing.pictures import put
from app.numbers.feature_maps import OUTCOMES, RIGHT, Watched, cosines_by_epoch
from training.run.index import RunEntry

PCA, TSNE = "PCA", "t-SNE"
COLOURS = {"source": "source", "label": "target", "error": "outcome"}
STEP_SECONDS = 1.5
PICTURES = 6
SHAPE = 1.35  # width of a map by its height


def page() -> None:
    """Choose two runs; the rest moves by itself."""
    st.title("Feature space")
    entries = two_runs(services.require_runs())
    runs = []
    for entry in entries:
        run = services.watched(entry)
        if isinstance(run, Watched):
            runs.append((entry, run))
        else:
            why = run or "it kept no features of its films during training; a run trained with this version does"
            st.warning(f"{escaped(entry.name)} has no map: {why}.", icon=":material/scatter_plot:")
    if not runs:
        st.write("This command trains two runs on synthetic films that keep them, in minutes:")
        st.code("python -m training.train --dataset phantom --paired", language=None)
        return
    sides, linked = sides_of(runs)
    if not linked:
        st.info("The two runs watched different films: what is picked in one map is not in the other.")
    playing = bool(st.session_state.get("map_playing"))
    st.fragment(maps, run_every=STEP_SECONDS if playing else None)(sides)


def two_runs(entries: Sequence[RunEntry]) -> list[RunEntry]:
    """The runs to be seen side by side: where more are chosen, the page asks which."""
    if len(entries) <= 2:
        return list(entries)
    names = {entry.name: entry for entry in entries}
    left, right = st.columns(2)
    first = left.selectbox("Left", list(names), 0, key="map_left")
    second = right.selectbox("Right", [name for name in names if name != first], 0, key="map_right")
    return [names[name] for name in (first, second) if name in names]


def maps(sides: Sequence[Side]) -> None:
    """Everything that moves with the epoch."""
    epochs = sorted({epoch for side in sides for epoch in side.run.sphere})
    epoch = moment(epochs)
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
        with place:
            one_map(number, side, epoch, str(arrangement), column, kinds, picked, near)
    if arrangement == PCA:
        st.caption(
            "Each mark is a film of the test or external set that no epoch was chosen by. PCA lays the features flat, on the "
            "plane in which they vary most over all epochs: films move, the axes stay. What lies together there may lie "
            "apart in the directions that are not drawn, and axes of different runs have nothing to do with each other."
        )
    else:
        st.caption(
            "Each mark is a film of the test or external set that no epoch was chosen by. t-SNE keeps neighbours together, "
            "anew for each epoch, started from the PCA map: who is next to whom can be read, how far groups lie apart and "
            "how large they are can't."
        )
    st.caption(
        "Click a mark to pick its film (Shift adds one), or draw a box; a click beside the marks lets all go. Films stay "
        "picked when the epoch moves. Right, missed and false alarm are by the finished run, at its threshold."
    )
    pairs(sides, epoch)
    films(sides, picked)


def moment(epochs: Sequence[int]) -> int:
    """The epoch that is looked at: from the slider, or the next one while it plays."""
    if st.session_state.get("map_epoch") not in epochs:
        st.session_state["map_epoch"] = epochs[-1]
    if len(epochs) == 1:
        return epochs[0]
    now, state = time.monotonic(), st.session_state
    if state.get("map_playing") and now - state.get("map_moved", 0.0) > 0.7 * STEP_SECONDS:
        later = [epoch for epoch in epochs if epoch > state["map_epoch"]]
        if later:
            state["map_epoch"], state["map_moved"] = later[0], now
        else:
            state["map_playing"] = False
            st.rerun()  # the whole page, whose run stops the clock
    button, slider = st.columns([1, 5], vertical_alignment="bottom")
    playing = bool(state.get("map_playing"))
    title, icon = ("Pause", ":material/pause:") if playing else ("Play", ":material/play_arrow:")
    if button.button(title, icon=icon, key="map_play", width="stretch", on_click=partial(play, epochs)):
        st.rerun()  # the whole page, whose run starts or stops the clock
    chosen = slider.select_slider(
        "Epoch",
        epochs,
        key="map_epoch",
        format_func=lambda epoch: f"after epoch {epoch}" if epoch else "before training",
    )
    return int(chosen)


def play(epochs: Sequence[int]) -> None:
    """Start or stop; at the last epoch it starts from the first."""
    state = st.session_state
    state["map_playing"] = not state.get("map_playing")
    state["map_moved"] = time.monotonic()
    if state["map_playing"] and state.get("map_epoch") == epochs[-1]:
        state["map_epoch"] = epochs[0]


def one_map(
    number: int,
    side: Side,
    epoch: int,
    arrangement: str,
    column: str,
    kinds: list[str],
    picked: set[int],
    near: bool,
) -> None:
    """The films of one run at its last kept moment up to an epoch."""
    known = [moment for moment in side.run.sphere if moment <= epoch] or [min(side.run.sphere)]
    plane = services.plane(side.entry)
    if arrangement == PCA:
        places = plane.positions[known[-1]]
        every = places if near else np.concatenate(list(plane.positions.values()))
    else:
        places = services.neighbours(side.entry, known[-1])
        every = np.array([[-1.0, -1.0], [1.0, 1.0]])
    weight = side.films["film"].isin(picked).map({True: "picked", False: "rest"}) if picked else "all"
    points = side.films.assign(x=places[:, 0], y=places[:, 1], kind=side.films[column].astype(str), weight=weight)
    points = points[["film", "row", "x", "y", "kind", "weight", "source", "target", "score", "prediction"]]
    moved = "" if known[-1] == epoch else f" · after epoch {known[-1]}, its last before this one"
    st.markdown(f"**{escaped(side.entry.name)}**{moved}")
    key = map_key(number, arrangement)
    st.altair_chart(
        checkpoint_charts.linked_map(points, kinds, room(every), arrangement),
        key=key,
        on_select=partial(pick, key, number, points),
        width="stretch",
        alt=f"Map of {len(points)} films of {side.entry.name} by {arrangement}; the box under the maps picks films as well",
    )
    if arrangement == PCA:
        first, second = (f"{100 * share:.0f} %" for share in plane.share)
        st.caption(f"The axes hold {first} and {second} of all variance of the features over all epochs.")


def room(places: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Limits of axes on which a distance looks about the same in either direction, with a margin."""
    (left, low), (right, high) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
    half = 0.54 * max(right - left, SHAPE * (high - low), 1e-6)
    x, y = (left + right) / 2, (low + high) / 2
    return (x - half, x + half), (y - half / SHAPE, y + half / SHAPE)


def map_key(number: int, arrangement: str) -> str:
    """Key of a map; a new one is a map on which nothing is drawn."""
    return f"map {number} {arrangement} {st.session_state.get('map_fresh', {}).get(number, 0)}"


def pick(key: str, number: int, points: pd.DataFrame) -> None:
    """Keep the films under a click or in a box, and wipe the other map's box."""
    selection = st.session_state[key]["selection"]
    clicked = {int(point["film"]) for point in selection.get(checkpoint_charts.POINT) or [] if "film" in point}
    box = selection.get(checkpoint_charts.BOX) or {}
    if "x" in box and "y" in box:
        inside = points["x"].between(*sorted(box["x"])) & points["y"].between(*sorted(box["y"]))
        clicked |= set(points.loc[inside, "film"].astype(int))
    st.session_state["map_choice"] = None
    set_picked(sorted(clicked), {number})


def set_picked(picked: list[int], keep: set[int]) -> None:
    """Replace what is picked; maps not in `keep` lose their box."""
    st.session_state["map_picked"] = picked
    fresh = st.session_state.setdefault("map_fresh", {})
    for number in {0, 1} - keep:
        fresh[number] = fresh.get(number, 0) + 1


def pairs(sides: Sequence[Side], epoch: int) -> None:
    """The cosines that EnD acts on."""
    st.subheader("What EnD pulls and pushes")
    cosines = pd.concat([cosines_by_epoch(side.run).assign(run=side.entry.name) for side in sides])
    if cosines["cosine"].notna().any():
        st.altair_chart(
            checkpoint_charts.cosine_lines(cosines.dropna(), epoch),
            width="stretch",
            alt="Mean cosine of two kinds of pairs of films over the epochs, for each run",
        )
    else:
        st.write("There are no such pairs: every label comes from a source of its own.")
    st.caption(
        "Mean cosine between the features of two films: 1 the same direction, 0 nothing in common. EnD's term R_perp pushes "
        "films of one source towards 0, so that the source can't be read off them; its pairs of different labels are drawn, "
        "for those of one label the classifier itself holds together. R_par pulls films of one label from different sources "
        "towards 1. Disentangled: the solid line low, the dashed one high. The dotted "
        "upright is the epoch of the maps; the scale starts where the values do."
    )
    with st.expander("The numbers"):
        table = cosines.pivot_table(index="epoch", columns=["run", "pairs"], values="cosine", sort=False)
        table.columns = pd.Index([" · ".join(names) for names in table.columns])
        st.dataframe(table.map("{:.3f}".format, na_action="ignore"))


def films(sides: Sequence[Side], picked: set[int]) -> None:
    """The films that are picked: a table, and pictures of the first."""
    st.subheader("Picked films")
    table = said_of(sides)
    groups = named_groups(sides, table)
    names = [*groups, *(f"film {row.row} · {row.source} · {row.label}" for row in table.itertuples())]
    options = dict(zip(names, [*groups.values(), *([film] for film in table.index)], strict=True))

    def choose() -> None:
        name = st.session_state.get("map_choice")
        set_picked(sorted(options.get(str(name), [])), set())

    st.selectbox(
        "Pick a group or a film", names, None, key="map_choice", on_change=choose, placeholder="or pick in a map above"
    )
    shown = table.loc[[film for film in table.index if film in picked]]
    if shown.empty:
        st.write("None yet.")
        return
    columns = [f"score{place}" for place, _ in named(sides)]
    if len(columns) == 2:
        shown = shown.assign(apart=(shown[columns[0]] - shown[columns[1]]).abs()).sort_values("apart", ascending=False)
    few = "film" if len(shown) == 1 else "films"
    st.write(
        f"{len(shown)} {few}"
        + (", those first whose scores are furthest apart." if "apart" in shown and len(shown) > 1 else ".")
    )
    st.dataframe(
        shown.drop(columns="apart", errors="ignore").rename(columns={"row": "film"}),
        hide_index=True,
        height=min(38 + 35 * len(shown), 290),
        column_config={name: st.column_config.NumberColumn(format="%.3f") for name in columns},
    )
    pictures(sides, shown.head(PICTURES))


def pictures(sides: Sequence[Side], shown: pd.DataFrame) -> None:
    """The films themselves, where the run's data is on this machine."""
    from app.reading.film import picture

    problems = []
    for film, place in zip(shown.index, st.columns(PICTURES), strict=False):
        row = shown.loc[film]
        side = next(side for side in sides if film in set(side.films["film"]))
        caption = escaped(f"film {row['row']} · {row['source']} · {row['label']}")
        found = services.read_own(services.own_films(side.entry), str(row["split"]), int(row["row"]))
        if isinstance(found, str):
            problems.append(found)
        else:
            put(place, picture(found), caption)
    if problems:
        st.caption(f"Without pictures: {problems[0]}.")


page()
