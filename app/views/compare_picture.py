"""The film on the page Compare: a window for the eye, and the film beside its maps, to zoom into."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import streamlit as st

from app.drawing.film_viewer import film_viewer
from app.drawing.pictures import put
from app.reading import film as reading
from app.reading.upload import Film
from app.services import answers
from app.services.runs import label
from models.classifier import ModelError
from training.run.index import RunEntry

OWN_WINDOW = "Own"
ZOOMED = 4096  # px on the long side of a film that is zoomed into; few detectors have more
HOW = (
    "The wheel, + and - zoom; dragging and the arrow keys move; 0 or a double click shows the whole film. Film and maps "
    "move as one, in the film's own resolution. The window above holds here too."
)
GRAD_CAM = (
    "Grad-CAM: orange where the score comes from, on one scale for all: 0 is no evidence, full orange the strongest place of "
    "this film in that checkpoint. Compare places between checkpoints, not amounts."
)


class Window(NamedTuple):
    """Grey levels of the film that are drawn black and white."""

    low: float
    high: float


def picture(film: Film) -> Window:
    """The film under the window that is chosen above it, for the eye alone."""
    presets = reading.windows(film.shown)
    name = st.segmented_control(
        "Window", [*presets, OWN_WINDOW], default=next(iter(presets)), key="window", required=True,
        help="For the eye alone: scores never change.",
    )  # fmt: skip
    if name == OWN_WINDOW:
        window = Window(*st.slider("Black and white at", 0.0, 1.0, (0.0, 1.0), 0.01, key="window_limits"))
    else:
        window = Window(*presets.get(str(name), (0.0, 1.0)))
    put(st, reading.picture(film.shown, *window), "the film as read, bone bright")
    return window


def film_and_maps(entries: Sequence[RunEntry], film: Film, window: Window) -> None:
    """The film in full resolution and each checkpoint's map beside it; a sentence for one that has none."""
    found = dict[str, np.ndarray]()
    for entry in entries:
        try:
            found[label(entry)] = answers.evidence(entry, film)
        except ModelError as error:
            st.warning(f"{label(entry)}: {error}")
    film_viewer(reading.picture(film.shown, *window, ZOOMED), found, film.key)
    st.caption(HOW, help=GRAD_CAM if found else None)
