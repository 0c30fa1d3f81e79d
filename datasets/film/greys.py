"""What the tags of a DICOM film do to its grey values: padding, Modality LUT or rescale, VOI LUT or window,
inversion of MONOCHROME1.

Where a tag contradicts the data or can't be used, the data decide, or the next tag does; what was done is told.

References:
    [1] DICOM PS3.3 C.7.5.1.1.2 pixel padding, C.7.6.3.1.2 photometric interpretation, C.11.1 Modality LUT Module, C.11.2
        VOI LUT Module, C.11.6 softcopy presentation LUT.
"""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from datasets.film.facts import Tags, code, first, grey_name, numbers
from datasets.film.grey_arithmetic import WINDOW_FUNCTIONS, LookupTable, unsigned_cells, window
from datasets.film.picture import is_collapsed
from datasets.film.policy import Voi


class Greys(NamedTuple):
    """Grey values and how they were made.

    Attributes:
        values: float64, one for each stored value; in [0, 1] unless `how` is none.
        how: lut, rescale or a window's function, or none.
        fallback: what was preferred, or came first, could not be used.
        corrected: a lookup table's bits are those of its entries, not those that it declares.
    """

    values: np.ndarray
    how: str
    fallback: bool = False
    corrected: bool = False


def padding_range(tags: Tags) -> tuple[int, int] | None:
    """PixelPaddingValue, to PixelPaddingRangeLimit if given, in either order; None without one."""
    ends = [first(tags.get(keyword)) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    ends = [int.from_bytes(end[:2], "little") if isinstance(end, bytes) else end for end in ends]
    low, high = sorted(int(ends[0] if end is None else end) for end in ends) if ends[0] is not None else (1, 0)
    return (low, high) if low <= high else None


def padding_values(tags: Tags, stored: np.ndarray) -> np.ndarray:
    """Which stored values are padding."""
    ends = padding_range(tags)
    if ends is None:
        return np.zeros(len(stored), bool)
    low, high = ends
    if stored[0] >= 0 and low < 0 <= high:  # no stored value is negative: the part from 0 on is left
        low = 0
    low, high = sorted(_wrap(end, stored) for end in (low, high))
    return (stored >= low) & (stored <= high)


def padded_cells(tags: Tags, cells: np.ndarray, bits: int, *, signed: bool = False) -> np.ndarray | None:
    """Which cells are padding where its value needs more bits than are stored (C.7.5.1.1.2 forbids it, writers do it).

    Such a value can be told from the film's own only before the cells are masked. None where it needs no more bits.
    """
    ends, lowest = padding_range(tags), -(2 ** (bits - 1)) if signed else 0
    if ends is None or bits == 8 * cells.dtype.itemsize or all(lowest <= end < lowest + 2**bits for end in ends):
        return None
    low, high = ends
    compared = unsigned_cells(cells)
    if low < 0 <= high < 2**15:
        compared = compared.view(compared.dtype.str.replace("u", "i"))
    else:
        low, high = sorted(end & 0xFFFF for end in ends)
    padded = (compared >= low) & (compared <= high)
    return padded if padded.any() else None


def _wrap(value: int, inputs: np.ndarray) -> int:
    """A 16-bit tag read with the sign of its inputs: writers mix up US and SS."""
    if inputs[0] < 0 or inputs[-1] < 0:
        return value - 65536 if value >= 32768 else value
    return value + 65536 if value < 0 else value


def modality_values(tags: Tags, stored: np.ndarray, *, little_endian: bool) -> Greys:
    """Stored to modality values: the lookup table, or slope * stored + intercept (C.11.1.1.2), or the same."""
    items = _items(tags, "ModalityLUTSequence")
    for item in items:
        if (table := _lookup_table(item, little_endian, stored)) is not None:
            return Greys(table.apply(stored), "lut", corrected=table.corrected)
    slopes, intercepts = numbers(tags, "RescaleSlope"), numbers(tags, "RescaleIntercept")
    if not slopes and not intercepts:
        return Greys(stored, "none", fallback=bool(items))
    slope, intercept = slopes[0] if slopes else 1.0, intercepts[0] if intercepts else 0.0
    if not slope or intercept is None:
        return Greys(stored, "none", fallback=True)
    return Greys(slope * stored + intercept, "rescale", fallback=bool(items))


def voi_values(tags: Tags, values: np.ndarray, counts: np.ndarray, preferred: Voi, *, little_endian: bool) -> Greys:
    """Modality values to [0, 1] by a VOI LUT or window; with neither they come back as they are.

    A LUT or window that can't be used, or leaves no picture of one, gives way to the next one.

    Args:
        counts: how many pixels have each value, or a sample of them.
    """
    options = {"lut": _voi_tables(tags, values, little_endian), "window": _windows(tags, values)}
    kinds = {"lut": ("lut", "window"), "window": ("window", "lut"), "none": ()}[preferred]
    tried = False
    for kind in kinds:
        for option in options[kind]:
            if option is not None and not is_collapsed(option.values, counts):
                return option._replace(fallback=tried or kind != preferred)
            tried = True
    return Greys(values, "none", fallback=preferred != "none")


def _voi_tables(tags: Tags, values: np.ndarray, little_endian: bool) -> Iterator[Greys | None]:
    """The film by each VOI LUT; None for one that can't be used."""
    for item in _items(tags, "VOILUTSequence"):
        table = _lookup_table(item, little_endian, values)
        if table is None:
            yield None
        else:
            yield Greys(table.apply(values) / (2**table.bits - 1), "lut", corrected=table.corrected)


def _windows(tags: Tags, values: np.ndarray) -> Iterator[Greys | None]:
    """The film by each pair of centre and width; None for one that can't be used."""
    function = code(tags, "VOILUTFunction") or "LINEAR"
    for centre, width in zip_longest(numbers(tags, "WindowCenter"), numbers(tags, "WindowWidth")):
        if centre is None or width is None or not _is_window(width, function):
            yield None
        else:
            yield Greys(window(values, centre, width, function), function)


def _is_window(width: float, function: str) -> bool:
    return function in WINDOW_FUNCTIONS and (width >= 1 if function == "LINEAR" else width > 0)


def _items(tags: Tags, keyword: str) -> Sequence[Any]:
    """The items of a sequence; none where a damaged tag holds something else."""
    value = tags.get(keyword)
    return value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else ()


def _lookup_table(item: Tags, little_endian: bool, inputs: np.ndarray) -> LookupTable | None:
    """The table of a Modality or VOI LUT item (C.11.1.1.1): descriptor is count (0 for 65536), first input, bits.

    None where it is shorter than its descriptor says, or has none, or is one constant.
    """
    descriptor = item.get("LUTDescriptor") if hasattr(item, "get") else None
    parts = _integers(descriptor)
    if len(parts) != 3:
        return None
    count, start, bits = parts
    count = count % 65536 or 65536
    data: Any = item.get("LUTData")
    if not isinstance(data, bytes):
        data = (np.atleast_1d(np.asarray(_integers(data), np.int64)) & 0xFFFF).astype("<u2").tobytes()
        order = "<"
    else:
        order = "<" if little_endian else ">"
    # 8-bit entries may fill a 16-bit word each or share one: the length tells.
    packed = bits <= 8 and len(data) < 2 * count
    size = count * (1 if packed else 2)
    if len(data) < size:
        return None
    entries = np.frombuffer(data[:size], "u1" if packed else f"{order}u2")
    # The entries tell how many bits they have. Descriptors say 16 where the entries end at 4095, and 8 where they don't.
    used = int(entries.max()).bit_length()
    if entries.min() == entries.max():
        return None
    return LookupTable(_wrap(start, inputs), entries, used, corrected=used != bits)


def _integers(values: Any) -> list[int]:
    """Whole numbers of a tag; empty where it has none."""
    try:
        return [int(value) for value in np.atleast_1d(values).tolist()] if values is not None else []
    except (TypeError, ValueError):
        return []


def shows_bone_dark(tags: Tags) -> bool:
    """Whether the values must be inverted so that bone is bright: MONOCHROME1, or a presentation LUT of shape INVERSE."""
    return grey_name(tags) == "MONOCHROME1" or code(tags, "PresentationLUTShape") == "INVERSE"
