"""What libjpeg-turbo only warns of is damage, in JPEG files and in DICOM films alike."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.film import jpeg
from datasets.film.policy import DicomPolicy
from datasets.film.radiograph import RadiographError
from datasets.film.read import read_radiograph

ROWS, COLUMNS = 200, 160
Y, X = np.mgrid[0:ROWS, 0:COLUMNS]
GREYS = np.rint(60 + 120 * np.exp(-(((X - 80) / 25) ** 2)) + 40 * Y / ROWS + 8 * np.sin(X * Y / 90)).astype(np.uint8)


def encoded(image: np.ndarray = GREYS, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", **{"quality": 92, **options})
    return buffer.getvalue()


def middle(content: bytes, put: bytes) -> bytes:
    """The same with some bytes in the middle of the scan exchanged."""
    at = (content.rfind(b"\xff\xda") + len(content)) // 2
    return content[:at] + put + content[at + len(put) :]


def test_sound_pictures() -> None:
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 4}, {"optimize": True}):
        content = encoded(**options)
        pixels, guessed = jpeg.decoded(content, "GRAY")
        assert not guessed and pixels.shape == (ROWS, COLUMNS, 1)
        np.testing.assert_array_equal(pixels[..., 0], np.asarray(Image.open(io.BytesIO(content))))
    assert jpeg.decoded(encoded(np.stack([GREYS] * 3, -1)), "RGB")[0].shape == (ROWS, COLUMNS, 3)


def test_zeros_behind_the_end_are_no_damage() -> None:
    assert not jpeg.decoded(encoded() + bytes(1), "GRAY")[1]
    assert not read_radiograph(encoded() + bytes(512)).facts["damaged"]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[: len(content) * 3 // 4] + b"\xff\xd9",
        lambda content: content[:-2],
        lambda content: content[: len(content) // 3] + bytes(len(content) * 2 // 3),
        lambda content: middle(content, bytes(600)),
        lambda content: middle(content, b"\xff\xd9"),
        lambda content: middle(content, b"\xff" * 300),
        lambda content: content[: len(content) // 2] + content[len(content) // 2 + 512 :],
    ],
    ids=["half", "end after 3/4", "no end", "zeros", "hole", "early end", "ones", "a sector lost"],
)
def test_damage(damage: Any, options: dict[str, Any]) -> None:
    content = damage(encoded(**options))
    if content == encoded(**options)[:-2]:  # all pixels are there
        pixels, guessed = jpeg.decoded(content, "GRAY")
        assert guessed or (pixels == jpeg.decoded(encoded(**options), "GRAY")[0]).all()
        return
    with pytest.raises(RadiographError) as caught:
        read_radiograph(content)
    assert caught.value.reason in ("damaged", "truncated", "undecodable")
    if caught.value.reason == "damaged":
        film = read_radiograph(content, policy=DicomPolicy(accept_damaged=True))
        assert film.facts["damaged"] is True and film.pixels.shape == (ROWS, COLUMNS)


def test_colour_is_checked_too() -> None:
    damaged = middle(encoded(np.stack([GREYS, GREYS, 255 - GREYS], -1)), bytes(500))
    with pytest.raises(RadiographError, match="a part of the JPEG is missing") as caught:
        read_radiograph(damaged)
    assert caught.value.reason == "damaged"


def test_what_is_no_jpeg_raises() -> None:
    for content in (b"\xff\xd8\xff\xd9", b"\xff\xd8\xff" + bytes(100), encoded()[:100]):
        with pytest.raises(ValueError, match=r"\w"):
            jpeg.decoded(content, "GRAY")
