"""A closer look at one film on the page Compare: evidence, missing parts, nearest training films, what the reader did."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from app.drawing.parts_chart import scores_without_parts
from app.drawing.pictures import put
from app.drawing.tables import decimals
from app.reading import film as reading
from app.reading.upload import Film
from app.services import answers, films, models
from app.services.runs import choose_one, label
from app.views.compare_picture import Window, film_and_maps
from training.bias.questions.shortcuts import PARTS
from training.run.index import RunEntry

EVIDENCE, READER, NEAREST, BLANKED = (
    "Film and evidence",
    "What the reader did",
    "Nearest training films",
    "Parts blanked",
)
SMALL = 480  # px on the long side of a picture among others
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


def closer(entries: list[RunEntry], film: Film, content: bytes | None, window: Window) -> None:
    """The part of the page that the visitor chooses."""
    parts = [EVIDENCE, BLANKED, NEAREST, READER]
    part = st.segmented_control("Look closer", parts, default=EVIDENCE, key="part", required=True)
    if part == EVIDENCE:
        film_and_maps(entries, film, window)
    elif part == BLANKED:
        blanked(entries, film)
    elif part == NEAREST:
        nearest(entries, film)
    else:
        reader(entries, film, content)


def blanked(entries: Sequence[RunEntry], film: Film) -> None:
    """The score without each part of the film, with the pictures that the first checkpoint saw, and all its decimals."""
    scores = {
        label(entry): [answers.score(entry, film).score, *answers.without_parts(entry, film).values()]
        for entry in entries
    }
    wide = pd.DataFrame(scores, index=pd.Index(["nothing", *PARTS.values()], name="missing"))
    table = wide.reset_index().melt("missing", var_name="run", value_name="score")
    preprocessing = models.model(entries[0]).predictor.checkpoint.preprocessing
    images = reading.without_parts(preprocessing, film.readings[preprocessing.voi])
    for (name, image), column in zip(images.items(), st.columns(len(images)), strict=True):
        put(column, image[0].numpy(), f"without {PARTS[name]}")
    st.altair_chart(scores_without_parts(table), width="stretch")
    st.dataframe(wide, column_config=decimals(*wide, form="%.4f"))


def nearest(entries: list[RunEntry], film: Film) -> None:
    """The nearest training films from each source, by distance of the features."""
    entry = choose_one(entries, "nearest_of")
    reference, predictions = models.reference(entry), models.predictions(entry)
    if reference is None or predictions is None:
        st.info("This run kept no features of its training films; a run trained with this version does.")
        return
    features = answers.score(entry, film).features
    neighbours = reading.nearest_by_source(reference, predictions[predictions["split"] == "train"], features)
    likeness = reading.likeness(reference, features)
    how = {True: "**unlike** its", False: "**like** its", None: "at a distance from its"}[likeness.unlike]
    limit = "" if likeness.unlike is None else f", 95 % of validation films have theirs within {likeness.limit:.2f}"
    st.write(
        f"To this checkpoint the film is {how} training films: its {reference.k}th nearest is {likeness.distance:.2f} away"
        f"{limit} (0 the same, 2 the opposite)."
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
                put(column, reading.picture(radiograph, longest=SMALL), caption)


def reader(entries: Sequence[RunEntry], film: Film, content: bytes | None) -> None:
    """What was done to the greys: as stored, as read, and as each checkpoint sees them."""
    facts = film.shown.facts
    rows = [(title, in_words(facts[name])) for name, title in FACTS.items() if name in facts]
    pictures: list[tuple[np.ndarray, str]] = []
    if facts.get("format") == "DICOM" and content is not None:
        stored = films.stored_picture(content)
        if not isinstance(stored, str):
            pictures.append((stored, "as stored"))
    pictures.append((reading.picture(film.shown, longest=SMALL), "as read, bone bright"))
    for entry in entries:
        size = entry.header["preprocessing"]["size"]
        seen = answers.ask(reading.model_input, entry, film)
        pictures.append((seen, f"what {label(entry)} sees: {size} x {size}, scaled"))
    for start in range(0, len(pictures), 4):
        for (picture, caption), column in zip(pictures[start : start + 4], st.columns(4), strict=False):
            put(column, picture, caption)
    st.dataframe(pd.DataFrame(rows, columns=["what", "how"]), hide_index=True, height=38 + 35 * len(rows))
    st.caption("No name, date or number of a patient is read for this page.")


def in_words(value: Any) -> str:
    """A fact of a film for people."""
    if value is None:
        return "not stated"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
