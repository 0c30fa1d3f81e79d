"""From compressed or native pixels to cells, and whether the codec had to guess: a recovered picture is a damaged one.

libjpeg and gdcm go on after a gap in a scan and only print a warning. What they print is read here and makes the film
damaged. JPEG 2000, JPEG-LS and RLE codecs raise. None of them can notice a change of bits that still decodes: the formats
have no checksum.
"""

import importlib.util
import os
import re
import tempfile
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import gdcm
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder

from datasets.film import codestream, jpeg
from datasets.film.facts import DicomError

PLUGINS = {
    uid.RLELossless: "pylibjpeg",
    **dict.fromkeys((uid.JPEGLossless, uid.JPEGLosslessSV1), "gdcm"),
    # Without a wheel of pyjpegls, as on Python 3.14, gdcm does it.
    **dict.fromkeys(
        (uid.JPEGLSLossless, uid.JPEGLSNearLossless), "pyjpegls" if importlib.util.find_spec("jpeg_ls") else "gdcm"
    ),
    **dict.fromkeys((uid.JPEG2000Lossless, uid.JPEG2000), "pylibjpeg"),
    **dict.fromkeys((uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K), "pylibjpeg"),
}
"""The fastest of pydicom's codecs for a compressed syntax: by itself it would take gdcm for JPEG-LS, at twice the time."""

NATIVE = (
    *(uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian),
    uid.DeflatedExplicitVRLittleEndian,
)
JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)

_GUESSED = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG file|Inconsistent progression"
    rb"|Unsupported (marker type|JPEG process)|Bogus (Huffman|DHT|DQT|DAC|marker)"
)
_stderr = threading.Lock()
MOST_PADDING = 1.1  # times the bytes of a film: archives fill up blocks, but more belongs to another picture


class Cells(NamedTuple):
    """Decoded cells.

    Attributes:
        values: rows x columns of 8 or 16 bits, with whatever stands in the bits that are not stored.
        damaged: the codec met a gap and guessed what follows.
    """

    values: np.ndarray
    damaged: bool = False


def decoded(dataset: Dataset, syntax: uid.UID) -> Cells:
    """The cells of a one-frame grey film whose tags are complete.

    Raises:
        DicomError: there are none to be had. `reason`: truncated or undecodable.
    """
    if syntax in NATIVE:
        if dataset["PixelData"].is_undefined_length:
            raise DicomError("the pixels are compressed, but the transfer syntax says that they aren't")
        needed = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
        if len(dataset.PixelData) < needed:
            raise DicomError("the pixels end too early: copy the file again", reason="truncated")
        if len(dataset.PixelData) > MOST_PADDING * needed:
            raise DicomError(
                f"the pixels are {len(dataset.PixelData)} bytes, of which Rows, Columns and BitsAllocated name {needed}: "
                "export the file again"
            )
        return _or_error(lambda: Cells(_by_pydicom(dataset, syntax)), complete=True)
    if syntax not in PLUGINS and syntax not in JPEG:
        raise DicomError("the transfer syntax isn't one that can be decoded: convert the file to a lossless one")
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if syntax == uid.RLELossless:
        if not codestream.rle_is_sound(frame, dataset.BitsAllocated // 8, dataset.Rows * dataset.Columns):
            raise DicomError("the RLE segments aren't those of a picture of the size and bits that the tags declare")
        return _or_error(lambda: Cells(_by_pydicom(dataset, syntax)), complete=True)
    coded = codestream.coded_shape(frame)
    if coded is None or coded[:3] != (dataset.Rows, dataset.Columns, 1) or coded.bits > dataset.BitsAllocated:
        raise DicomError("the compressed picture isn't of the size and bits that the tags declare")
    if syntax in JPEG_LS and not codestream.scan_ends(frame):
        raise DicomError("the pixels are cut short: copy or export the file again", reason="truncated")
    if not codestream.has_bounded_parts(frame):
        raise DicomError("the compressed picture declares more tiles, blocks, layers or scans than a film has")

    def decode() -> Cells:
        if syntax in JPEG and coded.bits == 8:
            pixels, guessed = jpeg.decoded(frame, "GRAY")
            return Cells(pixels[..., 0], guessed)
        if syntax in JPEG:
            return _overheard(lambda: _by_gdcm(dataset, syntax, frame, coded.bits))
        if PLUGINS[syntax] == "gdcm":
            return _overheard(lambda: _by_pydicom(dataset, syntax))
        return Cells(_by_pydicom(dataset, syntax))

    return _or_error(decode, complete=codestream.ends_complete(frame))


def _or_error(decode: Callable[[], Cells], *, complete: bool) -> Cells:
    """The cells; whatever a codec raises on a damaged film is a sentence."""
    try:
        return decode()
    except (MemoryError, DicomError):
        raise
    except BaseException as error:
        # A panic of pylibjpeg's Rust codec is no Exception: one damaged film would end the whole run.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
    raise DicomError(
        f"the pixels are {'corrupt' if complete else 'cut short'}: copy or export the file again",
        reason="undecodable" if complete else "truncated",
    )


def _by_pydicom(dataset: Dataset, syntax: uid.UID) -> np.ndarray:
    """Frame 0, and none that is there beyond the one declared; unused bits are left to the caller."""
    decoder, plugin = get_decoder(syntax), PLUGINS.get(syntax, "")
    if plugin and plugin not in decoder.available_plugins:
        raise DicomError(f"the codec of {syntax.name} ({plugin}) can't be imported: install this package anew")
    options: dict[str, Any] = {"raw": True, "view_only": True, "correct_unused_bits": False}
    cells, _ = decoder.as_array(dataset, index=0, decoding_plugin=plugin, **options)
    return cells


def _by_gdcm(dataset: Dataset, syntax: uid.UID, frame: bytes, bits: int) -> np.ndarray:
    """JPEG Extended of 12 bits, which pydicom doesn't hand to gdcm although gdcm decodes it."""
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, dataset.PixelRepresentation))
    content = image.GetBuffer()
    content = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    return np.frombuffer(content, "<i2" if dataset.PixelRepresentation else "<u2").reshape(
        dataset.Rows, dataset.Columns
    )


def _overheard(decode: Callable[[], np.ndarray]) -> Cells:
    """Cells by gdcm, whose libjpeg writes its warnings to the standard error and nowhere else.

    One at a time, for the stream is the whole process's; gdcm holds Python's lock while it decodes anyway. What others write
    meanwhile is passed on.
    """
    with _stderr, tempfile.TemporaryFile() as heard:
        try:
            kept = os.dup(2)
        except OSError:  # the process has no standard error
            return Cells(decode())
        os.dup2(heard.fileno(), 2)
        try:
            cells = decode()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            heard.seek(0)
            lines = heard.read().splitlines(keepends=True)
            others = [line for line in lines if not (re.search(rb"JPEG|Huffman", line) or _GUESSED.search(line))]
            if others:
                os.write(2, b"".join(others))
    return Cells(cells, any(_GUESSED.search(line) for line in lines))
