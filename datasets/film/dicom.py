"""A DICOM film, from a file to pixels in [0, 1] with bone bright, and the few facts that may be kept of it.

The steps are those of the standard's grayscale transformations, each recorded in the facts: bits above BitsStored
masked, padding marked, Modality LUT or rescale, VOI LUT or window, one inversion, scale to [0, 1]. They are worked out
once for every value that can be stored, so that the film itself is only looked up.

Only an allow-list of tags is parsed, and no other reaches a fact, an error or a warning. The originals of errors are
dropped, context and all, because pydicom quotes the value that it stumbled over.

References:
    [1] DICOM PS3.3 C.7.5.1.1.2 pixel padding, C.7.6.3 image pixel, C.11.1 Modality LUT, C.11.2 VOI LUT, C.11.6
        softcopy presentation LUT. PS3.5 8.1.1 stored bits.
"""

import io
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels import get_decoder

from datasets.film import codestream
from datasets.film.facts import (
    FACT_TAGS,
    IDENTITY_TAGS,
    DicomError,
    DicomRefusedError,
    code,
    film_facts,
    first,
    hashed_identities,
)
from datasets.film.grey_arithmetic import (
    counted,
    inside_border,
    looked_up,
    looks_inverted,
    robust_scale,
    stored_offsets,
)
from datasets.film.greys import modality_values, padding_values, shows_bone_dark, voi_values
from datasets.film.policy import DEFAULT, DicomPolicy, Voi
from datasets.film.radiograph import MAX_BYTES, Radiograph, RadiographError, check_size, naming_nobody, source_bytes

PLUGINS = {
    uid.RLELossless: "pylibjpeg",
    **dict.fromkeys((uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit), "pillow"),
    **dict.fromkeys((uid.JPEGLossless, uid.JPEGLosslessSV1), "gdcm"),
    **dict.fromkeys((uid.JPEGLSLossless, uid.JPEGLSNearLossless), "pyjpegls"),
    **dict.fromkeys((uid.JPEG2000Lossless, uid.JPEG2000), "pylibjpeg"),
    **dict.fromkeys((uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K), "pylibjpeg"),
}
"""The fastest codec of each compressed syntax: pydicom would take gdcm for JPEG-LS, at twice the time."""

HEADER_BYTES = 1 << 20
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
DEFLATED = uid.DeflatedExplicitVRLittleEndian
JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless)
MAYBE_LOSSY = (uid.JPEG2000, uid.HTJ2K)
CLEAR_TAGS = {
    "sop_instance_uid": "SOPInstanceUID",
    "study_instance_uid": "StudyInstanceUID",
    "accession_number": "AccessionNumber",
    "patient_id": "PatientID",
}
PIXEL_TAGS = (
    *("SOPClassUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape"),
)


def read_dicom(source: Path | bytes, policy: DicomPolicy = DEFAULT, *, key: bytes | None = None) -> Radiograph:
    """Read one single-frame grey film.

    Args:
        source: with or without the 128 + 4 bytes in front.
        key: of `datasets.film.identity.hash_key`. Without it the tags that identify aren't even parsed.

    Returns:
        The film: rows x columns as stored, padding 0. Its facts are those of `film_facts`, with a key those of
        `hashed_identities`, and format, syntax, photometric, bits, bits_allocated, signed, padding, modality_lut (lut,
        rescale, none), voi (lut, a window function, none), voi_fallback, scale, inverted and looks_inverted.

    Raises:
        DicomRefusedError: the policy doesn't admit it.
        DicomError: it can't be read.
        RadiographError: it can't be opened, or is too large.
    """
    data = source_bytes(source)
    with naming_nobody(_damaged):
        return _read(data, policy, key)


def stored_values(source: Path | bytes) -> np.ndarray:
    """Parse and decode alone: stored values counted from the smallest possible one; RadiographError if that fails."""
    with naming_nobody(_damaged):
        dataset, syntax = _parse(source_bytes(source), None)
        return _decode(dataset, syntax, int(dataset.BitsStored), dataset.PixelRepresentation == 1)


def read_identities(source: Path | bytes) -> dict[str, str]:
    """Read what identifies a film, in clear: for a hospital's own join alone, never for a table, a log or a report.

    Returns:
        The names of `CLEAR_TAGS`; "" where the film doesn't say.

    Raises:
        RadiographError: it can't be read.
    """
    data = source_bytes(source)
    with naming_nobody(_damaged):
        dataset, _ = _parse(data, b"", pixels=False)  # any key makes the tags that identify be parsed
        return {name: str(dataset.get(keyword) or "").strip(" \0") for name, keyword in CLEAR_TAGS.items()}


def read_header(file: Path) -> tuple[dict[str, object], str]:
    """The facts of `film_facts` and the PatientID, in clear, from the first mebibyte of a file: for public data sets alone.

    Raises:
        RadiographError: it can't be opened, or is no DICOM data set.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(HEADER_BYTES)
    except OSError as error:
        raise RadiographError(f"the file can't be opened: {error.strerror}", reason="unreadable") from None
    with naming_nobody(_damaged):
        if head[128:132] != b"DICM":
            raise DicomError("the content is no DICOM data set", reason="not DICOM")
        _check_deflated(head, 132)
        dataset = pydicom.dcmread(io.BytesIO(head), stop_before_pixels=True, specific_tags=[*FACT_TAGS, "PatientID"])
        return film_facts(dataset), str(dataset.get("PatientID") or "").strip(" \0")


def _damaged(_: Exception) -> DicomError:
    return DicomError("a tag or table of the file is damaged: export it again")


def _read(data: bytes, policy: DicomPolicy, key: bytes | None) -> Radiograph:
    """Parse, admit, decode, look up."""
    dataset, syntax = _parse(data, key)
    facts = film_facts(dataset)
    _admit(dataset, facts, policy)
    photometric = code(dataset, "PhotometricInterpretation")
    bits, signed = int(dataset.BitsStored), dataset.PixelRepresentation == 1
    offsets = _decode(dataset, syntax, bits, signed)
    del dataset.PixelData  # room for the film
    lowest = -(2 ** (bits - 1)) if signed else 0
    stored = np.arange(lowest, lowest + 2**bits, dtype=np.float64)
    padding = padding_values(dataset, stored)
    values, modality_lut = modality_values(dataset, stored, little_endian=syntax.is_little_endian)
    values, voi = voi_values(dataset, values, policy.voi, little_endian=syntax.is_little_endian)
    inverted = shows_bone_dark(dataset)
    if inverted:
        values = 1 - values
    if voi == "none":
        counts = counted(inside_border(offsets), len(values))
        values = robust_scale(values, np.where(padding, 0, counts))
    values[padding] = 0
    pixels = looked_up(values.astype(np.float32), offsets)

    facts |= {
        "format": "DICOM",
        "syntax": syntax.name,
        "photometric": photometric,
        "bits": bits,
        "bits_allocated": int(dataset.BitsAllocated),
        "signed": signed,
        "padding": bool(padding.any()),
        "lossy": True if syntax in LOSSY else facts["lossy"],
        "modality_lut": modality_lut,
        "voi": voi,
        "voi_fallback": policy.voi != (voi if voi in get_args(Voi) else "window"),
        "scale": "percentiles 0.5-99.5" if voi == "none" else "VOI range",
        "inverted": inverted,
        "looks_inverted": looks_inverted(pixels),
    }
    return Radiograph(pixels, facts | (hashed_identities(dataset, key) if key is not None else {}))


def _parse(data: bytes, key: bytes | None, *, pixels: bool = True) -> tuple[Dataset, uid.UID]:
    """The allowed tags, with a key those that identify, and how the pixels are encoded."""
    has_prefix = data[128:132] == b"DICM"
    if has_prefix or data.startswith(b"\2\0"):
        _check_deflated(data, 132 if has_prefix else 0)
    tags = [*(PIXEL_TAGS if pixels else ("SOPClassUID", "PixelData")), *FACT_TAGS]
    tags += IDENTITY_TAGS.values() if key is not None else ()
    dataset = Dataset()
    failed = False
    try:
        dataset = parsed = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=list(tags))
        parsed.buffer = None  # for deferred reading, which isn't used: it would hold all that was inflated
        # Without the prefix anything parses somehow: a registered class of object is what tells a data set.
        is_dicom = has_prefix or str(dataset.get("SOPClassUID")).startswith("1.2.840.10008.")
    except Exception:
        is_dicom, failed = has_prefix, True
    if not is_dicom:
        raise DicomError("the content is no DICOM data set", reason="not DICOM")
    if failed:
        raise DicomError("the data set can't be parsed: export the file again")
    if dataset.file_meta.get("MediaStorageSOPClassUID") == uid.MediaStorageDirectoryStorage:
        raise DicomRefusedError("the file is the index of a disc: its films are files of their own", reason="DICOMDIR")
    if not dataset:  # pydicom gives up the whole data set where compressed pixels have no end
        raise DicomError("the DICOM file ends too early: copy it again", reason="truncated")
    if not dataset.get("PixelData"):
        raise DicomError(
            "the DICOM file has no pixels (or ends before them): an image is needed", reason="no pixel data"
        )
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        implicit, little = dataset.original_encoding
        syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        syntax = syntax if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset, syntax


def _check_deflated(data: bytes, start: int) -> None:
    """Refuse a deflate bomb: pydicom inflates the data set without a bound, file meta information at its start or not."""
    file = io.BytesIO(data)
    file.seek(start)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    deflated = meta.get("TransferSyntaxUID") == DEFLATED
    if deflated and not codestream.inflates_within(data[file.tell() :], MAX_BYTES):
        raise DicomError(f"the deflated data set is damaged, or larger than the {MAX_BYTES} bytes allowed")


def _admit(dataset: Dataset, facts: dict[str, object], policy: DicomPolicy) -> None:
    """Refuse by the tags alone, before any pixel is decoded."""
    if facts["modality"] not in policy.modalities:
        raise DicomRefusedError(f"the modality isn't one of {', '.join(policy.modalities)}", reason="modality")
    if facts["presentation_intent"] == "FOR PROCESSING" and not policy.for_processing:
        raise DicomRefusedError(
            "the pixels are the detector's own (FOR PROCESSING): send the FOR PRESENTATION film",
            reason="for processing",
        )
    if facts["view_position"] not in policy.views:
        lateral = facts["view_position"] == "LATERAL"
        raise DicomRefusedError(
            f"the view isn't one of {', '.join(policy.views)}", reason="lateral view" if lateral else "view"
        )
    if facts["body_part"] not in policy.body_parts:
        raise DicomRefusedError("the film isn't of the chest", reason="body part")
    if int(first(dataset.get("NumberOfFrames")) or 1) > 1:
        raise DicomRefusedError("the file holds several frames: one film a file", reason="multi-frame")
    photometric = code(dataset, "PhotometricInterpretation")
    if not photometric:
        raise DicomError("whether 0 is black or white isn't stated: PhotometricInterpretation is needed")
    if int(first(dataset.get("SamplesPerPixel")) or 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise DicomRefusedError("the film is in colour: MONOCHROME1 or MONOCHROME2 is needed", reason="colour")
    needed = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
    if missing := [keyword for keyword in needed if first(dataset.get(keyword)) is None]:
        raise DicomError(f"the film doesn't state its {', '.join(missing)}: export it again")
    check_size(int(dataset.Rows), int(dataset.Columns))
    if dataset.BitsAllocated not in (8, 16) or not 1 <= dataset.BitsStored <= dataset.BitsAllocated:
        raise DicomError("the film must have 8 or 16 bits allocated and no more stored")


def _decode(dataset: Dataset, syntax: uid.UID, bits: int, signed: bool) -> np.ndarray:
    """Stored values, counted from the smallest possible one."""
    native = syntax in (*NATIVE, DEFLATED)
    complete = True
    if native:
        if dataset["PixelData"].is_undefined_length:
            raise DicomError("the pixels are compressed, but the transfer syntax says that they aren't")
        if len(dataset.PixelData) < int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8:
            raise DicomError("the pixels end too early: copy the file again", reason="truncated")
    elif syntax not in PLUGINS:
        raise DicomError("the transfer syntax isn't one that can be decoded: convert the file to a lossless one")
    elif syntax == uid.RLELossless:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        pixels = int(dataset.Rows) * int(dataset.Columns)
        if not codestream.rle_is_sound(frame, int(dataset.BitsAllocated) // 8, pixels):
            raise DicomError("the RLE segments aren't those of a picture of the size and bits that the tags declare")
    else:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        complete = codestream.ends_complete(frame)
        if syntax == uid.JPEGExtended12Bit and bits > 8:
            raise DicomError(
                "12-bit JPEG Extended can't be decoded without GPL code (pylibjpeg-libjpeg), which is left out on "
                "purpose: convert the file to a lossless syntax"
            )
        coded = codestream.coded_shape(frame)
        if coded is None or coded[:3] != (dataset.Rows, dataset.Columns, 1) or coded.bits > dataset.BitsAllocated:
            raise DicomError("the compressed picture isn't of the size and bits that the tags declare")
        if syntax in JPEG_LS and not codestream.scan_ends(frame):
            raise DicomError("the pixels are cut short: copy or export the file again", reason="truncated")
        if not codestream.has_bounded_parts(frame):
            raise DicomError("the compressed picture declares more tiles, blocks, layers or scans than a film has")
    decoder = get_decoder(syntax)
    if not native and PLUGINS[syntax] not in decoder.available_plugins:
        raise DicomError(f"the codec of {syntax.name} ({PLUGINS[syntax]}) can't be imported: install this package anew")
    # The unused bits are left to `stored_offsets`, which also knows those below.
    options: dict[str, Any] = {"raw": True, "view_only": True, "correct_unused_bits": False}
    try:
        # Frame 0, and none that is there beyond the one declared.
        cells, _ = decoder.as_array(dataset, index=0, decoding_plugin=PLUGINS.get(syntax, ""), **options)
    except MemoryError:
        raise
    except BaseException as error:
        # A panic of pylibjpeg's Rust codec is no Exception: one damaged film would end the whole run.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        cells = None
    if cells is None:
        raise DicomError(
            f"the pixels are {'corrupt' if complete else 'cut short'}: copy or export the file again",
            reason="undecodable" if complete else "truncated",
        )
    high_bit = first(dataset.get("HighBit"))
    shift = int(high_bit) + 1 - bits if high_bit is not None and (native or syntax == uid.RLELossless) else 0
    shift = min(max(shift, 0), int(dataset.BitsAllocated) - bits)
    return stored_offsets(cells, bits, signed=signed, shift=shift, numeric=syntax in (*LOSSY, *MAYBE_LOSSY))
