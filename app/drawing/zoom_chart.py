"""A film to zoom into, with maps over it, drawn in the browser: zooming and changing the map ask the server nothing."""

import base64
import io
import json
from collections.abc import Mapping

import altair as alt
import numpy as np
from PIL import Image

NONE = "no map"
HEIGHT = 620
AS_CANVAS = {"embedOptions": {"renderer": "canvas"}}  # for Vega: one picture, not one element a mark


def zoom_chart(film: np.ndarray, maps: Mapping[str, np.ndarray]) -> alt.LayerChart:
    """The wheel zooms, dragging moves, a double click shows the whole again; film and map move as one.

    Args:
        film: rows x columns of grey, uint8, as many as are to be seen at full zoom.
        maps: by the run's name, each over the whole film: rows x columns in [0, 1], of any size.
    """
    rows, columns = film.shape
    chosen = alt.param(name="map", value=NONE, bind=alt.binding_radio(options=[NONE, *maps], name="Map  "))
    opacity = alt.param(name="opacity", value=0.6, bind=alt.binding_range(min=0, max=1, step=0.05, name="Opacity  "))
    zoom = alt.selection_interval(bind="scales", name="view")
    layers = [_layer(_jpeg(film), rows, columns).add_params(zoom)]
    for name, heat in maps.items():
        shown = alt.expr(f"map == {json.dumps(name)} ? opacity : 0")
        layers.append(_layer(_png(heat), rows, columns, shown))
    chart = alt.layer(*layers).properties(height=HEIGHT, usermeta=AS_CANVAS)
    return chart.add_params(chosen, opacity) if maps else chart


def _layer(address: str, rows: int, columns: int, opacity: float | alt.Expr = 1.0) -> alt.Chart:
    """An image over the whole film; both axes show as much of it a pixel, whatever the width of the page."""
    place = {"x": 0, "x2": columns, "y": 0, "y2": rows, "url": address}
    step = f"max({columns} / width, {rows} / height)"
    ends = [alt.expr(f"{columns} / 2 {sign} {step} * width / 2") for sign in "-+"]
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domainMin=ends[0], domainMax=ends[1], nice=False, zero=False))
    ends = [alt.expr(f"{rows} / 2 {sign} {step} * height / 2") for sign in "-+"]
    scale = alt.Scale(domainMin=ends[0], domainMax=ends[1], nice=False, zero=False, reverse=True)
    image = alt.Chart(alt.Data(values=[place])).mark_image(aspect=False, clip=True, opacity=opacity)
    return image.encode(x=x, x2="x2:Q", y=alt.Y("y:Q", axis=None, scale=scale), y2="y2:Q", url="url:N")


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
