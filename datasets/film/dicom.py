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
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue

from datasets.film import codecs, codestream
from datasets.film.facts import (
    FACT_TAGS,
    IDENTITY_TAGS,
    SLICE_TAGS,
    DicomError,
    DicomRefusedError,
    film_facts,
    first,
    grey_name,
    hashed_identities,
    may_be_radiograph,
    numbers,
)
from datasets.film.geometry import FRAME_GROUPS, pixel_aspect, with_frame_tags, with_square_pixels
from datasets.film.grey_arithmetic import (
    counted,
    histogram,
    inside_border,
    looked_up,
    looks_inverted,
    robust_scale,
    stored_offsets,
    unused_bits_below,
)
from datasets.film.greys import modality_values, padded_cells, padding_values, shows_bone_dark, voi_values
from datasets.film.picture import is_picture, sampled
from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.film.radiograph import (
    MAX_BYTES,
    Radiograph,
    RadiographError,
    check_size,
    naming_nobody,
    source_bytes,
)
from datasets.film.words import may_be_shown

HEADER_BYTES = 1 << 20
DEFLATED = uid.DeflatedExplicitVRLittleEndian
LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless)
MAYBE_LOSSY = (uid.JPEG2000, uid.HTJ2K)
CLEAR_TAGS = {
    "sop_instance_uid": "SOPInstanceUID",
    "study_instance_uid": "StudyInstanceUID",
    "accession_number": "AccessionNumber",
    "patient_id": "PatientID",
}
NEEDED_TAGS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
PIXEL_TAGS = (
    *("SOPClassUID", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", *NEEDED_TAGS, "HighBit"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape"),
    *("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio", *SLICE_TAGS, *FRAME_GROUPS),
    "PixelData",
)
UNKNOWN_TEXTS, NOT_SHOWN = ("view_text", "body_part_text"), "(not shown)"
NAMING_TAGS = frozenset(
    [
        *("PatientID", "OtherPatientIDs", "AccessionNumber", "AdmissionID", "StudyID", "IssuerOfPatientID"),
        *("InstitutionName", "InstitutionalDepartmentName", "StationName", "PatientAddress", "PatientTelephoneNumbers"),
        *("PatientComments", "AdditionalPatientHistory", "EthnicGroup", "Occupation", "RequestingService"),
    ]
)
"""What names someone besides all names of persons: compared with a text that isn't understood, and never kept."""


def read_dicom(source: Path | bytes, policy: DicomPolicy = DEFAULT, *, key: bytes | None = None) -> Radiograph:
    """Read one single-frame grey film.

    Args:
        source: with or without the 128 + 4 bytes in front.
        key: of `datasets.film.identity.hash_key`. Without it the tags that identify aren't even parsed, except where a text
            on view or body part isn't understood: it is compared with the film's names, which are then forgotten.

    Returns:
        The film: rows x columns as stored, padding 0. Its facts are those of `film_facts`, with a key those of
        `hashed_identities`, and format, syntax, photometric, bits, bits_allocated, signed, padding, modality_lut (lut,
        rescale, none), voi (lut, a window function, none), voi_fallback, scale, inverted, looks_inverted, damaged and
        corrected (what the data decided against a tag, None for nothing).

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
        _complete(dataset)
        return _offsets(dataset, syntax, codecs.decoded(dataset, syntax).values)[0]


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


def read_header(file: Path, policy: DicomPolicy = DEFAULT) -> tuple[dict[str, object], str]:
    """The facts of `film_facts`, rows and columns, and the PatientID in clear, from the first mebibyte: for public data sets.

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
        tags = [*FACT_TAGS, "Rows", "Columns", "PatientID"]
        dataset = pydicom.dcmread(io.BytesIO(head), stop_before_pixels=True, specific_tags=tags)
        size = {"rows": first(dataset.get("Rows")), "columns": first(dataset.get("Columns"))}
        return _facts(dataset, head, policy) | size, str(dataset.get("PatientID") or "").strip(" \0")


def read_facts(source: Path | bytes, policy: DicomPolicy = DEFAULT, *, key: bytes) -> dict[str, object]:
    """What `read_dicom` tells of a film before its picture is decoded, which it isn't here, with its rows and columns.

    Raises:
        DicomRefusedError, DicomError, RadiographError: as `read_dicom`, but for what only the picture tells.
    """
    data = source_bytes(source)
    with naming_nobody(_damaged):
        dataset, _ = _parse(data, key)
        facts = _facts(dataset, data, policy)
        _admit(dataset, facts, policy)
        _complete(dataset)
        return facts | {"rows": dataset.Rows, "columns": dataset.Columns} | hashed_identities(dataset, key)


def _damaged(_: Exception) -> DicomError:
    return DicomError("a tag or table of the file is damaged: export it again")


def _read(data: bytes, policy: DicomPolicy, key: bytes | None) -> Radiograph:
    """Parse, admit, decode, look up."""
    dataset, syntax = _parse(data, key)
    facts = _facts(dataset, data, policy)
    _admit(dataset, facts, policy)
    _complete(dataset)
    decoded = codecs.decoded(dataset, syntax)
    if decoded.damaged and not policy.accept_damaged:
        raise DicomError(
            "a part of the picture is missing and the codec guessed it: copy the file again", reason="damaged"
        )
    del dataset.PixelData  # room for the film
    bits, signed = dataset.BitsStored, dataset.PixelRepresentation == 1
    offsets, moved = _offsets(dataset, syntax, decoded.values)
    outside, damaged = padded_cells(dataset, decoded.values, bits, signed=signed), decoded.damaged
    del decoded  # room for the film
    lowest = -(2 ** (bits - 1)) if signed else 0
    stored = np.arange(lowest, lowest + 2**bits, dtype=np.float64)
    padding = padding_values(dataset, stored) if outside is None else np.zeros(len(stored), bool)
    sample = sampled(offsets) if outside is None else sampled(offsets)[~sampled(outside)][None]
    counts = counted(sample, len(stored))
    unpadded = np.where(padding, 0, counts)
    if not is_picture(unpadded):
        raise DicomRefusedError("the film is empty: its pixels have next to no different greys", reason="no picture")
    modality = modality_values(dataset, stored, little_endian=syntax.is_little_endian)
    voi = voi_values(dataset, modality.values, unpadded, policy.voi, little_endian=syntax.is_little_endian)
    inverted = shows_bone_dark(dataset)
    values = 1 - voi.values if inverted else voi.values
    if voi.how == "none":
        inside = inside_border(offsets) if outside is None else offsets[~outside][None]
        values = robust_scale(values, np.where(padding, 0, counted(inside, len(values))))
    values[padding] = 0
    greys = values.astype(np.float32)
    pixels = looked_up(greys, offsets)
    if outside is not None:
        pixels[outside] = 0
    aspect = pixel_aspect(dataset)
    if aspect != 1:
        pixels = with_square_pixels(pixels, aspect)
    seen = histogram(greys, offsets, counts) if outside is None and aspect == 1 else None

    corrections = {
        "high bit": moved,
        "padding": outside is not None,
        "modality LUT": modality.fallback,
        "VOI LUT bits": voi.corrected,
        "pixel aspect": aspect != 1,
    }
    facts |= {
        "format": "DICOM",
        "syntax": syntax.name,
        "photometric": dataset.PhotometricInterpretation,
        "bits": bits,
        "bits_allocated": dataset.BitsAllocated,
        "signed": signed,
        "padding": bool(padding.any()) or outside is not None,
        "lossy": True if syntax in LOSSY else facts["lossy"],
        "modality_lut": modality.how,
        "voi": voi.how,
        "voi_fallback": voi.fallback,
        "scale": "percentiles 0.5-99.5" if voi.how == "none" else "VOI range",
        "inverted": inverted,
        "looks_inverted": looks_inverted(pixels),
        "damaged": damaged,
        "corrected": ", ".join(name for name, done in corrections.items() if done) or None,
    }
    return Radiograph(pixels, facts | (hashed_identities(dataset, key) if key is not None else {}), seen)


def _facts(dataset: Dataset, data: bytes, policy: DicomPolicy) -> dict[str, object]:
    """The facts; only where a text isn't understood are names parsed, to be compared with it."""
    facts = film_facts(dataset, policy)
    if not any(facts[name] for name in UNKNOWN_TEXTS):
        return facts
    unknown = [name for name in UNKNOWN_TEXTS if facts[name]]
    try:
        names = list(_names(pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=True)))
    except Exception:  # a damaged name can't be compared
        return facts | dict.fromkeys(unknown, NOT_SHOWN)
    return facts | {name: NOT_SHOWN for name in unknown if not may_be_shown(str(facts[name]), names)}


def _names(dataset: Dataset) -> Iterator[str]:
    """Whom a header names, in its sequences too; persons also as their bytes read where no character set holds."""
    for element in dataset.iterall():
        if element.VR == "PN" or element.keyword in NAMING_TAGS:
            values = element.value if isinstance(element.value, MultiValue) else [element.value]
            for value in values:
                yield str(value or "")
                raw = getattr(value, "original_string", b"")
                yield raw.decode("latin-1") if isinstance(raw, bytes) else str(raw)


def _offsets(dataset: Dataset, syntax: uid.UID, cells: np.ndarray) -> tuple[np.ndarray, bool]:
    """Stored values, counted from the smallest possible one, and whether the cells contradict HighBit."""
    bits, signed = dataset.BitsStored, dataset.PixelRepresentation == 1
    numeric = syntax in (*LOSSY, *MAYBE_LOSSY)
    shift = stated = 0
    if syntax in (*codecs.NATIVE, uid.RLELossless):  # the high bit of a coded picture says nothing
        high_bit = first(dataset.get("HighBit"))
        stated = min(max(0 if high_bit is None else int(high_bit) + 1 - bits, 0), dataset.BitsAllocated - bits)
        shift = unused_bits_below(cells, bits, stated, signed=signed)
    return stored_offsets(cells, bits, signed=signed, shift=shift, numeric=numeric), shift != stated


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
        # De-identifiers may drop the class: then a grey picture of a stated size does.
        is_dicom = (
            has_prefix
            or str(dataset.get("SOPClassUID")).startswith("1.2.840.10008.")
            or (grey_name(dataset).startswith("MONOCHROME") and "Rows" in dataset and "PixelData" in dataset)
        )
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
    with_frame_tags(dataset)
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
    """Refuse by the tags alone, before any pixel is decoded, what states that it is something else."""
    if facts["modality"] not in policy.modalities:
        raise DicomRefusedError(
            f"the modality is {facts['modality']}, not one of {', '.join(policy.modalities)}", reason="modality"
        )
    if facts["presentation_intent"] == "FOR PROCESSING" and not policy.for_processing:
        raise DicomRefusedError(
            "the pixels are the detector's own (FOR PROCESSING): send the FOR PRESENTATION film",
            reason="for processing",
        )
    if facts["view_position"] not in policy.views:
        lateral = facts["view_position"] == "LATERAL"
        raise DicomRefusedError(
            f"the view is {facts['view_position']}, not one of {', '.join(policy.views)}",
            reason="lateral view" if lateral else "view",
        )
    if facts["body_part"] not in policy.body_parts:
        raise DicomRefusedError("the film isn't of the chest", reason="body part")
    if (next(iter(numbers(dataset, "NumberOfFrames")), None) or 1) > 1:
        raise DicomRefusedError("the file holds several frames: one film a file", reason="multi-frame")
    photometric = grey_name(dataset)
    if not photometric:
        raise DicomError("whether 0 is black or white isn't stated: PhotometricInterpretation is needed")
    if int(first(dataset.get("SamplesPerPixel")) or 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise DicomRefusedError("the film is in colour: MONOCHROME1 or MONOCHROME2 is needed", reason="colour")
    if facts["modality"] == "UNKNOWN" and not may_be_radiograph(dataset):
        raise DicomRefusedError("no modality is stated, and the pixels are those of CT or MR", reason="modality")


def _complete(dataset: Dataset) -> None:
    """Give the decoder the tags of a grey picture as they were understood; DicomError where one can't be."""
    if missing := [keyword for keyword in NEEDED_TAGS if first(dataset.get(keyword)) is None]:
        raise DicomError(f"the film doesn't state its {', '.join(missing)}: export it again")
    for keyword in NEEDED_TAGS:
        setattr(dataset, keyword, int(first(dataset.get(keyword))))
    dataset.SamplesPerPixel, dataset.NumberOfFrames, dataset.PhotometricInterpretation = 1, 1, grey_name(dataset)
    check_size(dataset.Rows, dataset.Columns)
    if dataset.BitsAllocated not in (8, 16) or not 1 <= dataset.BitsStored <= dataset.BitsAllocated:
        raise DicomError("the film must have 8 or 16 bits allocated and no more stored")
