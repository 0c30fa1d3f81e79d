"""A saliency map over its film: one hue, whose opacity is the map's value, and a line of text below.

The film keeps its greys and the map adds orange. Colour-blind readers can tell orange from grey, and the anatomy stays
visible; a rainbow scale would show edges where there are none [1].

References:
    [1] Borland and Taylor, Rainbow Color Map (Still) Considered Harmful (IEEE CG&A 2007).
    [2] Okabe and Ito, Color Universal Design (2008): the orange.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion, map_coordinates

from datasets.film.preprocessing import Preprocessing

LARGEST, SMALLEST = 1024, 512
"""Largest long side of the picture, and the smallest to which small films are enlarged: the text must be legible."""

ORANGE = (230, 159, 0)
OPACITY = 0.7
OUTLINE_AT = 0.5


def film_heat(
    heat: np.ndarray, film: tuple[int, int], preprocessing: Preprocessing, size: tuple[int, int]
) -> np.ndarray:
    """Bring a map from the model's square input back onto the film, interpolated.

    The result is 0 where the model saw nothing of the film (outside of `crop`'s square).

    Args:
        heat: rows x columns of the input.
        film: rows and columns of the film as read.
        size: rows and columns of the result, which covers the whole film.
    """
    coordinates, inside = [], []
    for length, pixels, cells in zip(film, size, heat.shape, strict=True):
        side = {"stretch": length, "pad": max(film), "crop": min(film)}[preprocessing.aspect]
        # As torchvision's center_crop has it: half pixels go down where it pads, to even numbers where it cuts.
        start = -((side - length) // 2) if side >= length else round((length - side) / 2)
        place = (np.arange(pixels) + 0.5) / pixels * length  # of each pixel's centre on the film
        inside.append((place >= start) & (place <= start + side))
        coordinates.append((place - start) / side * cells - 0.5)
    grid = np.stack(np.meshgrid(*coordinates, indexing="ij"))
    spread: np.ndarray = map_coordinates(np.asarray(heat, np.float64), grid, order=1, mode="nearest")
    return spread * inside[0][:, None] * inside[1]


def draw(pixels: np.ndarray, heat: np.ndarray, preprocessing: Preprocessing, words: tuple[str, str, str]) -> np.ndarray:
    """The film, the map over it and a line of text below.

    Args:
        pixels: of the film, rows x columns in [0, 1].
        heat: in [0, 1], rows x columns of the model's input.
        words: parted by dashes in the line; the second is shortened where they don't fit.

    Returns:
        uint8, rows x columns x RGB, at most `LARGEST` on a side. The film is at the top and fills the width.
    """
    rows, columns = pixels.shape
    strip = 28
    scale = min(1.0, LARGEST / columns, (LARGEST - strip) / rows)
    scale = max(scale, min(SMALLEST / max(rows, columns), (LARGEST - strip) / rows, LARGEST / columns))
    size = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    grey = Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))
    film = np.asarray(grey.resize((size[1], size[0]), Image.Resampling.LANCZOS), np.float64)[..., None]
    evidence = np.clip(film_heat(heat, (rows, columns), preprocessing, size), 0, 1)
    opacity = OPACITY * evidence
    opacity[_outline(evidence >= OUTLINE_AT)] = 1
    coloured = film * (1 - opacity[..., None]) + np.array(ORANGE) * opacity[..., None]
    picture = np.zeros((size[0] + strip, size[1], 3), np.uint8)
    picture[: size[0]] = coloured.round().astype(np.uint8)
    picture[size[0] :] = _line(words, size[1], strip)
    return picture


def _outline(region: np.ndarray) -> np.ndarray:
    """The pixels of a region that touch another which is not of it: legible over white bone as well."""
    outline: np.ndarray = region & ~binary_erosion(region, border_value=1)  # the film's edge is no edge of the region
    return outline


def _line(words: tuple[str, str, str], width: int, height: int) -> np.ndarray:
    """White text on black, as large as fits."""
    before, middle, after = (word.encode("ascii", "replace").decode() for word in words)
    for size in range(16, 8, -1):
        font = ImageFont.load_default(size)
        if font.getlength(f"{before} - {middle} - {after}") <= width - 8:
            break
    while len(middle) > 2 and font.getlength(f"{before} - {middle} - {after}") > width - 8:
        middle = middle.removesuffix("..")[:-1] + ".."
    strip = Image.new("RGB", (width, height))
    ImageDraw.Draw(strip).text((4, height // 2), f"{before} - {middle} - {after}", font=font, fill="white", anchor="lm")
    return np.asarray(strip)
