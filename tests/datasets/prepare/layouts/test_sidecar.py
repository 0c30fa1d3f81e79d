"""Raw greys become those of the film: rescaled, windowed or looked up, with bone bright."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.film.radiograph import RadiographError
from datasets.prepare.layouts.sidecar import Sidecar, rendered

RAW = np.array([0, 1000, 2000, 4095, *range(100, 4000, 100)], dtype=np.uint16)[None].repeat(8, 0)


def written(folder: Path, raw: np.ndarray = RAW, photometric: str = "MONOCHROME2", **tags: Any) -> np.ndarray:
    """What becomes of these stored values under these tags, given as eight digits after an x."""
    Image.fromarray(raw).save(folder / "film.png")
    entries = {"00280004": [photometric], "00280101": [12]} | {name[1:]: value for name, value in tags.items()}
    (folder / "film.json").write_text(json.dumps({name: {"Value": value} for name, value in entries.items()}))
    return rendered(folder / "film.png", folder / "film.json")


def test_without_a_window_the_stored_bits_are_the_range(tmp_path: Path) -> None:
    expected = np.rint(255 * RAW.astype(float) / 4095)
    assert (written(tmp_path) == expected).all()
    assert (written(tmp_path, photometric="MONOCHROME1") == 255 - expected).all()


def test_a_window_is_that_of_the_standard(tmp_path: Path) -> None:
    # LINEAR: (x - (c - 0.5)) / (w - 1) + 0.5, here with c 1000.5 and w 2001: x / 2000.
    seen = written(tmp_path, x00281050=["1000.5"], x00281051=[2001])
    assert seen[0, :4].tolist() == [0, 128, 255, 255]
    rescaled = written(tmp_path, x00281050=[2000.5], x00281051=[2001], x00281052=[1000], x00281053=[1])
    assert (rescaled == seen).all()


def test_a_lookup_table_goes_before_a_window(tmp_path: Path) -> None:
    table = {"00283002": {"Value": [256, 1000, 8]}, "00283006": {"Value": list(range(256))}}
    seen = written(tmp_path, raw=RAW // 8 + 950, x00283010=[table], x00281050=[1000], x00281051=[2000])
    assert seen[0, :4].tolist() == [0, 75, 200, 255]


@pytest.mark.parametrize(
    "tags",
    [
        {"x00281050": [-3000], "x00281051": [500]},  # a window that shows nothing of the film
        {"x00283010": [{}]},
        {"x00283010": [{"00283002": {"Value": ["a"]}}]},
        {"x00281053": ["0"], "x00281052": ["5"]},
        {"x00281050": ["2048;0"], "x00281051": [None]},
        {"x00283010": [{"00283002": {"Value": [4096, 0, 16]}, "00283006": {"Value": [1, 2]}}]},
    ],
)
def test_what_cannot_be_used_gives_way_to_the_stored_range(tmp_path: Path, tags: dict[str, Any]) -> None:
    assert (written(tmp_path, **tags) == written(tmp_path)).all()


def test_fewer_bits_than_stated_are_spread(tmp_path: Path) -> None:
    """Thirteen levels out of 256 are no picture."""
    seen = written(tmp_path, raw=RAW // 20, x00280101=[12])
    assert len(np.unique(seen)) > 30 and (seen.min(), seen.max()) == (0, 255)


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ({"photometric": "RGB"}, "does not say what its greys are"),
        ({"x00280101": [17]}, "not those that its JSON file describes"),
        ({"x00280101": [0.5]}, "not those that its JSON file describes"),
    ],
)
def test_what_cannot_be_right_is_refused(tmp_path: Path, tags: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RadiographError, match=sentence):
        written(tmp_path, **tags)


def test_an_8_bit_film_under_12_stored_bits_was_changed_already(tmp_path: Path) -> None:
    with pytest.raises(RadiographError, match="not those that its JSON file describes"):
        written(tmp_path, raw=(RAW // 16).astype(np.uint8))


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_object_has_no_attributes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert Sidecar.read(tmp_path / "a.json") is None and Sidecar.read(tmp_path / "none.json") is None
