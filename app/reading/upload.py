"""From uploaded bytes to a film, in a process of its own: its greys by each VOI policy, or its stored values."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np
from PIL import Image

from datasets.film.dicom import read_dicom, stored_values
from datasets.film.policy import DicomPolicy, Voi
from datasets.film.radiograph import Radiograph, RadiographError
from datasets.film.read import read_radiograph

BURNED_IN = "its header says that text is burned into the picture, which may be a name: it is not shown"
SHOWN = 960  # px on the long side of a picture on a page


class Upload(NamedTuple):
    """A request to a reading process."""

    content: bytes
    vois: tuple[Voi, ...]  # policies to read a DICOM film's greys with; none for its stored values alone


@dataclass(frozen=True)
class Film:
    """A decoded film, as read by each policy asked for: the same for all policies unless it is DICOM.

    Attributes:
        key: the same for the same film alone, and says nothing of what is on it.
    """

    readings: Mapping[Voi, Radiograph]
    key: str

    @classmethod
    def read_alike(cls, film: Radiograph, key: str) -> "Film":
        """A film whose greys are the same by any policy."""
        return cls(dict.fromkeys(get_args(Voi), film), key)

    @property
    def shown(self) -> Radiograph:
        """The reading that pages show."""
        return next(iter(self.readings.values()))


def read_upload(upload: Upload) -> Film | np.ndarray | str:
    """A film, the picture of its stored values, or a sentence for its owner that says why not; a bad film raises nothing."""
    content, policy = upload.content, DicomPolicy()
    try:
        if not upload.vois:
            return _picture(stored_values(content))
        first, *others = upload.vois
        key = hashlib.sha256(content).hexdigest()
        film = read_radiograph(content, policy=policy.reading(first))
        if film.facts.get("burned_in"):
            return BURNED_IN
        if film.facts.get("format") != "DICOM":
            return Film(dict.fromkeys(upload.vois, film), key)
        return Film({first: film} | {voi: read_dicom(content, policy.reading(voi)) for voi in others}, key)
    except RadiographError as error:
        return str(error)


def shown_size(rows: int, columns: int, longest: int = SHOWN) -> tuple[int, int]:
    """Rows and columns of the picture of a film on a page."""
    scale = min(1.0, longest / max(rows, columns))
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def _picture(values: np.ndarray) -> np.ndarray:
    """Stored values as a small uint8 picture, black to white from the smallest to the largest."""
    step = max(1, max(values.shape) // (2 * SHOWN))
    part = values[::step, ::step].astype(np.float32)
    low, high = float(part.min()), float(part.max())
    grey = Image.fromarray((255 * (part - low) / max(high - low, 1)).round().astype(np.uint8))
    rows, columns = shown_size(*part.shape)
    return np.asarray(grey.resize((columns, rows), Image.Resampling.BILINEAR))
