"""What the tags of a DICOM film do to its grey values: padding, Modality LUT or rescale, VOI LUT or window,
inversion of MONOCHROME1.

References:
    [1] DICOM PS3.3 C.7.5.1.1.2 pixel padding, C.7.6.3.1.2 photometric interpretation, C.11.1 Modality LUT Module, C.11.2
        VOI LUT Module, C.11.6 softcopy presentation LUT.
"""

import math

import numpy as np

from datasets.film.facts import DicomError, Tags, code, first
from datasets.film.grey_arithmetic import WINDOW_FUNCTIONS, LookupTable, window
from datasets.film.policy import Voi


def padding_values(tags: Tags, stored: np.ndarray) -> np.ndarray:
    """Which stored values are padding: PixelPaddingValue, to PixelPaddingRangeLimit if given, in either order."""
    value = first(tags.get("PixelPaddingValue"))
    if value is None:
        return np.zeros(len(stored), bool)
    limit = first(tags.get("PixelPaddingRangeLimit"))
    low, high = sorted(_wrap(int(end), stored) for end in (value, value if limit is None else limit))
    return (stored >= low) & (stored <= high)


def _wrap(value: int, inputs: np.ndarray) -> int:
    """A 16-bit tag read with the sign of its inputs: writers mix up US and SS."""
    if inputs[0] < 0 or inputs[-1] < 0:
        return value - 65536 if value >= 32768 else value
    return value + 65536 if value < 0 else value


def modality_values(tags: Tags, stored: np.ndarray, *, little_endian: bool) -> tuple[np.ndarray, str]:
    """Stored to modality values: the lookup table, or slope * stored + intercept (C.11.1.1.2), or the same."""
    item = first(tags.get("ModalityLUTSequence"))
    if item is not None:
        return _lookup_table(item, little_endian, stored).apply(stored), "lut"
    slope, intercept = first(tags.get("RescaleSlope")), first(tags.get("RescaleIntercept"))
    if slope is None and intercept is None:
        return stored, "none"
    slope, intercept = float(1 if slope is None else slope), float(intercept or 0)
    if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
        raise DicomError("RescaleSlope and RescaleIntercept must be finite numbers and the slope not 0")
    return slope * stored + intercept, "rescale"


def voi_values(tags: Tags, values: np.ndarray, preferred: Voi, *, little_endian: bool) -> tuple[np.ndarray, str]:
    """Modality values to [0, 1] by the VOI LUT or window; with neither they come back as they are."""
    item = first(tags.get("VOILUTSequence"))
    chain = {"lut": ("lut", "window"), "window": ("window", "lut"), "none": ()}[preferred]
    for voi in chain:
        if voi == "lut" and item is not None:
            table = _lookup_table(item, little_endian, values)
            return table.apply(values) / (2**table.bits - 1), "lut"
        if voi == "window" and (usable := _usable_window(tags)) is not None:
            return window(values, *usable), usable[2]
    return values, "none"


def _usable_window(tags: Tags) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window; None without one, or if it is invalid as some writers' are."""
    centre, width = first(tags.get("WindowCenter")), first(tags.get("WindowWidth"))
    function = code(tags, "VOILUTFunction") or "LINEAR"
    if centre is None or width is None or function not in WINDOW_FUNCTIONS:
        return None
    usable = math.isfinite(centre) and math.isfinite(width) and (width >= 1 if function == "LINEAR" else width > 0)
    return (float(centre), float(width), function) if usable else None


def _lookup_table(item: Tags, little_endian: bool, inputs: np.ndarray) -> LookupTable:
    """The table of a Modality or VOI LUT item (C.11.1.1.1): descriptor is count (0 for 65536), first input, bits."""
    count, start, bits = (int(part) for part in item.get("LUTDescriptor"))
    count = count % 65536 or 65536
    data = item.get("LUTData")
    if not isinstance(data, bytes):
        data = (np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF).astype("<u2").tobytes()
        order = "<"
    else:
        order = "<" if little_endian else ">"
    # 8-bit entries may fill a 16-bit word each or share one: the length tells.
    packed = bits <= 8 and len(data) < 2 * count
    entries = np.frombuffer(data[: count * (1 if packed else 2)], "u1" if packed else f"{order}u2")
    if len(entries) < count or not 1 <= bits <= 16:
        raise DicomError("a lookup table is shorter than its descriptor says, or not of 1 to 16 bits")
    # Some writers' tables exceed the bits that they declare: those of the largest entry then make the range.
    return LookupTable(_wrap(start, inputs), entries, max(bits, int(entries.max()).bit_length()))


def shows_bone_dark(tags: Tags) -> bool:
    """Whether the values must be inverted so that bone is bright: MONOCHROME1, or a presentation LUT of shape INVERSE."""
    return code(tags, "PhotometricInterpretation") == "MONOCHROME1" or code(tags, "PresentationLUTShape") == "INVERSE"
