"""The films of the page Disagreements as pictures, some at a time, and which part of them the scores part over."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app.drawing.markdown import escaped
from app.drawing.pictures import put
from app.numbers.film_answer import apart, signed
from app.services import answers
from app.services import films as film_service
from app.services.runs import label
from training.bias.questions.shortcuts import PARTS
from training.run.index import RunEntry

AT_ONCE = 8
CARD = 232  # px: four in a row on a wide page, two on a narrow one
HOW = (
    "Each film is scored again without its border, corners, lungs or one half. Named is the part whose absence moves the "
    "scores most differently. Trust large changes, not small ones."
)
PAGE, WHY = "disagreement_page", "disagreement_why"


def grid(entries: Sequence[RunEntry], films: pd.DataFrame) -> int | None:
    """The films from the largest difference on; the place of the one that is opened."""
    names = [label(entry) for entry in entries]
    first = _first_shown(len(films))
    shown = films.iloc[first : first + AT_ONCE]
    reasons: list[str | None] = [None] * len(shown)
    summary = st.empty()
    if st.toggle("Why: which part of the film do they disagree on?", key=WHY, help=HOW):
        with st.spinner("Scoring these films without each part"):
            parts = [_reason(entries, film) for film in shown.to_dict("records")]
        reasons = [_in_words(part, names) for part in parts]
        summary.markdown(f"**{escaped(_summary([part for part, _ in parts]))}**")
    opened = None
    with st.container(horizontal=True, gap="small"):
        for place, (film, reason) in enumerate(zip(shown.to_dict("records"), reasons, strict=True), start=first):
            with st.container(width=CARD, border=True, gap="xsmall"):
                _card(entries[0], film, names, reason)
                if st.button(
                    f"Open film {film['row']}",
                    key=f"open_{film['split']}_{film['row']}",
                    icon=":material/open_in_full:",
                ):
                    opened = place
    return opened


def _first_shown(count: int) -> int:
    """Which films are shown, from the two buttons; the page that was seen last stays while it exists."""
    last = (count - 1) // AT_ONCE
    page = st.session_state[PAGE] = min(st.session_state.get(PAGE, 0), last)

    def turn(step: int) -> None:
        st.session_state[PAGE] = page + step

    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Previous", key="grid_before", icon=":material/arrow_back:", on_click=turn, args=(-1,), disabled=not page
        )
        st.button(
            "Next", key="grid_after", icon=":material/arrow_forward:", on_click=turn, args=(1,), disabled=page == last
        )
        end = min((page + 1) * AT_ONCE, count)
        st.caption(f"{page * AT_ONCE + 1:,} to {end:,} of {count:,}, largest difference first")
    return page * AT_ONCE


def _card(entry: RunEntry, film: dict[Hashable, Any], names: Sequence[str], reason: str | None) -> None:
    """A film with what is known of it and what the runs say."""
    picture = film_service.thumbnail(entry, str(film["split"]), int(film["row"]))
    known = [film["source"], film["label"], film["view"], film["age_band"]]
    about = escaped(" · ".join(str(fact) for fact in known if not pd.isna(fact)))
    if isinstance(picture, str):
        st.caption(f"Without its picture: {picture}.")
    else:
        put(st, picture, about)
    for number, name in enumerate(names):
        called = film[f"called_{number}"]
        wrong = "" if pd.isna(film["label"]) or called == film["label"] else ", wrong"
        st.markdown(escaped(name) + f" **{film[f'score_{number}']:.2f}** " + escaped(f"{called}{wrong}"))
    if reason is not None:
        st.markdown(escaped(reason))


def _reason(entries: Sequence[RunEntry], film: dict[Hashable, Any]) -> tuple[str | None, list[float]]:
    """The part over which the scores of a film part most, and their moves without it; None where none, or not known."""
    own = film_service.own_film(entries[0], str(film["split"]), int(film["row"]))
    if isinstance(own, str):
        return None, []
    moves = [answers.moves(entry, own) for entry in entries]
    part = apart(moves)
    return part, [] if part is None else [of_run[part] for of_run in moves]


def _in_words(found: tuple[str | None, list[float]], names: Sequence[str]) -> str:
    part, moves = found
    if part is None:
        return "no part moves them differently"
    said = ", ".join(f"{name} {signed(move)}" for name, move in zip(names, moves, strict=True))
    return f"without {PARTS[part]}: {said}"


def _summary(parts: Sequence[str | None]) -> str:
    """How often the scores part over which part."""
    counts = Counter(PARTS[part] for part in parts if part is not None).most_common()
    if not counts:
        return "On none of these films does a missing part move the scores differently."
    said = ", ".join(f"{name} ({count})" for name, count in counts)
    return f"On these {len(parts)} films the scores part most over: {said}."
