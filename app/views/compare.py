"""Compare on a film: several checkpoints, one film, each through its own preprocessing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import pandas as pd
import streamlit as st

from app import services
from app.drawing import charts
from app.drawing.pictures import put
from training.run.index import RunEntry

if TYPE_CHECKING:
    import numpy as np

    from app.reading.film import Said
    from app.reading.upload import Film

UPLOAD, OWN = "Upload", "A film of the test set"
SCORES, READER, NEAREST, BLANKED = "Evidence", "What the reader did", "Nearest training films", "Parts blanked"
FACTS = {
    "format": "file",
    "syntax": "transfer syntax",
    "modality": "modality",
    "view_position": "view",
    "photometric": "photometric interpretation",
    "bits": "bits stored",
    "modality_lut": "modality transformation",
    "voi": "grey transformation (VOI)",
    "voi_fallback": "VOI is a fallback",
    "inverted": "inverted to bone bright",
    "padding": "padding set to black",
    "scale": "scaled by",
    "lossy": "lossy compression",
    "looks_inverted": "still looks inverted",
    "manufacturer": "manufacturer",
    "model": "model",
    "colour": "colour, reduced to grey",
    "alpha": "transparent parts",
    "synthetic": "synthetic",
}


def page() -> None:
    """Choose a film, then show what the checkpoints say of it."""
    st.title("Compare on a film")
    entries = services.require_runs()
    if "open_film" in st.session_state:  # another page sent a film here
        st.session_state["film_from"] = OWN
    source = st.segmented_control(
        "Film",
        [UPLOAD, OWN],
        default=None if "film_from" in st.session_state else UPLOAD,
        key="film_from",
        required=True,
    )
    found = uploaded(entries) if source == UPLOAD else own(entries)
    if found is None:
        return
    film, content, label = found
    show(entries, film, content, label)


def uploaded(entries: Sequence[RunEntry]) -> "tuple[Film, bytes, str | None] | None":
    """The visitor's film, and why any other upload is none."""
    from app.reading.film import vois

    files = st.file_uploader(
        "DICOM, PNG, JPEG or TIFF films; they stay in memory and are never written",
        accept_multiple_files=True,
        key="uploads",
    )
    if not files:
        st.caption("Films are told apart by their content. Several can be given at once.")
        return None
    wanted = vois([services.model(entry).predictor for entry in entries])
    films = []
    with st.spinner("Reading"):
        contents = [file.getvalue() for file in files]
        for number, film in enumerate(services.read_uploads(contents, wanted), start=1):
            if isinstance(film, str):
                st.error(f"Film {number} can't be scored: {film}.", icon=":material/error:")
            else:
                films.append((f"film {number}", film, contents[number - 1]))
    if not films:
        return None
    names = [name for name, *_ in films]
    if len(films) > 1:
        table = pd.DataFrame({"film": names})
        for entry in entries:
            table[entry.name] = [said(entry, film).score for _, film, _ in films]
        shown = st.dataframe(
            table,
            hide_index=True,
            on_select="rerun",
            selection_mode="single-row",
            key="upload_table",
            column_config={entry.name: st.column_config.NumberColumn(format="%.3f") for entry in entries},
        )
        st.download_button(
            "Scores as CSV",
            table.assign(notice=services.RESEARCH_ONLY).to_csv(index=False),
            "scores.csv",
            icon=":material/download:",
        )
        rows = shown.selection.rows
        name, film, content = films[rows[0] if rows and rows[0] < len(films) else 0]
        st.subheader(name)
        return film, content, None
    return films[0][1], films[0][2], None


def own(entries: Sequence[RunEntry]) -> "tuple[Film, None, str | None] | None":
    """A test or external film of the first run, from where the run had it."""
    from app.reading.upload import Film
    from datasets.film.policy import Voi

    wanted = st.session_state.pop("open_film", None)  # once, shown or not: the choice above is free again
    films, predictions = services.own_films(entries[0]), services.predictions(entries[0])
    if films.cohort is None or predictions is None:
        st.warning(films.problem or "The run kept no predictions of its films.", icon=":material/image_not_supported:")
        return None
    table = predictions[predictions["split"].isin(["test", "external"])].reset_index(drop=True)
    if wanted is not None and wanted in set(table["row"]):
        st.session_state["own_film"] = int(table.index[table["row"] == wanted][0])
    names = [f"{row.source} · {row.target} · film {row.row}" for row in table.itertuples()]
    chosen = st.selectbox(
        f"Film of {entries[0].name}", range(len(names)), format_func=lambda i: names[i], key="own_film"
    )
    if chosen is None:
        return None
    row = table.iloc[chosen]
    radiograph = services.read_own(films, str(row["split"]), int(row["row"]))
    if isinstance(radiograph, str):
        st.warning(f"This film can't be shown: {radiograph}.", icon=":material/image_not_supported:")
        return None
    if (
        radiograph.facts.get("format") == "DICOM"
        and len({entry.header["preprocessing"].get("voi") for entry in entries}) > 1
    ):
        st.warning(
            "These checkpoints read the greys of DICOM films differently: choose ones that agree, or upload the film."
        )
        return None
    return Film(dict.fromkeys(get_args(Voi), radiograph)), None, str(row["target"])


def said(entry: RunEntry, film: "Film") -> "Said":
    """The checkpoint's answer."""
    from app.reading.film import say

    model = services.model(entry)
    with model.lock:
        return say(model.predictor, film.readings[model.predictor.checkpoint.preprocessing.voi])


def show(entries: Sequence[RunEntry], film: "Film", content: bytes | None, label: str | None) -> None:
    """Scores first, then whatever part is asked for."""
    answers = {entry.name: said(entry, film) for entry in entries}
    first = answers[entries[0].name]
    rows = []
    for entry in entries:
        answer, header = answers[entry.name], entry.header
        rows.append(
            {
                "run": entry.name,
                "score": answer.score,
                "threshold": header["threshold"],
                "called": answer.prediction,
                "logit": answer.logit,
                "difference": answer.score - first.score,
            }
        )
    table = pd.DataFrame(rows)
    if film.shown.facts.get("looks_inverted"):
        st.warning("This film still looks inverted (air bright). Scores of inverted films mean nothing.")
    left, right = st.columns([1, 2])
    with right:
        if label is not None:
            st.write(f"Label of this film: **{label}**")
        st.altair_chart(charts.score_lines(table), width="stretch")
        st.caption("Blue: calibrated model score of the positive class. Orange: threshold, fitted on validation films.")
        st.dataframe(
            table,
            hide_index=True,
            column_config={
                "difference": st.column_config.NumberColumn("score minus first", format="%+.3f"),
                **{name: st.column_config.NumberColumn(format="%.3f") for name in ("score", "threshold", "logit")},
            },
        )
    with left:
        view(film)
    part = st.segmented_control(
        "Look closer", [SCORES, BLANKED, NEAREST, READER], default=SCORES, key="part", required=True
    )
    if part == SCORES:
        saliency(entries, film)
    elif part == BLANKED:
        blanked(entries, film)
    elif part == NEAREST:
        nearest(entries, answers)
    else:
        reader(film, content)


@st.fragment
def view(film: "Film") -> None:
    """The film, with a window that is for the eye alone."""
    from app.reading.film import picture

    place = st.empty()
    low, high = st.slider("Window, for the eye only: scores never change", 0.0, 1.0, (0.0, 1.0), 0.01, key="window")
    width = max(high - low, 0.01)
    put(place, picture(film.shown, (low + high) / 2, width), "the film as read, bone bright")


def saliency(entries: Sequence[RunEntry], film: "Film") -> None:
    """Grad-CAM of each checkpoint over the film."""
    from app.reading.film import evidence, picture
    from models.classifier import ModelError

    heats: dict[str, np.ndarray] = {}
    with st.spinner("Grad-CAM"):
        for entry in entries:
            model = services.model(entry)
            try:
                with model.lock:
                    heats[entry.name] = evidence(
                        model.predictor, film.readings[model.predictor.checkpoint.preprocessing.voi]
                    )
            except ModelError as error:
                st.warning(f"{entry.name}: {error}")
    overlays(picture(film.shown), heats)
    st.caption(
        "Grad-CAM: orange where the score comes from, on one scale for all: 0 is no evidence, full orange the strongest "
        "place of this film in that checkpoint. Places compare between checkpoints; how strong the evidence is, the score "
        "says."
    )


@st.fragment
def overlays(grey: "np.ndarray", heats: "dict[str, np.ndarray]") -> None:
    """The maps over the film; another opacity draws them again and computes nothing."""
    from app.reading.film import overlay

    opacity = st.slider("Opacity of the evidence", 0.0, 1.0, 0.6, 0.05, key="opacity")
    names = list(heats)
    for start in range(0, len(names), 3):
        for name, column in zip(names[start : start + 3], st.columns(3), strict=False):
            put(column, overlay(grey, heats[name], opacity), name)


def blanked(entries: Sequence[RunEntry], film: "Film") -> None:
    """The score with one part of the film blanked at a time."""
    from app.reading.film import changed, counterfactuals

    parts = []
    for entry in entries:
        model = services.model(entry)
        with model.lock:
            found = counterfactuals(model.predictor, film.readings[model.predictor.checkpoint.preprocessing.voi])
        parts.append(found.assign(run=entry.name))
    moves = pd.concat(parts, ignore_index=True)
    first = services.model(entries[0]).predictor.checkpoint.preprocessing
    images = changed(first, film.readings[first.voi])
    for (name, image), column in zip(images.items(), st.columns(len(images)), strict=True):
        put(column, image[0].numpy(), "as it is" if name == "nothing" else f"{name} blanked")
    st.altair_chart(charts.counterfactual_bars(moves), width="stretch")
    st.caption(
        "A score that falls when the border or the corners go was made of them. Blanked films are unlike any film of the "
        "training: read large moves, not small ones. The lungs are two ellipses, the same for all films."
    )
    st.dataframe(
        moves.pivot(index="part", columns="run", values="score").loc[list(images), [entry.name for entry in entries]],
        column_config={entry.name: st.column_config.NumberColumn(format="%.3f") for entry in entries},
    )


def nearest(entries: Sequence[RunEntry], answers: "dict[str, Said]") -> None:
    """The nearest training films from each source, by distance of the features."""
    from app.reading.film import nearest_by_source, picture

    entry = entries[0]
    if len(entries) > 1:
        name = st.segmented_control(
            "Checkpoint", [e.name for e in entries], default=entry.name, key="nearest_of", required=True
        )
        entry = next(e for e in entries if e.name == name)
    reference, predictions = services.reference(entry), services.predictions(entry)
    if reference is None or predictions is None:
        st.info("This run kept no features of its training films; a run trained with this version does.")
        return
    features = answers[entry.name].features
    found = nearest_by_source(reference, predictions[predictions["split"] == "train"], features)
    distance = float(reference.distances(features[None])[0])
    unlike = "unlike" if distance > reference.limit else "like"
    st.write(
        f"To this checkpoint the film is **{unlike}** its training films: its {reference.k}th nearest is {distance:.2f} "
        f"away, and 95 % of validation films have theirs within {reference.limit:.2f} (0 the same, 2 the opposite)."
    )
    films = services.own_films(entry)
    for source, rows in found.groupby("source", sort=False):
        st.markdown(f"**{source}**")
        for row, column in zip(rows.to_dict("records"), st.columns(4), strict=False):
            caption = f"{row['target']} · score {row['score']:.2f} · distance {row['distance']:.2f}"
            shown = services.read_own(films, "train", int(row["row"]))
            if isinstance(shown, str):
                column.caption(f"film {row['row']} · {caption}; without its picture: {shown}")
            else:
                put(column, picture(shown), caption)


def reader(film: "Film", content: bytes | None) -> None:
    """What was done to the greys, before and after."""
    from app.reading.film import picture

    facts = film.shown.facts
    words = {True: "yes", False: "no", None: "not stated"}
    rows = [(title, facts[name]) for name, title in FACTS.items() if name in facts]
    table = pd.DataFrame(
        [
            (title, words.get(value, value) if value is None or isinstance(value, bool) else str(value))
            for title, value in rows
        ],
        columns=["what", "how"],
    )
    left, middle, right = st.columns(3)
    left.dataframe(table, hide_index=True, height=38 + 35 * len(table))
    if facts.get("format") == "DICOM" and content is not None:
        before = services.stored_picture(content)
        if not isinstance(before, str):
            put(middle, before, "before: the values as stored")
    put(right, picture(film.shown), "after: what the checkpoints see")
    st.caption("No name, date or number of a patient is read for this page.")


page()
