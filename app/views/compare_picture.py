"""The film on the page Compare: a window for the eye, and a view to zoom into with the maps over it."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from app.drawing.pictures import put
from app.drawing.zoom_chart import zoom_chart
from app.reading import film as reading
from app.reading.upload import Film
from app.services import answers
from app.services.runs import label
from models.classifier import ModelError
from training.run.index import RunEntry

OWN_WINDOW = "Own"
ZOOMED = 4096  # px on the long side of a film that is zoomed into; few detectors have more


@st.fragment
def view(entries: Sequence[RunEntry], film: Film) -> None:
    """The film, with a window that is for the eye alone, and a toggle for the view to zoom into."""
    presets = reading.windows(film.shown)
    window = st.segmented_control(
        "Window", [*presets, OWN_WINDOW], default=next(iter(presets)), key="window", required=True,
        help="For the eye alone: scores never change.",
    )  # fmt: skip
    if window == OWN_WINDOW:
        low, high = st.slider("Black and white at", 0.0, 1.0, (0.0, 1.0), 0.01, key="window_limits")
    else:
        low, high = presets.get(str(window), (0.0, 1.0))
    if not st.toggle("Zoom and pan in full resolution, with the evidence maps", key="zoom"):
        put(st, reading.picture(film.shown, low, high), "the film as read, bone bright")
        return
    chart = zoom_chart(reading.picture(film.shown, low, high, ZOOMED), maps(entries, film))
    st.altair_chart(chart, width="stretch", alt="The film, to zoom into with the mouse")
    st.caption("The wheel zooms, dragging moves the film, a double click shows all of it.")


def maps(entries: Sequence[RunEntry], film: Film) -> dict[str, np.ndarray]:
    """Grad-CAM of each checkpoint by its name; a sentence for one that has none."""
    found = {}
    for entry in entries:
        try:
            found[label(entry)] = answers.evidence(entry, film)
        except ModelError as error:
            st.warning(f"{label(entry)}: {error}")
    return found
