"""Features from inside a backbone: maps of chosen layers, each averaged over the image, side by side.

Layers are those of timm's `forward_intermediates`, counted from 0: stages of a CNN, blocks of a transformer, whose class
token is left out.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

OUTPUT = "output"  # in place of a number: the backbone's own pooled features
Layers: TypeAlias = Sequence[int | str]


def pooled_layers(
    backbone: Any, image: Float[Tensor, "batch channels height width"], layers: Layers
) -> Float[Tensor, "batch features"]:
    """Features of the layers in their order, which must be a rising one, `output` last."""
    numbers = [layer for layer in layers if layer != OUTPUT]
    if len(numbers) == len(layers):  # what follows the last of them need not be computed
        maps = backbone.forward_intermediates(image, indices=numbers, stop_early=True, intermediates_only=True)
        return torch.cat([values.mean((2, 3)) for values in maps], dim=1)
    last, maps = backbone.forward_intermediates(image, indices=numbers)
    return torch.cat([*(values.mean((2, 3)) for values in maps), backbone.forward_head(last, pre_logits=True)], dim=1)


def middle_and_last(count: int) -> Layers:
    """The layer at two thirds of the depth, and the last, of so many."""
    return tuple(sorted({math.ceil(2 * count / 3) - 1, count - 1}))
