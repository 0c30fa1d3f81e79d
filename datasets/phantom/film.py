"""Procedural frontal chest radiographs with a controllable hospital signature: a cohort with no patient in it.

A film is a pure function of (seed, index, label, hospital). `phantom_anatomy` draws the patient as a map of
attenuation; here the hospital makes a film of it, with its own exposure, contrast, blur, collimation, lead marker and
grain. The signature has its own random stream, so the same patient can be shown at two hospitals.

    python -m datasets.phantom --sheet phantoms.png
    python -m datasets.phantom --dicom phantoms --n 200
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from datasets.film.radiograph import Radiograph
from datasets.phantom.anatomy import attenuation, patient_of, person_of, pixel_centres, ramp

LABELS = ("covid", "pneumonia", "normal")
NOTICE = "synthetic phantoms, no patient data"
_SIGNATURE, _TABLE = 3, 4  # random streams; the anatomy has 0 to 2


@dataclass(frozen=True)
class Hospital:
    """How one hospital's films look; a film draws its own values around these.

    Attributes:
        own: the label that rho ties to the hospital: `covid`, `other`, or None for an external hospital.
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
    own: str | None
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


HOSPITALS = (
    Hospital("north", "covid", 0.66, 5.2, 1.00, 0.0020, 0.018, 0.030, 0.0, 0.3, "L", "disc", 0.050, -0.72),
    Hospital("east", "other", 0.70, 6.0, 1.10, 0.0025, 0.012, 0.020, 0.0, 1.2, "R", "plain", 0.060, -0.85),
    Hospital("west", "other", 0.62, 4.6, 0.95, 0.0045, 0.022, 0.045, 0.0, 0.4, "L", "plain", 0.040, -0.60),
    Hospital("harbour", None, 0.64, 5.6, 1.15, 0.0035, 0.026, 0.035, 1.0, 1.0, "L", "arrow", 0.055, 0.55),
    Hospital("hill", None, 0.60, 4.3, 1.05, 0.0030, 0.016, 0.008, 0.0, 0.2, "R", "disc", 0.045, 0.30),
    Hospital("south", None, 0.58, 4.0, 0.85, 0.0060, 0.028, 0.012, 1.0, 0.6, "R", "tag", 0.045, -0.82),
)  # fmt: skip
_BY_NAME = {hospital.name: hospital for hospital in HOSPITALS}

_GLYPHS = {
    "L": ("1000", "1000", "1000", "1000", "1000", "1000", "1111"),
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
    "arrow": ("00100", "01110", "11111", "00100", "00100", "00100", "00100"),
    "tag": ("000000000000000", "111010111010111", "101010100110101", "111010101010111", "000000000000000"),
}


def film(seed: int, index: int, label: str, hospital: str, size: int = 192) -> Radiograph:
    """Draws one film.

    Args:
        index: Of every three films in a row the first two are of one patient.
        label: `covid`, `pneumonia` or `normal`.
        hospital: the name of one of `HOSPITALS`; the same (seed, index) at another is the same patient under another
            signature.

    Returns:
        size x size, float32 in [0, 1], bone bright; the facts say that it is synthetic.

    Raises:
        ValueError: an unknown label or hospital, a negative seed or index, or a size below 32.
    """
    if label not in LABELS:
        raise ValueError(f"label is {label!r}; it must be one of {', '.join(LABELS)}")
    if hospital not in _BY_NAME:
        raise ValueError(f"hospital is {hospital!r}; it must be one of {', '.join(_BY_NAME)}")
    if seed < 0 or index < 0 or size < 32:
        raise ValueError(f"seed {seed}, index {index}, size {size}: seed and index must be 0 or more, size 32 or more")
    person = person_of(seed, index)
    signature = np.random.default_rng([_SIGNATURE, seed, index, list(_BY_NAME).index(hospital)])
    pixels = _developed(attenuation(seed, index, label, size), _BY_NAME[hospital], signature)
    return Radiograph(pixels, {"synthetic": True, "view": person.view, "sex": person.sex, "age": person.age})


def table(rho: float, seed: int, films: int, validation: int, test: int, external: int) -> pd.DataFrame:
    """Draws a cohort: one row a film, in the order of the films' indices.

    Train and validation follow rho; test shows the same hospitals without the correlation; external shows hospitals
    that training never saw. Half of the patients of each split have covid, a quarter pneumonia, a quarter neither. A
    patient is in one split and one hospital, with one label.

    Args:
        rho: probability in [0, 1] that a film has its hospital's own label; 0.5 is independence.
        external: films of the external hospitals. Each of the four is 0, or 2 or more.

    Returns:
        Columns row (the film's index, 0 to n - 1), patient, label, source, split, view, sex and age (years).

    Raises:
        ValueError: rho outside [0, 1], a negative seed, or a split too small to hold a patient.
    """
    if not 0 <= rho <= 1:
        raise ValueError(f"rho is {rho}; it is a probability and must be from 0 to 1 (0.5 is independence)")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    sizes = {"train": films, "validation": validation, "test": test, "external": external}
    for split, count in sizes.items():
        if count < 0 or count == 1:
            raise ValueError(
                f"{split} has {count} films; it must have 0, or 2 or more (a patient has one or two films)"
            )
    rng = np.random.default_rng([_TABLE, seed])
    rows = []
    for split, patients in _allotted(sizes, rng).items():
        for kind in (2, 1):  # balanced apart, so that the films are as balanced as the patients
            group = [rows_of for rows_of in patients if len(rows_of) == kind]
            labels = rng.permutation([("covid", "normal", "covid", "pneumonia")[i % 4] for i in range(len(group))])
            for rows_of, label in zip(group, labels, strict=True):
                source = _source(str(label), split, rho, rng)
                rows += [(row, str(label), source, split) for row in rows_of]
    records = []
    for row, label, source, split in sorted(rows):
        person = person_of(seed, row)
        name = f"phantom-{patient_of(row):05d}"
        records.append((row, name, label, source, split, person.view, person.sex, person.age))
    return pd.DataFrame(records, columns=["row", "patient", "label", "source", "split", "view", "sex", "age"])


def _allotted(sizes: dict[str, int], rng: np.random.Generator) -> dict[str, list[list[int]]]:
    """Splits whole patients (lists of film indices) so that each split has exactly its number of films."""
    patients: dict[int, list[int]] = {}
    for row in range(sum(sizes.values())):
        patients.setdefault(patient_of(row), []).append(row)
    shuffled = [list(patients.values())[i] for i in rng.permutation(len(patients))]
    room = dict(sizes)
    allotted: dict[str, list[list[int]]] = {split: [] for split in sizes}
    for rows in sorted(shuffled, key=len, reverse=True):  # pairs first: a single always fits where one film is missing
        split = max((s for s in room if room[s] >= len(rows)), key=lambda s: room[s] / sizes[s])
        allotted[split].append(rows)
        room[split] -= len(rows)
    return allotted


def _source(label: str, split: str, rho: float, rng: np.random.Generator) -> str:
    if split == "external":
        return str(rng.choice([h.name for h in HOSPITALS if h.own is None]))
    kept = rng.random() < (0.5 if split == "test" else rho)
    own = "covid" if (label == "covid") == kept else "other"
    return str(rng.choice([h.name for h in HOSPITALS if h.own == own]))


def _developed(attenuation: np.ndarray, hospital: Hospital, rng: np.random.Generator) -> np.ndarray:
    """From attenuation to the film as this hospital would file it."""
    size = len(attenuation)
    exposure, contrast, blur, gamma, grain = rng.standard_normal(5).tolist()  # Python floats keep arrays in float32
    contrast = hospital.contrast * (1 + 0.10 * contrast)
    pixels = 1 / (1 + np.exp(contrast * (hospital.exposure + 0.035 * exposure - attenuation)))
    sigma = hospital.blur * size * (1 + 0.2 * blur)
    if sigma > 0.25:
        pixels = gaussian_filter(pixels, sigma, truncate=3)
    pixels = 0.02 + 0.94 * pixels ** (hospital.gamma * (1 + 0.06 * gamma))
    _mark(pixels, hospital, rng)
    pixels += hospital.grain * abs(1 + 0.2 * grain) * rng.standard_normal(pixels.shape, dtype=np.float32)
    _collimate(pixels, hospital, rng)
    return np.clip(pixels, 0, 1)


def _collimate(pixels: np.ndarray, hospital: Hospital, rng: np.random.Generator) -> None:
    """Shuts the collimator on the film's four edges, in place."""
    axis = pixel_centres(len(pixels))
    tilt = float(np.deg2rad(hospital.border_tilt * rng.standard_normal()))
    left, right, top, bottom = (4 * hospital.border * rng.random(4)).tolist()
    x, y = axis[None, :] + tilt * axis[:, None], axis[:, None] - tilt * axis[None, :]
    beyond = np.maximum(np.maximum(x + right, left - x), np.maximum(y + bottom, top - y)) - 1
    cover = np.clip(beyond * (len(pixels) / 2), 0, 1)
    pixels += cover * (hospital.border_level * 0.97 + 0.01 - pixels)


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


def _mark(pixels: np.ndarray, hospital: Hospital, rng: np.random.Generator) -> None:
    """Lays the lead marker on the film, in place; one film in eight has none."""
    size = len(pixels)
    missing = rng.random() < 0.125
    height = max(5, round(size * hospital.marker_height * rng.uniform(0.85, 1.2)))
    x = (0.80 + 0.06 * rng.uniform(-1, 1)) * (1 if hospital.marker == "L" else -1)
    y = hospital.marker_y + 0.06 * rng.uniform(-1, 1)
    level = rng.uniform(0.88, 1.0)
    if missing:
        return
    row, column = round((y + 1) * size / 2), round((x + 1) * size / 2)
    if hospital.marker_style == "disc":
        at = np.arange(size, dtype=np.float32)
        away = np.hypot(at[:, None] - row, at[None, :] - column)
        cover = np.clip(0.85 * height - away, 0, 1)
        pixels += cover * (level - pixels)
        _stamp(pixels, _glyph(hospital.marker, height), row, column, 0.08)
        return
    _stamp(pixels, _glyph(hospital.marker, height), row, column, level)
    if hospital.marker_style in ("tag", "arrow"):
        _stamp(pixels, _glyph(hospital.marker_style, height), row + round(1.4 * height), column, level)


def _stamp(pixels: np.ndarray, cover: np.ndarray, row: int, column: int, level: float) -> None:
    """Paints a glyph with its middle at (row, column), moved inward where it would leave the film."""
    rows, columns = cover.shape
    top = int(np.clip(row - rows // 2, 0, len(pixels) - rows))
    left = int(np.clip(column - columns // 2, 0, len(pixels) - columns))
    patch = pixels[top : top + rows, left : left + columns]
    patch += cover * (level - patch)
