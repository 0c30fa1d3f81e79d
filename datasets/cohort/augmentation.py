"""Training augmentation that leaves a chest a chest: small affine, grey-level and noise changes, never a mirror.

A mirrored film has its heart on the right (dextrocardia), so no flip is offered. What is drawn for a film depends on the
seed, the epoch and its position in the epoch alone, so neither workers nor interruptions change it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.v2 import functional as F


@dataclass(frozen=True)
class Augmentation:
    """Ranges to draw from, uniformly and symmetrically.

    Attributes:
        degrees: largest rotation either way.
        translate: largest shift, as a fraction of the side.
        scale: largest relative zoom either way.
        gamma: largest |log2| of the exponent on grey levels.
        contrast: largest relative change of contrast about mid-grey.
        noise: largest standard deviation of added Gaussian noise, in grey levels of [0, 1].
    """

    degrees: float = 8.0
    translate: float = 0.05
    scale: float = 0.08
    gamma: float = 0.35
    contrast: float = 0.15
    noise: float = 0.02

    def __call__(
        self, pixels: Float[Tensor, "c size size"], generator: torch.Generator
    ) -> Float[Tensor, "c size size"]:
        """Return a changed copy in [0, 1]; every random number comes from `generator`."""
        turn, right, down, zoom, gamma, contrast, noise = torch.rand(7, generator=generator).mul(2).sub(1).tolist()
        side = pixels.shape[-1]
        moved = F.affine(
            pixels,
            angle=turn * self.degrees,
            translate=[right * self.translate * side, down * self.translate * side],
            scale=1 + zoom * self.scale,
            shear=[0.0, 0.0],
            interpolation=F.InterpolationMode.BILINEAR,
        )
        grey = moved.clamp(0, 1).pow(2 ** (gamma * self.gamma))
        grey = (grey - 0.5) * (1 + contrast * self.contrast) + 0.5
        grain = torch.randn(grey.shape, generator=generator) * (abs(noise) * self.noise)
        return (grey + grain).clamp(0, 1)
