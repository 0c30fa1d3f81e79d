"""A film from a file to the pixels that the classifier was trained on, for MONAI's transforms.

This file is copied into each MONAI bundle as scripts/film.py, so it needs NumPy, Pillow, torch, torchvision and MONAI alone.
It does what `read` and `preprocessing` in `datasets.film` of end-cxr do with PNG, JPEG and TIFF, bit for bit; for DICOM
films use end-cxr itself. For research; not a medical device.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from PIL import Image
from torchvision.transforms.v2 import functional as F

BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # tags of TIFF


def grey(film: Image.Image) -> Image.Image:
    """A reader's `converter`: luminance over black in [0, 1] of the range that the format declares, as an image of mode F."""
    if film.mode.startswith("I;16"):
        return Image.fromarray(_grey_16(film))
    if film.mode in ("LA", "PA", "RGBA") or "transparency" in film.info:
        luminance, alpha = film.convert("RGBA").convert("LA").split()
        return Image.fromarray(np.asarray(luminance, np.float32) / 255 * (np.asarray(alpha, np.float32) / 255))
    if film.mode == "CMYK":
        film = film.convert("RGB")
    if film.mode not in ("1", "L", "P", "RGB", "YCbCr"):
        raise ValueError(f"a film of Pillow's mode {film.mode} has no range to divide by: export 8 or 16 bit grey")
    return Image.fromarray(np.asarray(film.convert("L"), np.float32) / 255)


def _grey_16(film: Image.Image) -> np.ndarray:
    tags, values = getattr(film, "tag_v2", {}), np.asarray(film)
    pixels = values.astype(np.float32) / (2 ** int(tags.get(BITS_PER_SAMPLE, (16,))[0]) - 1)
    if tags.get(PHOTOMETRIC) == 0:  # white is 0
        pixels = 1 - pixels
    if "transparency" in film.info:
        pixels[values == film.info["transparency"]] = 0
    return pixels


class FilmPixelsd(MapTransform):
    """A channel-first film in [0, 1] of any shape, to a square one in [0, 1].

    Args:
        aspect: `stretch` the film, `pad` it with black or `crop` its centre.
        intensity: `percentile` maps the film's 0.5th and 99.5th percentile to 0 and 1 and clips, measured before resizing and
            without its extreme values, which are padding, borders and burnt-out markers; `none` keeps them.
    """

    def __init__(self, keys: Any, size: int, aspect: str, intensity: str) -> None:
        super().__init__(keys)
        self.size, self.aspect, self.intensity = size, aspect, intensity

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same items, with the films prepared."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = self._prepared(items[key])
        return items

    def _prepared(self, film: Any) -> Any:
        image = torch.as_tensor(film.as_tensor() if hasattr(film, "as_tensor") else film)
        low, high = _grey_range(image[0].numpy()) if self.intensity == "percentile" else (0.0, 1.0)
        height, width = image.shape[-2:]
        if self.aspect == "crop":
            image = F.center_crop(image, [min(height, width)] * 2)
        elif self.aspect == "pad":  # the longer side first, for the square around a narrow film may not fit into memory
            tall = height >= width
            image = F.resize(image, [self.size, width] if tall else [height, self.size], antialias=True)
            side = max(height, width)
            image = F.center_crop(image, [self.size, side] if tall else [side, self.size])
        image = F.resize(image, [self.size, self.size], antialias=True).sub(low).div(high - low).clamp(0, 1)
        return convert_to_dst_type(image, film)[0]  # keeps the name of the file


def _grey_range(pixels: np.ndarray) -> tuple[float, float]:
    step = max(1, min(pixels.shape) // 1024)
    values = pixels[::step, ::step]
    inner = values[(values > pixels.min()) & (values < pixels.max())]
    if inner.size < 0.1 * values.size:  # a flat or binary image
        return 0.0, 1.0
    low, high = np.percentile(inner, (0.5, 99.5)).tolist()
    return low, max(high, low + 1e-6)
