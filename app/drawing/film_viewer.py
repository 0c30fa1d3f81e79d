"""A film and maps of it side by side, which zoom and move as one: in the browser, without asking the server anything."""

import base64
import hashlib
import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

_html, _css, _js = (Path(__file__).with_suffix(kind).read_text(encoding="utf-8") for kind in (".html", ".css", ".js"))
_viewer = st.components.v2.component("film_viewer", html=_html, css=_css, js=_js)
FLATTEST, TALLEST = 0.6, 1.4  # height of a pane by its width; a film beyond has bars beside it


def film_viewer(film: np.ndarray, maps: Mapping[str, np.ndarray], which: str) -> None:
    """The film over half of the width or more, each map over the film beside it.

    Args:
        film: rows x columns of grey, uint8, as many as are to be seen at full zoom.
        maps: by the run's name, each over the whole film: rows x columns in [0, 1], of any size.
        which: another film is shown whole, the same one as it was zoomed; only a hash of this goes to the browser.
    """
    rows, columns = film.shape
    down = max(math.ceil(math.sqrt(len(maps))), 1)  # maps in a column, which together are as high as the film
    across = math.ceil(len(maps) / down)
    data = {
        "film": _jpeg(film),
        "maps": [{"run": run, "heat": _png(heat)} for run, heat in maps.items()],
        "columns": columns,
        "ratio": min(max(rows / columns, FLATTEST), TALLEST),
        "down": down,
        "across": across,
        "share": max(down, 1.1 * across),  # of the film in the width, that of a column of maps is 1
        "which": hashlib.sha256(which.encode()).hexdigest()[:12],
    }
    _viewer(data=data, key="film_viewer")


def _jpeg(film: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(film).save(content, "JPEG", quality=92)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _png(heat: np.ndarray) -> str:
    """Orange, as opaque as the map is strong."""
    from training.scoring.saliency_picture import ORANGE  # imports torch

    alpha = (255 * np.clip(heat, 0, 1)).round().astype(np.uint8)
    colour = np.broadcast_to(np.array(ORANGE, np.uint8), (*alpha.shape, 3))
    content = io.BytesIO()
    Image.fromarray(np.dstack([colour, alpha]), "RGBA").save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
