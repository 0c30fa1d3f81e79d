"""Compare on a film: several checkpoints, one film, each through its own preprocessing. This file chooses the film."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, get_args

import streamlit as st

from app.drawing.tables import decimals
from app.numbers.pairs import JUDGED
from app.services import films, models
from app.services.runs import RESEARCH_ONLY, require_runs
from datasets.film.policy import Voi
from training.run.index import RunEntry

if TYPE_CHECKING:
    from app.reading.upload import Film

UPLOAD, OWN = "Upload", "A film of the test set"


class Choice(NamedTuple):
    """A film, the bytes that it was read from (of an upload alone) and its label (of a run's own film alone)."""

    film: "Film"
    content: bytes | None = None
    label: str | None = None


def page() -> None:
    """Choose a film, then show what the checkpoints say of it."""
    st.title("Compare on a film")
    entries = require_runs()
    # Another page sends a film by "open_film". Written each time: a browser that opens the page again forgets the choice.
    kept = OWN if "open_film" in st.session_state else st.session_state.get("film_from")
    st.session_state["film_from"] = kept or UPLOAD
    source = st.segmented_control("Film", [UPLOAD, OWN], key="film_from", required=True)
    choice = uploaded(entries) if source == UPLOAD else own(entries)
    if choice is not None:
        from app.views.compare_parts import show  # imports torch, which the first page needs not wait for

        show(entries, choice.film, choice.content, choice.label)


def uploaded(entries: Sequence[RunEntry]) -> Choice | None:
    """The visitor's film; each upload that can't be read gets a sentence."""
    what = "DICOM, PNG, JPEG or TIFF films; they stay in memory and are never written"
    files = st.file_uploader(what, accept_multiple_files=True, key="uploads")
    if not files:
        st.caption("Films are told apart by their content. Several can be given at once.")
        return None
    checkpoints = [models.model(entry).predictor.checkpoint for entry in entries]
    vois = list(dict.fromkeys(checkpoint.preprocessing.voi for checkpoint in checkpoints))
    choices: dict[str, Choice] = {}
    with st.spinner("Reading"):
        contents = [file.getvalue() for file in files]
        for number, film in enumerate(films.read_uploads(contents, vois), start=1):
            if isinstance(film, str):
                st.error(f"Film {number} can't be scored: {film}.", icon=":material/error:")
            else:
                choices[f"film {number}"] = Choice(film, contents[number - 1])
    return one_of(choices, entries) if len(choices) > 1 else next(iter(choices.values()), None)


def one_of(choices: dict[str, Choice], entries: Sequence[RunEntry]) -> Choice:
    """The scores of all uploads as a table, in which one is picked."""
    from app.views.compare_parts import scores

    table = scores(entries, {name: choice.film for name, choice in choices.items()})
    state = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="upload_table",
        column_config=decimals(*(entry.name for entry in entries)),
    )
    csv = table.assign(notice=RESEARCH_ONLY).to_csv(index=False)
    st.download_button("Scores as CSV", csv, "scores.csv", icon=":material/download:")
    rows, names = state.selection.rows, list(choices)
    name = names[rows[0] if rows and rows[0] < len(names) else 0]
    st.subheader(name)
    return choices[name]


def own(entries: Sequence[RunEntry]) -> Choice | None:
    """A test or external film of the first run, from where the run had it."""
    sent = st.session_state.pop("open_film", None)  # once, shown or not: the choice above is free again
    own_films, predictions = films.own_films(entries[0]), models.predictions(entries[0])
    if own_films.cohort is None or predictions is None:
        problem = own_films.problem or "The run kept no predictions of its films."
        st.warning(problem, icon=":material/image_not_supported:")
        return None
    table = predictions[predictions["split"].isin(JUDGED)].reset_index(drop=True)
    if sent is not None and sent in set(table["row"]):
        st.session_state["own_film"] = int(table.index[table["row"] == sent][0])
    names = [f"{row.source} · {row.target} · film {row.row}" for row in table.itertuples()]
    what = f"Film of {entries[0].name}"
    number = st.selectbox(what, range(len(names)), format_func=names.__getitem__, key="own_film")
    if number is None:
        return None
    row = table.iloc[number]
    radiograph = films.read_own(own_films, str(row["split"]), int(row["row"]))
    if isinstance(radiograph, str):
        st.warning(f"This film can't be shown: {radiograph}.", icon=":material/image_not_supported:")
        return None
    vois = {entry.header["preprocessing"].get("voi") for entry in entries}
    if radiograph.facts.get("format") == "DICOM" and len(vois) > 1:
        st.warning(
            "These checkpoints read the greys of DICOM films differently: choose ones that agree, or upload the film."
        )
        return None
    from app.reading.upload import Film  # imports pydicom and its codecs

    return Choice(Film(dict.fromkeys(get_args(Voi), radiograph)), label=str(row["target"]))


page()
