"""What checkpoints say of one film: scores first, then the part that is asked for. Imports torch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import streamlit as st

from app.drawing import charts
from app.drawing.pictures import put
from app.drawing.tables import decimals
from app.reading import film as reading
from app.reading.upload import Film
from app.services import films, models
from app.services.runs import choose_one
from datasets.film.radiograph import Radiograph
from models.classifier import ModelError
from training.run.index import RunEntry
from training.scoring.predict import Predictor

Answer = TypeVar("Answer")
EVIDENCE, READER, NEAREST, BLANKED = "Evidence", "What the reader did", "Nearest training films", "Parts blanked"
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


def ask(question: Callable[[Predictor, Radiograph], Answer], entry: RunEntry, film: Film) -> Answer:
    """Call a function of `app.reading.film` with a run's model, under its lock, and the film as that model reads it."""
    model = models.model(entry)
    with model.lock:
        return question(model.predictor, film.readings[model.predictor.checkpoint.preprocessing.voi])


def scores(entries: Sequence[RunEntry], choices: Mapping[str, Film]) -> pd.DataFrame:
    """A row a film, a column a run."""
    columns = {e.name: [ask(reading.score_film, e, film).score for film in choices.values()] for e in entries}
    return pd.DataFrame({"film": list(choices), **columns})


def show(entries: list[RunEntry], film: Film, content: bytes | None, label: str | None) -> None:
    """The page below the choice of a film, which has the `content` of an upload or the `label` of a run's own film."""
    answers = {entry.name: ask(reading.score_film, entry, film) for entry in entries}
    if film.shown.facts.get("looks_inverted"):
        st.warning("This film still looks inverted (air bright). Scores of inverted films mean nothing.")
    left, right = st.columns([1, 2])
    with right:
        if label is not None:
            st.write(f"Label of this film: **{label}**")
        score_table(entries, answers)
    with left:
        view(film)
    parts = [EVIDENCE, BLANKED, NEAREST, READER]
    part = st.segmented_control("Look closer", parts, default=EVIDENCE, key="part", required=True)
    if part == EVIDENCE:
        saliency(entries, film)
    elif part == BLANKED:
        blanked(entries, film)
    elif part == NEAREST:
        nearest(entries, answers)
    else:
        reader(film, content)


def score_table(entries: Sequence[RunEntry], answers: Mapping[str, reading.FilmScore]) -> None:
    """Scores and thresholds, drawn and as numbers."""
    table = pd.DataFrame(
        {"run": e.name, "score": a.score, "threshold": e.header["threshold"], "called": a.prediction, "logit": a.logit}
        for e, a in zip(entries, answers.values(), strict=True)
    )
    table["difference"] = table["score"] - table["score"].iloc[0]
    st.altair_chart(charts.score_lines(table), width="stretch")
    st.caption("Blue: calibrated model score of the positive class. Orange: threshold, fitted on validation films.")
    columns = decimals("score", "threshold", "logit") | decimals(difference="score minus first", form="%+.3f")
    st.dataframe(table, hide_index=True, column_config=columns)


@st.fragment
def view(film: Film) -> None:
    """The film, with a window that is for the eye alone."""
    place = st.empty()
    low, high = st.slider("Window, for the eye only: scores never change", 0.0, 1.0, (0.0, 1.0), 0.01, key="window")
    put(place, reading.picture(film.shown, (low + high) / 2, max(high - low, 0.01)), "the film as read, bone bright")


def saliency(entries: Sequence[RunEntry], film: Film) -> None:
    """Grad-CAM of each checkpoint over the film."""
    heats: dict[str, np.ndarray] = {}
    with st.spinner("Grad-CAM"):
        for entry in entries:
            try:
                heats[entry.name] = ask(reading.evidence, entry, film)
            except ModelError as error:
                st.warning(f"{entry.name}: {error}")
    overlays(reading.picture(film.shown), heats)
    st.caption(
        "Grad-CAM: orange where the score comes from, on one scale for all: 0 is no evidence, full orange the strongest "
        "place of this film in that checkpoint. Compare places between checkpoints, not amounts: how strong the evidence "
        "is, the score says."
    )


@st.fragment
def overlays(grey: np.ndarray, heats: Mapping[str, np.ndarray]) -> None:
    """The maps over the film; another opacity draws them again and computes nothing."""
    opacity = st.slider("Opacity of the evidence", 0.0, 1.0, 0.6, 0.05, key="opacity")
    names = list(heats)
    for start in range(0, len(names), 3):
        for name, column in zip(names[start : start + 3], st.columns(3), strict=False):
            put(column, reading.overlay(grey, heats[name], opacity), name)


def blanked(entries: Sequence[RunEntry], film: Film) -> None:
    """The score with one part of the film blanked at a time."""
    table = pd.concat([ask(reading.counterfactuals, e, film).assign(run=e.name) for e in entries], ignore_index=True)
    preprocessing = models.model(entries[0]).predictor.checkpoint.preprocessing
    images = reading.blank_parts(preprocessing, film.readings[preprocessing.voi])
    for (name, image), column in zip(images.items(), st.columns(len(images)), strict=True):
        put(column, image[0].numpy(), "as it is" if name == "nothing" else f"{name} blanked")
    st.altair_chart(charts.counterfactual_bars(table), width="stretch")
    st.caption(
        "A score that falls when the border or the corners are blanked came from them. Blanked films are unlike any film of "
        "the training: trust large changes, not small ones. The lungs are two ellipses, the same for all films."
    )
    names = [entry.name for entry in entries]
    wide = table.pivot(index="part", columns="run", values="score").loc[list(images), names]
    st.dataframe(wide, column_config=decimals(*names))


def nearest(entries: list[RunEntry], answers: Mapping[str, reading.FilmScore]) -> None:
    """The nearest training films from each source, by distance of the features."""
    entry = choose_one(entries, "nearest_of")
    reference, predictions = models.reference(entry), models.predictions(entry)
    if reference is None or predictions is None:
        st.info("This run kept no features of its training films; a run trained with this version does.")
        return
    features = answers[entry.name].features
    neighbours = reading.nearest_by_source(reference, predictions[predictions["split"] == "train"], features)
    distance = float(reference.distances(features[None])[0])
    likeness = "unlike" if distance > reference.limit else "like"
    st.write(
        f"To this checkpoint the film is **{likeness}** its training films: its {reference.k}th nearest is {distance:.2f} "
        f"away, and 95 % of validation films have theirs within {reference.limit:.2f} (0 the same, 2 the opposite)."
    )
    own_films = films.own_films(entry)
    for source, rows in neighbours.groupby("source", sort=False):
        st.markdown(f"**{source}**")
        for row, column in zip(rows.to_dict("records"), st.columns(4), strict=False):
            caption = f"{row['target']} · score {row['score']:.2f} · distance {row['distance']:.2f}"
            radiograph = films.read_own(own_films, "train", int(row["row"]))
            if isinstance(radiograph, str):
                column.caption(f"film {row['row']} · {caption}; without its picture: {radiograph}")
            else:
                put(column, reading.picture(radiograph), caption)


def reader(film: Film, content: bytes | None) -> None:
    """What was done to the greys, before and after."""
    facts = film.shown.facts
    rows = [(title, in_words(facts[name])) for name, title in FACTS.items() if name in facts]
    left, middle, right = st.columns(3)
    left.dataframe(pd.DataFrame(rows, columns=["what", "how"]), hide_index=True, height=38 + 35 * len(rows))
    if facts.get("format") == "DICOM" and content is not None:
        stored = films.stored_picture(content)
        if not isinstance(stored, str):
            put(middle, stored, "before: the values as stored")
    put(right, reading.picture(film.shown), "after: what the checkpoints see")
    st.caption("No name, date or number of a patient is read for this page.")


def in_words(value: Any) -> str:
    """A fact of a film for people."""
    if value is None:
        return "not stated"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
