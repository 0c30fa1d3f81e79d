"""The films that are picked on the page Feature space: in a map, by a group, and what is shown of them."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.drawing import checkpoint_charts
from app.drawing.map_sides import Side, named, named_groups, scores_of
from app.drawing.markdown import escaped
from app.drawing.pictures import put
from app.drawing.tables import decimals
from app.services.films import own_films, read_own

PICTURES = 6


def map_key(number: int, arrangement: str) -> str:
    """Key of a map's chart; a new key is a chart without a box or a click."""
    return f"map {number} {arrangement} {st.session_state.get('map_fresh', {}).get(number, 0)}"


def pick(key: str, number: int, points: pd.DataFrame) -> None:
    """Pick the films under a click or in a box, and wipe the other map's box."""
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


def films(sides: Sequence[Side], picked: set[int]) -> None:
    """The films that are picked: a table, and pictures of the first."""
    st.header("Picked films")
    table = scores_of(sides)
    groups = named_groups(sides, table)
    names = [f"film {row.row} · {row.source} · {row.label}" for row in table.itertuples()]
    options = groups | dict(zip(names, ([film] for film in table.index), strict=True))

    def choose() -> None:
        name = st.session_state.get("map_choice")
        set_picked(sorted(options.get(str(name), [])), set())

    what, where = "Pick a group or a film", "or pick in a map above"
    st.selectbox(what, list(options), None, key="map_choice", on_change=choose, placeholder=where)
    rows = table[table.index.isin(picked)]
    if rows.empty:
        st.write("None yet.")
        return
    columns = [f"score{place}" for place, _ in named(sides)]
    if len(columns) == 2:
        apart = (rows[columns[0]] - rows[columns[1]]).abs()
        rows = rows.loc[apart.sort_values(ascending=False).index]
    count = "1 film" if len(rows) == 1 else f"{len(rows)} films"
    order = ", those first whose scores are furthest apart" if len(columns) == 2 and len(rows) > 1 else ""
    st.write(f"{count}{order}.")
    table, height = rows.rename(columns={"row": "film"}), min(38 + 35 * len(rows), 290)
    st.dataframe(table, hide_index=True, height=height, column_config=decimals(*columns))
    pictures(sides, rows.head(PICTURES))


def pictures(sides: Sequence[Side], rows: pd.DataFrame) -> None:
    """The films themselves, where the run's data is on this machine."""
    from app.reading.film import picture  # imports torch: not before a film is picked

    problems = []
    for (film, row), place in zip(rows.iterrows(), st.columns(PICTURES), strict=False):
        side = next(side for side in sides if film in set(side.films["film"]))
        radiograph = read_own(own_films(side.entry), str(row["split"]), int(row["row"]))
        if isinstance(radiograph, str):
            problems.append(radiograph)
        else:
            put(place, picture(radiograph), escaped(f"film {row['row']} · {row['source']} · {row['label']}"))
    if problems:
        st.caption(f"Without pictures: {problems[0]}.")
