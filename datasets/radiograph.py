"""One film, from a file to an array, whatever the format: Pillow for PNG, JPEG and TIFF, `datasets.dicom` for DICOM.

Values are divided by the full range that the format declares (8 bits: 255, 16 bits: 65535), never by the image's own
extremes: per-image min-max is itself a signature of the source. So a 16-bit PNG that holds 12-bit values comes out
dark, between 0 and 1/16: how many bits were meant is not guessed.
"""

import io
import logging
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from datasets.dicom_policy import DicomPolicy

MAX_PIXELS = 40_000_000
"""Largest rows x columns that is decoded; the largest detectors have about 30 million. A few hundred bytes can declare
as much, so this bounds what one file may cost: about 10 bytes a pixel at the worst moment."""

MAX_BYTES = 1 << 27
"""Largest file that is read, and largest deflated data set once inflated: `MAX_PIXELS` of 16 bits fit."""

FORMATS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
}
TIFF_BITS_PER_SAMPLE, TIFF_PHOTOMETRIC = 258, 262


@dataclass(frozen=True)
class Radiograph:
    """A decoded film.

    Attributes:
        pixels: float32, rows x columns, in [0, 1], bone bright; never mirrored or rotated.
        facts: what was done to the pixels and what is known of the film; nothing that identifies a person.
    """

    pixels: np.ndarray
    facts: Mapping[str, object] = field(default_factory=dict)


class RadiographError(ValueError):
    """A file that can't be read as a film; the message says why and what would be right, and names no patient.

    Attributes:
        reason: a few fixed words for a table of what was left out: "too large", "truncated", "multi-frame", ...
    """

    def __init__(self, message: str, *, reason: str = "undecodable"):
        super().__init__(message)
        self.reason = reason


def read_radiograph(
    source: Path | bytes, *, policy: "DicomPolicy | None" = None, key: bytes | None = None
) -> Radiograph:
    """Read one film of any supported format, told apart by content and not by the name of the file.

    Args:
        source: a file, or the bytes of one.
        policy: what is done with a DICOM film and which are admitted; no effect on other formats.
        key: of `datasets.identity.hash_key`: DICOM identities are then added to the facts as keyed hashes.

    Returns:
        The film. Colour is reduced to luminance (ITU-R BT.601), transparent parts are black.

    Raises:
        RadiographError: not a film, broken, too large, or not admitted. The message holds no path, for a path may hold
            the name of a patient; the caller adds what it may show.
    """
    data = source_bytes(source)
    # DICM first: the 128 bytes before it are free, and some files put a TIFF header there to be both.
    is_dicom = data[128:132] == b"DICM"
    image_format = next((name for magic, name in FORMATS.items() if data.startswith(magic)), None)
    if image_format is not None and not is_dicom:
        return _read_image(data, image_format)

    # Imported here, because datasets.dicom needs Radiograph from this module, and so that a cohort of PNG files
    # never pays for importing pydicom and its codecs.
    from datasets.dicom import read_dicom
    from datasets.dicom_policy import DicomPolicy

    try:
        return read_dicom(data, policy or DicomPolicy(), key=key)
    except RadiographError as error:
        if error.reason != "not DICOM":
            raise
    raise RadiographError("the content is no DICOM, PNG, JPEG or TIFF film", reason="not a film")


def source_bytes(source: Path | bytes) -> bytes:
    """The whole content of a file, bounded by `MAX_BYTES`.

    Raises:
        RadiographError: the file can't be opened, is empty or is too large.
    """
    problem = None
    if isinstance(source, Path):
        try:
            size = source.stat().st_size
            source = source.read_bytes() if size <= MAX_BYTES else b""
        except OSError as error:
            size, source, problem = 0, b"", error.strerror  # its whole text holds the path
    else:
        size = len(source)
    if problem is not None:
        raise RadiographError(f"the file can't be opened: {problem}", reason="unreadable")
    if size > MAX_BYTES:
        raise RadiographError(f"the file has {size} bytes, more than the {MAX_BYTES} allowed", reason="too large")
    if not source:
        raise RadiographError("the file is empty", reason="truncated")
    return source


def check_size(rows: int, columns: int) -> None:
    """Refuse a size before anything of that size is made.

    Raises:
        RadiographError: no pixels at all, or more than `MAX_PIXELS`.
    """
    if rows < 1 or columns < 1:
        raise RadiographError(f"the film has {rows} rows and {columns} columns: no pixels", reason="no pixel data")
    if rows * columns > MAX_PIXELS:
        raise RadiographError(
            f"the film has {rows} x {columns} pixels, more than the {MAX_PIXELS} allowed", reason="too large"
        )


class _Silence:
    """How many threads are inside `silenced`, and what the last one restores."""

    lock = threading.Lock()
    depth = 0
    restore = warnings.catch_warnings()
    handlers: ClassVar[list[logging.Handler]] = []
    propagate = True


def is_bug(error: Exception) -> bool:
    """Whether this is a fault of the program or of its installation, which no file can cause, however damaged.

    Readers turn whatever else a library raises into a RadiographError, for its text may quote the file. The texts of these
    hold names of the code alone.
    """
    if isinstance(error, ImportError):
        return True
    if isinstance(error, NameError):
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("datasets.")
    if isinstance(error, AttributeError):  # of a module or a class of ours: one of pydicom's may lack what a file lacks
        owner = error.obj if isinstance(error.obj, (type, ModuleType)) else type(error.obj)
        return isinstance(owner, ModuleType) or owner.__module__.startswith("datasets.")
    return False


@contextmanager
def silenced() -> Iterator[None]:
    """No Python warning and no log line of pydicom while inside: both quote the values of tags.

    Its handlers are exchanged: a new level would empty the caches of all loggers, which takes as long as a small film.
    Counted, because `warnings.catch_warnings` alone, left by two threads in the order they came, leaves the filters of
    the whole process changed (and the app has threads).
    """
    logger = logging.getLogger("pydicom")
    with _Silence.lock:
        if _Silence.depth == 0:
            _Silence.restore = warnings.catch_warnings()
            _Silence.restore.__enter__()
            warnings.simplefilter("ignore")
            _Silence.handlers, _Silence.propagate = logger.handlers, logger.propagate
            logger.handlers, logger.propagate = [logging.NullHandler()], False
        _Silence.depth += 1
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.depth -= 1
            if _Silence.depth == 0:
                _Silence.restore.__exit__(None, None, None)
                logger.handlers, logger.propagate = _Silence.handlers, _Silence.propagate


def _read_image(data: bytes, image_format: str) -> Radiograph:
    """A PNG, JPEG or TIFF film.

    EXIF orientation is not applied: detectors and exports don't write it, the labels of public cohorts belong to the
    stored pixels, and it can mirror a chest.
    """
    try:
        with silenced(), Image.open(io.BytesIO(data), formats=[image_format]) as image:
            check_size(image.height, image.width)  # the header only: no pixel is decoded yet
            if getattr(image, "is_animated", False):  # n_frames would follow a chain of a million frames in a TIFF
                raise RadiographError(f"several frames in one {image_format}: one film a file", reason="multi-frame")
            pixels, bits = _grey(image)
            facts = {
                "format": image_format,
                "bits": bits,
                "colour": image.mode not in ("1", "L", "LA") and not image.mode.startswith("I;16"),
                "alpha": image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info,
            }
            return Radiograph(pixels, facts)
    except RadiographError:
        raise
    except Image.DecompressionBombError:  # twice Pillow's own limit; its warning at once that is below ours
        failure = RadiographError(f"the film has more than the {MAX_PIXELS} pixels allowed", reason="too large")
    except MemoryError:
        failure = RadiographError("the film doesn't fit into memory", reason="out of memory")
    except Exception as error:  # Pillow's plug-ins raise nearly anything on a broken file
        if is_bug(error):
            raise
        cut = isinstance(error, EOFError) or "truncated" in str(error).lower()
        failure = RadiographError(
            f"the {image_format} is {'truncated' if cut else 'corrupt'}: copy or export it again",
            reason="truncated" if cut else "undecodable",
        )
    raise failure  # here and not above, where the original, which may quote the file, would stay its __context__


def _grey(image: Image.Image) -> tuple[np.ndarray, int]:
    """Luminance over black, float32 in [0, 1], and the bits that the range was made of."""
    if image.mode.startswith("I;16"):
        return _grey_16(image)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        luminance, alpha = image.convert("RGBA").convert("LA").split()
        return np.asarray(luminance, np.float32) / 255 * (np.asarray(alpha, np.float32) / 255), 8
    if image.mode == "CMYK":
        image = image.convert("RGB")
    if image.mode in ("1", "L", "P", "RGB", "YCbCr"):
        return np.asarray(image.convert("L"), np.float32) / 255, 1 if image.mode == "1" else 8
    raise RadiographError(
        f"pixels of Pillow's mode {image.mode} have no full range to divide by: export unsigned 8 or 16 bit grey",
        reason="undecodable",
    )


def _grey_16(image: Image.Image) -> tuple[np.ndarray, int]:
    """The same for one 16-bit channel; a TIFF may declare fewer bits (12), or white as 0."""
    tags = getattr(image, "tag_v2", {})
    bits = int(tags.get(TIFF_BITS_PER_SAMPLE, (16,))[0])
    values = np.asarray(image)
    pixels = values.astype(np.float32) / (2**bits - 1)
    if tags.get(TIFF_PHOTOMETRIC) == 0:  # Pillow inverts WhiteIsZero for 8 bits but not for 16
        pixels = 1 - pixels
    if "transparency" in image.info:  # one grey value declared transparent: black
        pixels[values == image.info["transparency"]] = 0
    return pixels, bits
