"""Perturbed films: only a suspected shortcut is left, or it is removed.

Pixels in [0, 1], before normalisation. After Maguolo and Nanni, "A critic evaluation of methods for COVID-19 automatic
detection from X-ray images", Information Fusion 2021 (lungs blacked out), and DeGrave et al., "AI for radiographic COVID-19
detection selects shortcuts over signal", Nature Machine Intelligence 2021 (markers, borders). Border and corners do not
overlap: half of a lead marker lies in a frame of a tenth of the side, and would pass for a border.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Fractions of the film's side. Lead markers and burnt-in text lie in the corners, but seldom in their outermost frame.
BORDER = 0.10
CORNER_WIDTH, CORNER_HEIGHT, CORNER_FRAME = 0.20, 0.30, 0.05
# Mid-grey for all films: a film's mean would give away its exposure, and black looks like a collimator's edge.
FILL = 0.5
# Each lung's ellipse: centre (from the midline, from the middle downwards) and half-axes; a film reaches from -1 to 1.
LUNG_CENTRE, LUNG_AXES = (0.41, -0.06), (0.40, 0.80)
# Patients of each label and source who are drawn first: rare ones say most about what is usual.
FIRST = 30


class FilmBatch(NamedTuple):
    """Some films, as a perturbation reads them.

    Attributes:
        pixels: in [0, 1].
        seeds: a number for each film, from which all its random draws come, so that they don't depend on the batch.
        lungs: where the lungs are, or None where that is not known.
    """

    pixels: Float[Tensor, "films 1 size size"]
    seeds: Sequence[int]
    lungs: Bool[Tensor, "films 1 size size"] | None = None


def sample_by_patient(
    target: np.ndarray, source: np.ndarray, patient: np.ndarray, films: int | None, seed: int = 0
) -> np.ndarray:
    """Positions of about so many films, in order, all of a patient or none; None for all.

    Thirty patients of each label and source come first, in turn, then patients of all in proportion to their number. A
    patient belongs to the label and source of their first film.
    """
    if films is None or films >= len(patient):
        return np.arange(len(patient))
    names, first, index = np.unique(patient.astype(str), return_index=True, return_inverse=True)
    cell = np.array([f"{target[at]}\x1f{source[at]}" for at in first])
    drawn = np.random.default_rng(seed).permutation(len(names))
    turn, share = np.empty(len(names)), np.empty(len(names))
    for name in np.unique(cell):
        members = drawn[cell[drawn] == name]
        turn[members] = np.minimum(np.arange(len(members)), FIRST)
        share[members] = np.arange(len(members)) / len(members)
    order = np.lexsort((share, turn))
    enough = int(np.searchsorted(np.cumsum(np.bincount(index)[order]), films)) + 1
    return np.flatnonzero(np.isin(index, order[:enough]))


Perturbation = Callable[[FilmBatch], Tensor]
"""Gives perturbed pixels of the same shape and leaves its input alone."""


def _coordinates(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Of the pixels' centres, from -1 to 1: y as a column and x as a row."""
    size = pixels.shape[-1]
    at = (torch.arange(size, device=pixels.device) + 0.5) * 2 / size - 1
    return at[:, None], at[None, :]


def _edges(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Whether a pixel is in a corner, and its distance from the nearest edge as a fraction of the side."""
    y, x = _coordinates(pixels)
    down, across = (1 - y.abs()) / 2, (1 - x.abs()) / 2
    return (down < CORNER_HEIGHT) & (across < CORNER_WIDTH), torch.minimum(down, across)


def _border(pixels: Tensor) -> Tensor:
    """The outermost tenth along each edge, without the corners."""
    corner, edge = _edges(pixels)
    return ~corner & (edge < BORDER)


def _corners(pixels: Tensor) -> Tensor:
    """The four corners, without the film's outermost twentieth."""
    corner, edge = _edges(pixels)
    return corner & (edge >= CORNER_FRAME)


def _ellipses(pixels: Tensor) -> Tensor:
    y, x = _coordinates(pixels)
    across, down = (x.abs() - LUNG_CENTRE[0]) / LUNG_AXES[0], (y - LUNG_CENTRE[1]) / LUNG_AXES[1]
    return across**2 + down**2 < 1


def _only(region: Callable[[Tensor], Tensor]) -> Perturbation:
    """Fill all but the region with mid-grey."""
    return lambda films: torch.where(region(films.pixels), films.pixels, FILL)


def _blanked(region: Callable[[Tensor], Tensor]) -> Perturbation:
    """Fill the region with mid-grey."""
    return lambda films: torch.where(region(films.pixels), FILL, films.pixels)


border_only, corners_only, corners_blanked = _only(_border), _only(_corners), _blanked(_corners)


def lungs_removed(films: FilmBatch) -> Tensor:
    """Black out the lungs of frontal films.

    Where the lungs are not known, two ellipses stand for them, the same for all films so that their outline gives nothing
    away. On most upright frontal films they cover the lungs, except some apices and costophrenic angles, and much of the
    heart.
    """
    return torch.where(_ellipses(films.pixels) if films.lungs is None else films.lungs, 0.0, films.pixels)


def pixel_shuffled(films: FilmBatch) -> Tensor:
    """Put each film's pixels in an order drawn from its seed: only how often each grey occurs is left.

    With a different order for each film no position is left either, as it would be under one order for all films.
    """
    flat = films.pixels.flatten(1)
    order = np.stack([np.random.default_rng(seed).permutation(flat.shape[1]) for seed in films.seeds])
    return flat.gather(1, torch.from_numpy(order).to(flat.device)).view_as(films.pixels)


def mirrored(films: FilmBatch) -> Tensor:
    """Swap left and right: lead markers change sides and their letters are mirrored, and so is the heart."""
    return films.pixels.flip(-1)


PERTURBATIONS: dict[str, Perturbation] = {
    "border_only": border_only,
    "corners_only": corners_only,
    "border_blanked": _blanked(_border),
    "corners_blanked": corners_blanked,
    "frame_blanked": _blanked(lambda pixels: _border(pixels) | _corners(pixels)),
    "lungs_removed": lungs_removed,
    # As films are shown, the patient's left is on the right of the picture.
    "left_blanked": _blanked(lambda pixels: _coordinates(pixels)[1] > 0),
    "right_blanked": _blanked(lambda pixels: _coordinates(pixels)[1] < 0),
    "pixel_shuffled": pixel_shuffled,
    "mirrored": mirrored,
}
"""All perturbations, one name each for the audit and the app."""

_OF_THE_AUDIT = ("border_only", "corners_only", "corners_blanked", "lungs_removed", "pixel_shuffled", "mirrored")
SHORTCUTS: dict[str, Perturbation] = {name: PERTURBATIONS[name] for name in _OF_THE_AUDIT}
"""The perturbations of the audit; `shortcut_evidence.CUES` says what each can show."""

PARTS: dict[str, str] = {
    "frame_blanked": "border and corners",
    "border_blanked": "border",
    "corners_blanked": "corners",
    "lungs_removed": "lungs",
    "left_blanked": "patient's left half",
    "right_blanked": "patient's right half",
}
"""What is missing from a single film under those perturbations that take one part of it away."""
