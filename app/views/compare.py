"""Compare on a film: several checkpoints, one film, each through its own preprocessing. This file chooses the film."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from app.drawing.markdown import escaped
from app.numbers.pairs import RunFilms, never_trained_on
from app.services import films, models
from app.services.runs import label, require_runs
from app.views.compare_uploads import uploaded
from training.run.index import RunEntry

if TYPE_CHECKING:
    from app.reading.upload import Film

UPLOAD, OWN, EXAMPLE = "Upload", "A film of the test set", "Example film"
LINK = "film"  # of a test set in the address of the page: `SET-ROW`; never an upload


class Choice(NamedTuple):
    """A film, the bytes that it was read from (of an upload alone) and what is known of it (of a run's own film alone)."""

    film: "Film"
    content: bytes | None = None
    known: str | None = None


def page() -> None:
    """Choose a film, then show what the checkpoints say of it."""
    st.title("Compare on a film")
    entries = require_runs()
    # Another page sends a film by "open_film". Written each time: a browser that opens the page again forgets the choice.
    kept = OWN if "open_film" in st.session_state else st.session_state.get("film_from")
    st.session_state["film_from"] = kept or (OWN if LINK in st.query_params else UPLOAD)
    source = st.segmented_control("Film", [UPLOAD, OWN, EXAMPLE], key="film_from", required=True)
    if source != OWN:
        st.query_params.pop(LINK, None)
    if source == UPLOAD:
        opened = uploaded(entries)
        choice = None if opened is None else Choice(*opened)
    else:
        choice = own(entries) if source == OWN else example()
    if choice is not None:
        from app.views.compare_answer import show  # imports torch, which the first page needs not wait for

        show(entries, choice.film, choice.content, choice.known)


def example() -> Choice:
    """A synthetic film."""
    from app.reading.upload import Film  # imports pydicom and its codecs
    from datasets.phantom.film import film

    st.caption("A drawn film of no patient, with a lead marker and a border, to see what the page does.")
    return Choice(Film.read_alike(film(0, 90_001, "covid", "north", 1024), "example"))


def own(entries: Sequence[RunEntry]) -> Choice | None:
    """A test or external film of the first run, from where the run had it, that no chosen run was trained on."""
    sent = st.session_state.pop("open_film", None)  # once, shown or not: the choice above is free again
    own_films = films.own_films(entries[0])
    unseen = never_trained_on([RunFilms(label(e), models.positive(e), models.predictions(e)) for e in entries])
    if own_films.cohort is None or unseen.films is None:
        problem = own_films.problem or "The run kept no predictions of its films."
        st.warning(problem, icon=":material/image_not_supported:")
        return None
    for problem in unseen.problems:
        st.warning(problem, icon=":material/school:")
    table = unseen.films
    if table.empty:
        st.write("No test film is left: choose runs that were trained on the same patients.")
        return None
    places = [f"{row.split}-{row.row}" for row in table.itertuples()]
    if sent is None and "own_film" not in st.session_state:
        sent = st.query_params.get(LINK)
    if sent in places:
        st.session_state["own_film"] = places.index(sent)
    elif sent is not None:
        st.warning("The film of this link is not among those that can be shown for these checkpoints.")
    if st.session_state.get("own_film", 0) not in range(len(table)):  # of other runs
        st.session_state["own_film"] = 0
    names = [f"{row.source} · {row.target} · film {row.row}" for row in table.itertuples()]
    number = st.selectbox(
        f"Film: test and external films of {label(entries[0])}",
        range(len(names)),
        format_func=names.__getitem__,
        key="own_film",
    )
    st.caption(unseen.rule)
    through_disagreements(places, int(number or 0))
    row = table.iloc[int(number or 0)]
    st.query_params[LINK] = places[int(number or 0)]
    film = films.own_film(entries[0], str(row["split"]), int(row["row"]))
    if isinstance(film, str):
        st.warning(f"This film can't be shown: {film}.", icon=":material/image_not_supported:")
        return None
    if film.shown.facts.get("format") == "DICOM" and len(set(map(models.voi, entries))) > 1:
        st.warning(
            "These checkpoints read the greys of DICOM films differently: choose ones that agree, or upload the film."
        )
        return None
    known = f"Label **{escaped(str(row['target']))}**, source **{escaped(str(row['source']))}**, {row['split']} set"
    return Choice(film, known=known)


def through_disagreements(places: Sequence[str], number: int) -> None:
    """Two buttons to the films before and after this one in the list that the page Disagreements sent it from."""
    order = [place for place in st.session_state.get("open_order", []) if place in places]
    if places[number] not in order:
        return
    at = order.index(places[number])

    def go(step: int) -> None:
        st.session_state["own_film"] = places.index(order[at + step])

    with st.container(horizontal=True, vertical_alignment="center"):
        first, last = at == 0, at + 1 == len(order)
        st.button("Previous", icon=":material/arrow_back:", key="film_before", on_click=go, args=(-1,), disabled=first)
        st.button("Next", icon=":material/arrow_forward:", key="film_after", on_click=go, args=(1,), disabled=last)
        st.caption(f"Disagreement {at + 1:,} of {len(order):,}, largest first")


page()
