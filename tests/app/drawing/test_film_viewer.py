"""What the viewer of a film is given: the film in its own resolution, over half of the width, and no name."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.drawing import film_viewer as viewer

FILM = np.tile(np.arange(300, dtype=np.uint8), (200, 1))


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What goes to the browser."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(viewer, "_viewer", lambda data, key: found.append(data))
    return found


def image(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_the_film_keeps_its_resolution_and_maps_their_strength(given: list[dict[str, Any]]) -> None:
    heat = np.array([[0.0, 0.5], [1.0, 2.0]])
    viewer.film_viewer(FILM, {"erm · s0": heat}, "/runs/secret 0 test-1")
    (data,) = given
    assert image(data["film"]).size == (300, 200) and data["columns"] == 300
    assert np.array(image(data["maps"][0]["heat"]))[..., 3].tolist() == [[0, 128], [255, 255]]
    assert "secret" not in json.dumps(data)


@pytest.mark.parametrize("count", range(9))
def test_the_film_has_half_of_the_width_and_maps_are_not_higher(given: list[dict[str, Any]], count: int) -> None:
    viewer.film_viewer(FILM, {f"run {i}": np.zeros((2, 2)) for i in range(count)}, "film")
    (data,) = given
    assert data["share"] / (data["share"] + data["across"]) >= 0.5
    assert data["down"] * data["across"] >= count and data["down"] <= data["share"]


def test_another_film_is_told_from_the_same(given: list[dict[str, Any]]) -> None:
    for which in ("a", "a", "b"):
        viewer.film_viewer(FILM, {}, which)
    first, again, other = [data["which"] for data in given]
    assert first == again != other
