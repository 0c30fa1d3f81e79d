"""Where the tags of one frame lie, and pixels that aren't square.

Enhanced objects keep a frame's tags in functional groups, one level or two down. Some old plate readers write pixels that
are taller than wide: shown cell by cell, the chest is stretched.

References:
    [1] DICOM PS3.3 C.7.6.16 multi-frame functional groups, C.7.6.3.1.7 pixel aspect ratio, 10.7.1.3 pixel spacing.
"""

from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from datasets.film.facts import Tags, numbers
from datasets.film.radiograph import check_size

FRAME_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_GROUPS = {
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameAnatomySequence": ("AnatomicRegionSequence",),
    "PixelMeasuresSequence": ("PixelSpacing",),
}
_SQUARE = 0.01  # relative difference that rounding of a spacing explains
_ODDEST = 4.0  # no reader has such pixels: the tag is wrong


def with_frame_tags(dataset: Dataset) -> None:
    """Bring the tags of the first frame up to the data set where it has none of its own."""
    for groups in FRAME_GROUPS:
        for group in _first_item(dataset, groups):
            for name, keywords in _GROUPS.items():
                for item in _first_item(group, name):
                    for keyword in keywords:
                        if keyword in item and keyword not in dataset:
                            dataset[keyword] = item[keyword]


def _first_item(dataset: Dataset, keyword: str) -> list[Any]:
    value = dataset.get(keyword)
    return [value[0]] if isinstance(value, Sequence) and value else []


def pixel_aspect(tags: Tags) -> float:
    """Height of a pixel over its width, by its spacing or else its aspect ratio; 1 where nothing usable says otherwise."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        match numbers(tags, keyword):
            case [float(height), float(width)] if height > 0 and width > 0:
                aspect = height / width
                return aspect if abs(aspect - 1) > _SQUARE and 1 / _ODDEST < aspect < _ODDEST else 1.0
    return 1.0


def with_square_pixels(pixels: np.ndarray, aspect: float) -> np.ndarray:
    """The film with as many more rows or columns as make its pixels square, interpolated linearly.

    Raises:
        RadiographError: it would be too large.
    """
    rows, columns = pixels.shape
    rows, columns = (round(rows * aspect), columns) if aspect > 1 else (rows, round(columns / aspect))
    check_size(rows, columns)
    image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
    return np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR)).clip(0, 1)
