"""What a hospital leaves on a film: exposure, contrast, gamma, blur, grain, collimation and the lead marker."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from datasets.phantom.anatomy import pixel_centres, ramp


@dataclass(frozen=True)
class Signature:
    """How one hospital's films look; a film draws its own values around these.

    Attributes:
        exposure: attenuation shown as mid-grey; higher is a darker film.
        contrast: slope of the film curve at mid-grey.
        gamma: exponent on the finished pixels; above 1 darkens the lungs.
        blur: sigma of the unsharpness, as a fraction of the film's side.
        grain: standard deviation of the noise, in pixel units.
        border: width of the collimated edge, as a fraction of the film's side.
        border_level: grey of that edge, 0 black to 1 white.
        border_tilt: standard deviation of the collimator's rotation, in degrees.
        marker: letter of the lead marker, `L` or `R`; L is on the image right, as hung.
        marker_style: `plain`, `disc` (dark letter on a disc), `tag` (a line of text below) or `arrow` (an arrow below).
        marker_height: height of the letter, as a fraction of the film's side.
        marker_y: where the letter's middle is, y coordinate.
    """

    name: str
    exposure: float
    contrast: float
    gamma: float
    blur: float
    grain: float
    border: float
    border_level: float
    border_tilt: float
    marker: str
    marker_style: str
    marker_height: float
    marker_y: float


_GLYPHS = {
    "L": ("1000", "1000", "1000", "1000", "1000", "1000", "1111"),
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
    "arrow": ("00100", "01110", "11111", "00100", "00100", "00100", "00100"),
    "tag": ("000000000000000", "111010111010111", "101010100110101", "111010101010111", "000000000000000"),
}


def developed(attenuation: np.ndarray, signature: Signature, rng: np.random.Generator) -> np.ndarray:
    """From attenuation to the film as this hospital would file it.

    Args:
        attenuation: size x size, float32; 1 is the trunk without air. Greys of a film, bone bright, may stand for it.
        rng: of what varies from film to film.

    Returns:
        size x size, float32 in [0, 1], bone bright.
    """
    size = len(attenuation)
    exposure, contrast, blur, gamma, grain = rng.standard_normal(5).tolist()  # Python floats keep arrays in float32
    contrast = signature.contrast * (1 + 0.10 * contrast)
    pixels = 1 / (1 + np.exp(contrast * (signature.exposure + 0.035 * exposure - attenuation)))
    sigma = signature.blur * size * (1 + 0.2 * blur)
    if sigma > 0.25:
        pixels = gaussian_filter(pixels, sigma, truncate=3)
    pixels = 0.02 + 0.94 * pixels ** (signature.gamma * (1 + 0.06 * gamma))
    _mark(pixels, signature, rng)
    pixels += signature.grain * abs(1 + 0.2 * grain) * rng.standard_normal(pixels.shape, dtype=np.float32)
    _collimate(pixels, signature, rng)
    return np.clip(pixels, 0, 1)


def _collimate(pixels: np.ndarray, signature: Signature, rng: np.random.Generator) -> None:
    """Shuts the collimator on the film's four edges, in place."""
    axis = pixel_centres(len(pixels))
    tilt = float(np.deg2rad(signature.border_tilt * rng.standard_normal()))
    left, right, top, bottom = (4 * signature.border * rng.random(4)).tolist()
    x, y = axis[None, :] + tilt * axis[:, None], axis[:, None] - tilt * axis[None, :]
    beyond = np.maximum(np.maximum(x + right, left - x), np.maximum(y + bottom, top - y)) - 1
    cover = np.clip(beyond * (len(pixels) / 2), 0, 1)
    pixels += cover * (signature.border_level * 0.97 + 0.01 - pixels)


@lru_cache(maxsize=256)
def _glyph(name: str, height: int) -> np.ndarray:
    """How much of each pixel a glyph covers, 0 to 1; height rows, the width in proportion."""
    bitmap = np.array([[float(cell) for cell in line] for line in _GLYPHS[name]])
    fine = ramp(gaussian_filter(np.pad(np.kron(bitmap, np.ones((8, 8))), 4), 2.5), 0.35, 0.65)  # rounds the corners
    width = max(2, round(height * fine.shape[1] / fine.shape[0]))
    return (_averaging(fine.shape[0], height) @ fine @ _averaging(fine.shape[1], width).T).astype(np.float32)


def _averaging(fine: int, coarse: int) -> np.ndarray:
    """The coarse x fine matrix that averages runs of cells."""
    edges, cells = np.linspace(0, fine, coarse + 1), np.arange(fine)
    cover = np.clip(np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells), 0, None)
    return cover / cover.sum(1, keepdims=True)


def _mark(pixels: np.ndarray, signature: Signature, rng: np.random.Generator) -> None:
    """Lays the lead marker on the film, in place; one film in eight has none."""
    size = len(pixels)
    missing = rng.random() < 0.125
    height = max(5, round(size * signature.marker_height * rng.uniform(0.85, 1.2)))
    x = (0.80 + 0.06 * rng.uniform(-1, 1)) * (1 if signature.marker == "L" else -1)
    y = signature.marker_y + 0.06 * rng.uniform(-1, 1)
    level = rng.uniform(0.88, 1.0)
    if missing:
        return
    row, column = round((y + 1) * size / 2), round((x + 1) * size / 2)
    if signature.marker_style == "disc":
        at = np.arange(size, dtype=np.float32)
        away = np.hypot(at[:, None] - row, at[None, :] - column)
        cover = np.clip(0.85 * height - away, 0, 1)
        pixels += cover * (level - pixels)
        _stamp(pixels, _glyph(signature.marker, height), row, column, 0.08)
        return
    _stamp(pixels, _glyph(signature.marker, height), row, column, level)
    if signature.marker_style in ("tag", "arrow"):
        _stamp(pixels, _glyph(signature.marker_style, height), row + round(1.4 * height), column, level)


def _stamp(pixels: np.ndarray, cover: np.ndarray, row: int, column: int, level: float) -> None:
    """Paints a glyph with its middle at (row, column), moved inward where it would leave the film."""
    rows, columns = cover.shape
    top = int(np.clip(row - rows // 2, 0, len(pixels) - rows))
    left = int(np.clip(column - columns // 2, 0, len(pixels) - columns))
    patch = pixels[top : top + rows, left : left + columns]
    patch += cover * (level - patch)
