"""The films that a visitor uploads to Compare: one table of them all, kept for the visit; a click opens one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from app.drawing.tables import score_and_call
from app.services import answers, films, models
from app.services.runs import RESEARCH_ONLY, label
from training.run.index import RunEntry

if TYPE_CHECKING:
    from app.reading.upload import Film

KEPT = "visit_uploads"  # (name, content) of the visitor's films, for this visit alone
WIDGET = "uploads"
FILE, STATUS, FLAGS = "file", "status", "before you read the score"
UNLIKE = (
    "Why a film is not scored, or why its score means little. Unlike a checkpoint: the film's features are farther from its "
    "training films than those of 95 % of validation films."
)


def uploaded(entries: Sequence[RunEntry]) -> "tuple[Film, bytes] | None":
    """The visitor's film and its bytes: of several the one that is picked in their table."""
    what = "DICOM, PNG, JPEG or TIFF films; they stay in memory and are never written"
    st.file_uploader(what, accept_multiple_files=True, key=WIDGET, on_change=keep)
    kept: list[tuple[str, bytes]] = st.session_state.get(KEPT, [])
    if not kept:
        st.caption(
            "Films are told apart by their content. Several can be given at once. No film at hand? There is an example above."
        )
        return None
    if not st.session_state.get(WIDGET):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Kept from before: {len(kept)} film{'s' if len(kept) > 1 else ''}.")
            if st.button("Let go", icon=":material/close:", key="uploads_forget"):
                del st.session_state[KEPT]
                st.rerun()
    vois = list(dict.fromkeys(map(models.voi, entries)))
    with st.spinner("Reading"):
        read = films.read_uploads([content for _, content in kept], vois)
    if len(kept) == 1:
        if isinstance(read[0], str):
            st.error(f"This film can't be scored: {read[0]}.", icon=":material/error:")
            return None
        return read[0], kept[0][1]
    return one_of(entries, kept, read)


def keep() -> None:
    """Keep what the uploader holds; a browser that comes back to the page has an empty one."""
    st.session_state[KEPT] = [(base_name(file.name), file.getvalue()) for file in st.session_state[WIDGET]]


def base_name(name: str) -> str:
    """A file's name without folders, which some clients send."""
    return name.replace("\\", "/").rpartition("/")[2]


def one_of(
    entries: Sequence[RunEntry], kept: "Sequence[tuple[str, bytes]]", read: "Sequence[Film | str]"
) -> "tuple[Film, bytes] | None":
    """All uploads as a table, in which one is picked; the first that can be scored until then."""
    names = {entry.name: label(entry) for entry in entries}
    with st.spinner("Scoring"):
        table = pd.DataFrame(
            [row(entries, names, *film) for film in zip((name for name, _ in kept), read, strict=True)]
        )
    scored = [number for number, film in enumerate(read) if not isinstance(film, str)]
    bad = len(read) - len(scored)
    st.write(
        f"**{len(scored)}** of {len(read)} films scored" + (f", {bad} can't be: the table says why." if bad else ".")
    )
    state = st.dataframe(
        narrow(table, list(names.values())),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="upload_table",
        column_config={
            FILE: st.column_config.TextColumn(width=105),
            STATUS: st.column_config.TextColumn(width=78),
            FLAGS: st.column_config.TextColumn("warning", width=130, help=UNLIKE),
            **{name: st.column_config.TextColumn(width=112, help="Score and call.") for name in names.values()},
        },
    )
    st.download_button("Scores as CSV", csv(table), "scores.csv", icon=":material/download:", on_click="ignore")
    if not scored:
        return None
    picked = [number for number in state.selection.rows if number < len(read)]
    number = picked[0] if picked else scored[0]
    st.header(kept[number][0])
    film = read[number]
    if isinstance(film, str):
        st.error(f"This film can't be scored: {film}.", icon=":material/error:")
        return None
    return film, kept[number][1]


def narrow(table: pd.DataFrame, runs: Sequence[str]) -> pd.DataFrame:
    """The table with one column a run, which fits a narrow page."""
    shown = table[[FILE, STATUS, FLAGS]].copy()
    for run in runs:
        if f"score {run}" in table:
            shown[run] = score_and_call(table[f"score {run}"], table[f"call {run}"])
    return shown


def row(entries: Sequence[RunEntry], names: dict[str, str], file: str, film: "Film | str") -> dict[str, object]:
    """A film in the table: what warns of its scores comes before them."""
    if isinstance(film, str):
        return {FILE: file, STATUS: "not scored", FLAGS: film}
    found = [oddity.removeprefix("is ").removeprefix("looks ") for oddity in answers.oddities(film)]
    unlike, scores = list[str](), dict[str, object]()
    for entry in entries:
        answer = answers.score(entry, film)
        likeness = answers.likeness(entry, answer)
        if likeness is not None and likeness.unlike:
            unlike.append(names[entry.name])
        scores[f"score {names[entry.name]}"] = answer.score
        scores[f"call {names[entry.name]}"] = answers.called(entry, answer)
    found += [f"unlike {' and '.join(unlike)}"] if unlike else []
    return {FILE: file, STATUS: "scored", FLAGS: "; ".join(found), **scores}


def csv(table: pd.DataFrame) -> bytes:
    """The table for a spreadsheet, with the notice in every row."""
    from training.folder.merge import csv_safe

    return csv_safe(table.assign(notice=RESEARCH_ONLY)).to_csv(index=False).encode()
