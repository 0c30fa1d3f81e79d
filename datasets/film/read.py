"""One film, from a file to an array, whatever the format: Pillow for PNG and TIFF, libjpeg-turbo for JPEG, ours for DICOM.

Values are divided by the full range that the format declares (8 bits: 255, 16 bits: 65535), never by the image's own
extremes: per-image min-max is itself a signature of the source. So a 16-bit PNG that holds 12-bit values comes out
dark, between 0 and 1/16: how many bits were meant is not guessed.
"""

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from datasets.film import codestream, jpeg
from datasets.film.grey_arithmetic import counted, histogram, looks_inverted
from datasets.film.picture import is_picture, sampled
from datasets.film.radiograph import (
    MAX_PIXELS,
    Radiograph,
    RadiographError,
    check_size,
    naming_nobody,
    source_bytes,
)

if TYPE_CHECKING:
    from datasets.film.policy import DicomPolicy

FORMATS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    **dict.fromkeys((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), "TIFF"),
}
TIFF_BITS_PER_SAMPLE, TIFF_PHOTOMETRIC = 258, 262


def read_radiograph(
    source: Path | bytes, *, policy: "DicomPolicy | None" = None, may_be_empty: bool = False
) -> Radiograph:
    """Read one film of any supported format, told apart by content and not by the name of the file.

    Colour is reduced to luminance (ITU-R BT.601), transparent parts are black. Which films are admitted is of DICOM alone,
    damaged ones of all formats.

    Args:
        may_be_empty: a PNG, JPEG or TIFF of next to no different greys is read too, as a mask of the lungs is one.

    Raises:
        RadiographError: not a film, broken, too large, or not admitted. The message holds no path, for a path may hold
            the name of a patient; the caller adds what it may show.
    """
    data = source_bytes(source)
    # DICM first: the 128 bytes before it are free, and some files put a TIFF header there to be both.
    image_format = next((name for magic, name in FORMATS.items() if data.startswith(magic)), None)
    if image_format is not None and data[128:132] != b"DICM":
        accept_damaged = policy is not None and policy.accept_damaged
        return _read_image(data, image_format, accept_damaged, may_be_empty)

    # Imported here, so that a cohort of PNG files never pays for importing pydicom and its codecs.
    from datasets.film.dicom import read_dicom
    from datasets.film.policy import DicomPolicy

    try:
        return read_dicom(data, policy or DicomPolicy())
    except RadiographError as error:
        if error.reason != "not DICOM":
            raise
    raise RadiographError("the content is no DICOM, PNG, JPEG or TIFF film", reason="not a film")


def _read_image(data: bytes, image_format: str, accept_damaged: bool, may_be_empty: bool) -> Radiograph:
    """A PNG, JPEG or TIFF film.

    EXIF orientation is not applied: detectors and exports don't write it, the labels of public cohorts belong to the
    stored pixels, and it can mirror a chest.
    """
    with (
        naming_nobody(partial(_pillow_failure, image_format)),
        Image.open(io.BytesIO(data), formats=[image_format]) as image,
    ):
        check_size(image.height, image.width)  # the header only: no pixel is decoded yet
        if getattr(image, "is_animated", False):  # n_frames would follow a chain of a million frames in a TIFF
            raise RadiographError(f"several frames in one {image_format}: one film a file", reason="multi-frame")
        mode = image.mode
        (pixels, bits, stored), damaged = _decoded(data, image)
        if damaged and not accept_damaged:
            raise RadiographError(f"a part of the {image_format} is missing: copy or export it again", reason="damaged")
        sample = np.rint(65535 * sampled(pixels)).astype(np.uint16) if stored is None else sampled(stored)
        levels = np.iinfo(sample.dtype).max + 1
        counts = counted(sample, levels)
        if not may_be_empty and not is_picture(counts):
            raise RadiographError("the film is empty: its pixels have next to no different greys", reason="no picture")
        facts = {
            "format": image_format,
            "bits": bits,
            "colour": mode not in ("1", "L", "LA") and not mode.startswith("I;16"),
            "alpha": mode in ("LA", "PA", "RGBA") or "transparency" in image.info,
            "looks_inverted": looks_inverted(pixels),
            "damaged": damaged,
        }
        if stored is None:
            return Radiograph(pixels, facts)
        greys = np.arange(levels, dtype=np.float32) / (levels - 1)
        return Radiograph(pixels, facts, histogram(greys, stored, counts))


class Grey(NamedTuple):
    """A film without colour.

    Attributes:
        pixels: luminance over black, float32 in [0, 1].
        bits: that the range was made of.
        stored: uint8 or uint16, the integers that were divided by 255 or 65535; None where other numbers were.
    """

    pixels: np.ndarray
    bits: int
    stored: np.ndarray | None = None


def _of_bytes(stored: np.ndarray, bits: int = 8) -> Grey:
    return Grey(stored.astype(np.float32) / 255, bits, stored)


def _decoded(data: bytes, image: Image.Image) -> tuple[Grey, bool]:
    """The film, and whether a part of it is missing."""
    if image.format == "JPEG" and image.mode in ("L", "RGB"):
        samples, damaged = jpeg.decoded(data, "GRAY" if image.mode == "L" else "RGB")
        return _of_bytes(samples[..., 0] if image.mode == "L" else _luminance(Image.fromarray(samples))), damaged
    grey = _grey(image)
    if image.format != "PNG":
        return grey, False
    # Rows beyond the end of a stream stay black and Pillow says nothing: only then the stream is inflated once more.
    last = np.asarray(image.crop((0, image.height - 1, image.width, image.height)))
    suspect = not last.any() or bool(image.info.get("interlace"))
    return grey, suspect and codestream.png_ends_early(data)


def _luminance(image: Image.Image) -> np.ndarray:
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def _pillow_failure(image_format: str, error: Exception) -> RadiographError:
    # Twice Pillow's own limit; its warning at once that is below ours.
    if isinstance(error, Image.DecompressionBombError):
        return RadiographError(f"the film has more than the {MAX_PIXELS} pixels allowed", reason="too large")
    cut = isinstance(error, EOFError) or "truncated" in str(error).lower()
    return RadiographError(
        f"the {image_format} is {'truncated' if cut else 'corrupt'}: copy or export it again",
        reason="truncated" if cut else "undecodable",
    )


def _grey(image: Image.Image) -> Grey:
    if image.mode.startswith("I;16"):
        return _grey_16(image)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        luminance, alpha = image.convert("RGBA").convert("LA").split()
        return Grey(np.asarray(luminance, np.float32) / 255 * (np.asarray(alpha, np.float32) / 255), 8)
    if image.mode == "CMYK":
        image = image.convert("RGB")
    if image.mode in ("1", "L", "P", "RGB", "YCbCr"):
        return _of_bytes(_luminance(image), 1 if image.mode == "1" else 8)
    raise RadiographError(
        f"pixels of Pillow's mode {image.mode} have no full range to divide by: export unsigned 8 or 16 bit grey"
    )


def _grey_16(image: Image.Image) -> Grey:
    """The same for one 16-bit channel; a TIFF may declare fewer bits (12), or white as 0."""
    tags = getattr(image, "tag_v2", {})
    bits = int(tags.get(TIFF_BITS_PER_SAMPLE, (16,))[0])
    values = np.asarray(image)
    pixels = values.astype(np.float32) / (2**bits - 1)
    white_is_zero = tags.get(TIFF_PHOTOMETRIC) == 0
    if white_is_zero:  # Pillow inverts it for 8 bits but not for 16
        pixels = 1 - pixels
    if "transparency" in image.info:  # one grey value declared transparent: black
        pixels[values == image.info["transparency"]] = 0
        return Grey(pixels, bits)
    return Grey(pixels, bits, None if white_is_zero or bits != 16 else values)
