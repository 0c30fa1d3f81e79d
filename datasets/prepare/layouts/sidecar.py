"""The DICOM attributes of a film as a JSON file beside it, and the film with its greys as they say.

BIMCV's PNG files hold stored values: unwindowed, and for MONOCHROME1 with bone dark. Read as pictures they tell the detector
apart at a glance. They are written anew with what `datasets.film.dicom` does to the greys of a DICOM film, at 8 bits.

DICOM PS3.18 F.2 JSON model: {"00280004": {"vr": "CS", "Value": ["MONOCHROME1"]}}.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from datasets.film.facts import code, first
from datasets.film.grey_arithmetic import counted, looked_up, robust_scale
from datasets.film.greys import modality_values, voi_values
from datasets.film.picture import is_collapsed
from datasets.film.radiograph import RadiographError
from datasets.film.read import read_radiograph

MAX_BYTES = 1 << 24
TAGS = {
    "Modality": "00080060",
    "Manufacturer": "00080070",
    "BodyPartExamined": "00180015",
    "ViewPosition": "00185101",
    "PatientSex": "00100040",
    "PatientAge": "00101010",
    "PhotometricInterpretation": "00280004",
    "BitsStored": "00280101",
    "WindowCenter": "00281050",
    "WindowWidth": "00281051",
    "RescaleIntercept": "00281052",
    "RescaleSlope": "00281053",
    "VOILUTFunction": "00281056",
    "ModalityLUTSequence": "00283000",
    "LUTDescriptor": "00283002",
    "LUTData": "00283006",
    "VOILUTSequence": "00283010",
}
NUMBERS = frozenset(["BitsStored", "WindowCenter", "WindowWidth", "RescaleIntercept", "RescaleSlope"])


class Sidecar:
    """Attributes by DICOM keyword, as `datasets.film.facts.Tags` wants them."""

    def __init__(self, entries: dict[str, Any]) -> None:
        self.entries = entries

    @classmethod
    def read(cls, file: Path) -> "Sidecar | None":
        """The attributes in a JSON file; None where it is missing, too large or no JSON object."""
        try:
            if file.stat().st_size > MAX_BYTES:
                return None
            entries = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return cls(entries) if isinstance(entries, dict) else None

    def get(self, keyword: str, /) -> Any:
        """The values of an attribute; None where it is missing or no list."""
        entry = self.entries.get(TAGS.get(keyword, ""))
        values = entry.get("Value") if isinstance(entry, dict) else None
        if not isinstance(values, list):
            return None
        if keyword in NUMBERS:
            return [float(value) for value in values if isinstance(value, (int, float, str)) and _is_number(value)]
        return [Sidecar(value) if isinstance(value, dict) else value for value in values]

    @property
    def polarity(self) -> str | None:
        """MONOCHROME1 (the highest value is black) or MONOCHROME2; None for anything else."""
        photometric = code(self, "PhotometricInterpretation")
        return photometric if photometric in ("MONOCHROME1", "MONOCHROME2") else None


def rendered(film: Path, sidecar: Path) -> np.ndarray:
    """The film as 8-bit greys, bone bright: rescaled, then by VOI LUT or window, else over the range of its stored bits.

    Where that leaves no picture, over the range that its greys have.

    RadiographError if either file can't be read, or they don't belong together.
    """
    tags, radiograph = Sidecar.read(sidecar), read_radiograph(film)
    if tags is None or tags.polarity is None:
        raise RadiographError("its JSON file does not say what its greys are")
    file_bits = int(str(radiograph.facts["bits"]))
    bits = int(first(tags.get("BitsStored")) or file_bits)
    if radiograph.facts["colour"] or not 1 <= bits <= file_bits:
        raise RadiographError("its greys are not those that its JSON file describes")
    stored = np.arange(2**file_bits, dtype=np.float64)
    cells = np.rint(radiograph.pixels * (2**file_bits - 1)).astype(np.uint16)
    counts = counted(cells, len(stored))
    values = modality_values(tags, stored, little_endian=True).values
    voi = voi_values(tags, values, counts, "lut", little_endian=True)
    greys = voi.values
    if voi.how == "none":
        low, high = sorted((float(values[0]), float(values[2**bits - 1])))
        greys = (values - low) / (high - low)
        if is_collapsed(greys, counts):  # fewer bits are used than stated
            greys = robust_scale(values, counts)
    greys = np.clip(greys, 0, 1)
    picture = np.rint(255 * (1 - greys if tags.polarity == "MONOCHROME1" else greys)).astype(np.uint8)
    return looked_up(picture, cells)


def _is_number(value: float | str) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except ValueError:
        return False
