"""From a film to the tensor a model sees: one value, made by training, stored in the checkpoint, used everywhere."""

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from datasets.film.grey_arithmetic import OUTER, weighted_percentiles
from datasets.film.picture import MEASURED, sampled
from datasets.film.policy import Voi
from datasets.film.radiograph import Radiograph

MAX_SIZE = 8192  # no detector has many more; a checkpoint's header could ask for any
ASPECTS, INTENSITIES = ("stretch", "pad", "crop"), ("percentile", "none")


@dataclass(frozen=True)
class Preprocessing:
    """Size, grey levels and normalisation, in two steps with augmentation between them.

    Attributes:
        size: side of the square input in pixels.
        channels: 1, or 3 equal ones.
        aspect: `stretch` the film to the square (keeps all of it, and no bars that tell its shape), `pad` it with black,
            or `crop` its centre.
        intensity: `percentile` maps the 0.5th and 99.5th percentile to 0 and 1 and clips; they are those of the film as
            read, its own extreme values (padding, collimation borders, burnt-out markers) left out. `none` keeps [0, 1].
        mean, std: per channel, of grey levels in [0, 1].
        voi: what a DICOM film's greys are made with, see `datasets.film.policy`; no effect on other formats.
    """

    size: int
    channels: int = 1
    aspect: str = "stretch"
    intensity: str = "percentile"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    voi: Voi = "lut"

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or not 1 <= self.size <= MAX_SIZE:
            raise ValueError(f"size must be a whole number from 1 to {MAX_SIZE} pixels, not {self.size!r}")
        choices = {"channels": (1, 3), "aspect": ASPECTS, "intensity": INTENSITIES, "voi": get_args(Voi)}
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, not {value!r}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ValueError(f"{name} has {len(values)} values for {self.channels} channel(s)")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preprocessing":
        """Rebuild from the JSON object that `dataclasses.asdict` gave."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def pixels(self, film: Radiograph) -> Float[Tensor, "1 size size"]:
        """Resize and scale one film to [0, 1]: the part that is worth caching."""
        image = torch.from_numpy(np.ascontiguousarray(film.pixels, dtype=np.float32))[None]
        if self.aspect != "stretch":
            height, width = image.shape[-2:]
            if self.aspect == "crop":
                square = [min(height, width)] * 2
            else:  # the longer side is resized first, for the square around a narrow film may not fit into memory
                side, tall = max(height, width), height >= width
                image = F.resize(image, [self.size, width] if tall else [height, self.size], antialias=True)
                square = [self.size, side] if tall else [side, self.size]
            image = F.center_crop(image, square)  # pads with 0 where the film is smaller
        image = F.resize(image, [self.size, self.size], antialias=True)
        if self.intensity == "percentile":
            low, high = _grey_range(film)
            image = image.sub(low).div(high - low)
        return image.clamp(0, 1)

    def normalise(self, pixels: Float[Tensor, "*batch _ size size"]) -> Float[Tensor, "*batch channels size size"]:
        """Repeat a single channel as needed and normalise: the last step, after augmentation."""
        if pixels.shape[-3] != self.channels:
            pixels = pixels.expand(*pixels.shape[:-3], self.channels, *pixels.shape[-2:])
        # Made on the CPU and sent without waiting: a tensor made on a GPU from numbers would hold up each batch.
        mean, std = (
            torch.tensor(value, dtype=pixels.dtype).view(-1, 1, 1).to(pixels.device, non_blocking=True)
            for value in (self.mean, self.std)
        )
        return (pixels - mean).div_(std)

    def __call__(self, film: Radiograph) -> Float[Tensor, "channels size size"]:
        """A film as the model sees it."""
        return self.normalise(self.pixels(film))


def _grey_range(film: Radiograph) -> tuple[float, float]:
    """The percentiles, from about a million pixels; measured before resizing, which smears borders into the film."""
    values = sampled(film.pixels, MEASURED)
    greys, counts = film.histogram or (values, None)
    inside = (greys > film.pixels.min()) & (greys < film.pixels.max())
    number = np.count_nonzero(inside) if counts is None else counts[inside].sum()
    if number < 0.1 * values.size:  # a flat or binary image has no grey levels to measure
        return 0.0, 1.0
    if counts is None:
        low, high = np.percentile(greys[inside], OUTER).tolist()
    else:
        low, high = weighted_percentiles(greys[inside], counts[inside], OUTER)
    return low, max(high, low + 1e-6)
