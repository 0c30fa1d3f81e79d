"""The arithmetic between stored values and a picture: lookup tables, windows, robust scale, polarity.

All functions take the values to be mapped, be it a film or, once for all films of 16 bits or less, the list of
every value that can be stored.

References:
    [1] DICOM PS3.3 C.11.1 Modality LUT Module, C.11.2 VOI LUT Module (2024).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from datasets.film.picture import MEASURED, sampled
from datasets.film.radiograph import Histogram

OUTER = (0.5, 99.5)  # few enough pixels lie beyond for markers and dead pixels not to set the contrast
FEW = 4  # pixels a grey
WINDOW_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True)
class LookupTable:
    """A modality or VOI lookup table, PS3.3 C.11.1.1 and C.11.2.1.1.

    Attributes:
        first: the input that the first entry is for; smaller inputs get the first entry, too large ones the last.
        bits: of the output range, 0 to 2**bits - 1.
        corrected: the descriptor says other bits than the entries have.
    """

    first: int
    entries: np.ndarray
    bits: int
    corrected: bool = False

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Outputs as float64; inputs that a rescale left between integers go to the nearest."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return self.entries[index.astype(np.int64)].astype(np.float64)


def window(values: np.ndarray, centre: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """A VOI window whose output range is [0, 1].

    LINEAR (C.11.2.1.2.1): 0 up to c - 0.5 - (w - 1) / 2, 1 above c - 0.5 + (w - 1) / 2, (x - (c - 0.5)) / (w - 1) + 0.5
    between. LINEAR_EXACT (C.11.2.1.3.2): the same without the halves: 0 up to c - w / 2, 1 above c + w / 2,
    (x - c) / w + 0.5 between. SIGMOID (C.11.2.1.3.1): 1 / (1 + exp(-4 (x - c) / w)).

    Raises:
        ValueError: another function, a width below 1 for LINEAR, or not above 0 for the others.
    """
    if function not in WINDOW_FUNCTIONS:
        raise ValueError(f"the window function must be one of {', '.join(WINDOW_FUNCTIONS)}")
    if not (width >= 1 if function == "LINEAR" else width > 0):
        raise ValueError("the window width must be at least 1 for LINEAR and above 0 for the other functions")
    if function == "SIGMOID":
        # exp of 700 is the largest that float64 holds; the result is 0 long before
        return 1 / (1 + np.exp(np.minimum(-4 * (values - centre) / width, 700)))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width == 0:  # LINEAR of width 1 is a step
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0, 1)


def unsigned_cells(cells: np.ndarray) -> np.ndarray:
    """The same cells as unsigned integers, in their own byte order."""
    return cells.view(cells.dtype.str.replace("i", "u"))  # the type's text, such as "<i2"


def unused_bits_below(cells: np.ndarray, bits: int, stated: int, *, signed: bool) -> int:
    """How many unused bits lie below the stored ones: as HighBit states, unless the cells themselves show otherwise.

    A HighBit of 15 beside 12 bits that fill the low end of 16 is an old writer's fault, and so is one of 11 beside cells
    whose four lowest bits are all 0 and whose highest are not.

    Args:
        bits: BitsStored.
        stated: HighBit + 1 - BitsStored.
    """
    room = 8 * cells.dtype.itemsize - bits
    stated = min(max(stated, 0), room)
    if room == 0:
        return 0
    used = int(np.bitwise_or.reduce(unsigned_cells(cells), axis=None))
    fits = used < 2**bits
    if signed and not fits:  # the sign goes on above the stored bits
        values = cells.view(cells.dtype.str.replace("u", "i"))
        fits = -(2 ** (bits - 1)) <= int(values.min()) and int(values.max()) < 2 ** (bits - 1)
    if stated:
        return 0 if fits and used & (2**stated - 1) else stated
    return room if not fits and not used & (2**room - 1) else 0


def stored_offsets(cells: np.ndarray, bits: int, *, signed: bool, shift: int = 0, numeric: bool = False) -> np.ndarray:
    """Stored values counted from the smallest that can be stored, so that they index a table.

    Args:
        cells: integers of 8 or 16 bits as decoded, any byte order.
        bits: BitsStored. Bits above may hold anything (an overlay, a wrong sign) and are masked, PS3.5 8.1.1.
        signed: two's complement within these bits: offset 0 is the value -2**(bits - 1), else 0.
        shift: unused bits below (HighBit + 1 - BitsStored).
        numeric: the cells are numbers that a lossy codec may have carried beyond the range: clipped instead, for a mask
            would turn the brightest pixels black.

    Returns:
        uint8 or uint16 of the same shape, below 2**bits.
    """
    if numeric:
        lowest = -(2 ** (bits - 1)) if signed else 0
        range_ = np.iinfo(cells.dtype)
        clipped = np.clip(cells, max(lowest, range_.min), min(lowest + 2**bits - 1, range_.max)).astype(np.uint16)
        clipped += np.uint16(-lowest)  # modulo 65536, in which the result fits
        return clipped
    unsigned = np.dtype(f"u{cells.dtype.itemsize}").type
    offsets = cells.astype(cells.dtype.newbyteorder("=")).view(unsigned)
    if shift:
        offsets >>= unsigned(shift)
    if bits < 8 * offsets.itemsize:
        offsets &= unsigned(2**bits - 1)
    if signed:
        offsets ^= unsigned(2 ** (bits - 1))  # flipping the sign bit adds 2**(bits - 1)
    return offsets


def looked_up(table: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """`table[offsets]` for a film, some rows at a time: numpy makes eight bytes of each index before it uses it."""
    result = np.empty(offsets.shape, table.dtype)
    for rows in _some_rows(offsets):
        np.take(table, offsets[rows], out=result[rows], mode="clip")
    return result


def counted(offsets: np.ndarray, length: int) -> np.ndarray:
    """How often each number from 0 to below a length is there, some rows at a time for the same reason."""
    if offsets.dtype == np.uint8:  # Pillow counts bytes in a third of the time
        return np.array(Image.fromarray(offsets).histogram()[:length])
    counts = np.zeros(length, np.int64)
    for rows in _some_rows(offsets):
        counts += np.bincount(offsets[rows].ravel(), minlength=length)
    return counts


def histogram(greys: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> Histogram | None:
    """The histogram of the film `greys[offsets]`; None where it has so few pixels that sorting them takes no longer.

    Args:
        counts: those of `sampled(offsets)`, which in a small film are of the same pixels.
    """
    sample = sampled(offsets, MEASURED)
    if sample.size < FEW * len(greys):
        return None
    return Histogram(greys, counts if counts.sum() == sample.size else counted(sample, len(greys)))


def _some_rows(film: np.ndarray) -> Iterator[slice]:
    """The rows of a film in parts of about a million pixels."""
    step = max(1, (1 << 20) // film.shape[1])
    return (slice(start, start + step) for start in range(0, film.shape[0], step))


def weighted_percentiles(values: np.ndarray, counts: np.ndarray, percents: Sequence[float]) -> list[float]:
    """Percentiles of each value repeated count times, interpolated linearly as `numpy.percentile` does; NaN if none."""
    order = np.argsort(values, kind="stable")
    ordered, below = values[order], np.cumsum(counts[order])
    if below[-1] == 0:
        return [float("nan")] * len(percents)
    positions = np.asarray(percents) / 100 * (below[-1] - 1)
    lower = ordered[np.searchsorted(below, np.floor(positions), side="right")]
    upper = ordered[np.searchsorted(below, np.ceil(positions), side="right")]
    return [float(value) for value in lower + (upper - lower) * (positions - np.floor(positions))]


def robust_scale(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Map the percentiles `OUTER` to 0 and 1 and clip; all 0 where the counted pixels are one constant or none.

    Args:
        counts: how many pixels have each; those to be left out of the percentiles aren't counted.
    """
    low, high = weighted_percentiles(values, counts, OUTER)
    if not high > low:  # a marker on a blank film: the percentiles are one value, the extremes are not
        low, high = weighted_percentiles(values, counts, (0, 100))
    if not high > low:
        return np.zeros_like(values)
    return np.clip((values - low) / (high - low), 0, 1)


def inside_border(stored: np.ndarray) -> np.ndarray:
    """A view of the film without constant rows and columns at its edges, a collimated or padded border; all if all are."""
    for axis in (1, 0):
        varied = np.flatnonzero(stored.min(axis=axis) != stored.max(axis=axis))
        if varied.size == 0:
            return stored
        inside = slice(varied[0], varied[-1] + 1)
        stored = stored[inside] if axis == 1 else stored[:, inside]
    return stored


def looks_inverted(pixels: np.ndarray) -> bool:
    """Whether a chest film probably still has air bright: a hint for a person, never a reason to change the pixels.

    Inverted, the mediastinum is darker than both lungs beside it and darker than the upper corners, which show the air
    above the shoulders. A film that isn't a chest gives no answer worth having.
    """
    rows, columns = pixels.shape

    def median(top: float, bottom: float, left: float, right: float) -> float:
        part = pixels[int(top * rows) : int(bottom * rows), int(left * columns) : int(right * columns)]
        return float(np.median(part[::4, ::4])) if part.size else float("nan")  # NaN compares false: nothing flagged

    mediastinum = median(0.35, 0.75, 0.44, 0.56)
    lungs = min(median(0.3, 0.65, 0.18, 0.34), median(0.3, 0.65, 0.66, 0.82))
    corners = min(median(0.05, 0.12, 0.05, 0.12), median(0.05, 0.12, 0.88, 0.95))  # within a narrow collimation border
    return mediastinum + 0.1 < min(lungs, corners)
