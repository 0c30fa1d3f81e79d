"""Films on which only a suspected shortcut is left, or from which it is taken away.

Pixels in [0, 1], before normalisation. After Maguolo and Nanni, "A critic evaluation of methods for COVID-19 automatic
detection from X-ray images", Information Fusion 2021 (lungs blacked out), and DeGrave et al., "AI for radiographic COVID-19
detection selects shortcuts over signal", Nature Machine Intelligence 2021 (markers, borders). Border and corners do not
overlap: half of a lead marker lies in a frame of a tenth of the side, and would pass for a border.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Fractions of the film's side. Lead markers and burnt-in text lie in the corners, but seldom in their outermost frame.
BORDER = 0.10
CORNER_WIDTH, CORNER_HEIGHT, CORNER_FRAME = 0.20, 0.30, 0.05
# Mid-grey, the same for all films: a film's own mean would tell its exposure, and black is what a collimator leaves.
FILL = 0.5
# Each lung's ellipse: centre (from the midline, from the middle downwards) and half-axes; a film reaches from -1 to 1.
LUNG_CENTRE, LUNG_AXES = (0.41, -0.06), (0.40, 0.80)


def border_only(pixels: Float[Tensor, "*batch 1 size size"]) -> Float[Tensor, "*batch 1 size size"]:
    """Keep the outermost tenth along each edge, without the corners, and fill all else with mid-grey."""
    return torch.where(_border(pixels), pixels, FILL)


def corners_only(pixels: Float[Tensor, "*batch 1 size size"]) -> Float[Tensor, "*batch 1 size size"]:
    """Keep the four corners, without the film's outermost twentieth, and fill all else with mid-grey."""
    return torch.where(_corners(pixels), pixels, FILL)


def corners_blanked(pixels: Float[Tensor, "*batch 1 size size"]) -> Float[Tensor, "*batch 1 size size"]:
    """Fill with mid-grey what `corners_only` keeps."""
    return torch.where(_corners(pixels), FILL, pixels)


def border_blanked(pixels: Float[Tensor, "*batch 1 size size"]) -> Float[Tensor, "*batch 1 size size"]:
    """Fill with mid-grey what `border_only` keeps."""
    return torch.where(_border(pixels), FILL, pixels)


def half_blanked(pixels: Float[Tensor, "*batch 1 size size"], side: str) -> Float[Tensor, "*batch 1 size size"]:
    """Fill one half of the picture with mid-grey: `left` or `right` as it hangs, the patient's other side."""
    _, x = _coordinates(pixels)
    return torch.where((x < 0) if side == "left" else (x > 0), FILL, pixels)


def lungs_removed(
    pixels: Float[Tensor, "*batch 1 size size"], lungs: Bool[Tensor, "*batch 1 size size"] | None = None
) -> Float[Tensor, "*batch 1 size size"]:
    """Black out the lungs.

    Args:
        pixels: of frontal films.
        lungs: where they are. None takes two ellipses, the same for all films so that their outline tells nothing; they
            cover the lungs of most upright frontal films but for some apices and costophrenic angles, and much of the heart.
    """
    return torch.where(_ellipses(pixels) if lungs is None else lungs, 0.0, pixels)


def pixel_shuffled(
    pixels: Float[Tensor, "films 1 size size"], seeds: Sequence[int]
) -> Float[Tensor, "films 1 size size"]:
    """Put each film's pixels in an order drawn from its seed: only how often each grey occurs is left.

    With seeds that differ, no place of the film is left either, as it would be under one order for all films.
    """
    flat = pixels.flatten(1)
    order = np.stack([np.random.default_rng(seed).permutation(flat.shape[1]) for seed in seeds])
    return flat.gather(1, torch.from_numpy(order).to(pixels.device)).view_as(pixels)


def mirrored(pixels: Float[Tensor, "*batch 1 size size"]) -> Float[Tensor, "*batch 1 size size"]:
    """Swap left and right: lead markers change sides and their letters turn round, and so does the heart."""
    return pixels.flip(-1)


@dataclass(frozen=True)
class Shortcut:
    """One perturbation.

    Attributes:
        apply: from pixels (films x 1 x size x size, in [0, 1]), the films' positions (what is drawn for a film depends on
            its own alone) and where their lungs are (the same shape, bool, or None) to pixels.
        left: one sentence: what the model is left to see.
    """

    apply: Callable[[Tensor, Sequence[int], Tensor | None], Tensor]
    left: str


SHORTCUTS: dict[str, Shortcut] = {
    "border_only": Shortcut(
        lambda pixels, positions, lungs: border_only(pixels),
        "Only the outer border is left, without the corners: collimation, padding, cropping.",
    ),
    "corners_only": Shortcut(
        lambda pixels, positions, lungs: corners_only(pixels),
        "Only the corners are left, where lead markers and text sit.",
    ),
    "corners_blanked": Shortcut(
        lambda pixels, positions, lungs: corners_blanked(pixels),
        "All but the corners is left: no lead marker and no text that sits there.",
    ),
    "lungs_removed": Shortcut(
        lambda pixels, positions, lungs: lungs_removed(pixels, lungs),
        "All but the lungs is left: bones, soft tissue, devices, markers, border.",
    ),
    "pixel_shuffled": Shortcut(
        lambda pixels, positions, lungs: pixel_shuffled(pixels, positions),
        "Only how often each grey occurs is left: exposure and contrast, no shape.",
    ),
    "mirrored": Shortcut(
        lambda pixels, positions, lungs: mirrored(pixels),
        "All is left, with left and right swapped.",
    ),
}

# What is taken from a single film to see how its score moves: parts of the film, one at a time.
COUNTERFACTUALS: dict[str, Shortcut] = {
    "border": Shortcut(lambda pixels, positions, lungs: border_blanked(pixels), "All but the outer border is left."),
    "corners": SHORTCUTS["corners_blanked"],
    "lungs": SHORTCUTS["lungs_removed"],
    "left half": Shortcut(
        lambda pixels, positions, lungs: half_blanked(pixels, "left"), "Only the right of the picture."
    ),
    "right half": Shortcut(
        lambda pixels, positions, lungs: half_blanked(pixels, "right"), "Only the left of the picture."
    ),
}


def _coordinates(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Of the pixels' centres, from -1 to 1: y as a column and x as a row."""
    size = pixels.shape[-1]
    at = (torch.arange(size, device=pixels.device) + 0.5) * 2 / size - 1
    return at[:, None], at[None, :]


def _edges(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Where a pixel is in a corner, and how far it is from the nearest edge as a fraction of the side."""
    y, x = _coordinates(pixels)
    down, across = (1 - y.abs()) / 2, (1 - x.abs()) / 2
    return (down < CORNER_HEIGHT) & (across < CORNER_WIDTH), torch.minimum(down, across)


def _border(pixels: Tensor) -> Tensor:
    corner, edge = _edges(pixels)
    return ~corner & (edge < BORDER)


def _corners(pixels: Tensor) -> Tensor:
    corner, edge = _edges(pixels)
    return corner & (edge >= CORNER_FRAME)


def _ellipses(pixels: Tensor) -> Tensor:
    y, x = _coordinates(pixels)
    across, down = (x.abs() - LUNG_CENTRE[0]) / LUNG_AXES[0], (y - LUNG_CENTRE[1]) / LUNG_AXES[1]
    return across**2 + down**2 < 1
