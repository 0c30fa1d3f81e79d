"""What structured reports and secondary captures share: patient and study of the film, a new series, stable UIDs.

Both go back into the archive of the film, so they hold the patient's identity; no other output may. Messages quote no tag,
and original errors are dropped together with their context, because pydicom and highdicom quote the offending value.

References:
    [1] DICOM PS3.3 C.7.1.1 patient, C.7.2.1 general study, C.12.1 SOP common; PS3.5 B.2 UIDs of the 2.25 branch.
    [2] RFC 9562, 5.5: UUIDs made from a name.
"""

import io
import logging
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from datasets.files import write_aside
from datasets.film.radiograph import silenced

PRODUCT = "EnD-CXR"
RESEARCH_ONLY = "For research use only; not a medical device. Scores are model scores, not diagnoses."
RESEARCH_SERIES = "RESEARCH ONLY, not a medical device"  # a description of a series has 64 characters

SAME_PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
)
SAME_STUDY = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "PatientAge"),
)
OF_THE_FILM = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "PatientOrientation"),
    "BodyPartExamined",
    *("BurnedInAnnotation", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
VALID = {
    "PatientBirthDate": r"\d{8}|",
    "StudyDate": r"\d{8}|",
    "StudyTime": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?|",
    "PatientSex": "[MFO]|",
    "PatientAge": r"\d{3}[DWMY]",
    "InstanceNumber": r"\d{1,9}",
}
UID = re.compile(r"[0-9]+(\.[0-9]+)+")


class DicomReportError(ValueError):
    """A film from which no DICOM object can be made, or highdicom missing; the message quotes no value of a tag."""


@dataclass(frozen=True)
class ModelResult:
    """The result of one checkpoint for one film.

    Attributes:
        model: name of the backbone.
        score: calibrated probability of the positive class, in [0, 1].
        threshold: score from which a film counts as positive; None: the most probable class is predicted.
        checkpoint: SHA-256 of the checkpoint file in hex, or the beginning of it.
    """

    run: str
    model: str
    method: str
    score: float
    threshold: float | None
    prediction: str
    positive: str
    version: str
    checkpoint: str

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"score is {self.score}: a probability is needed")
        if not self.checkpoint:
            raise ValueError("checkpoint is empty: the UIDs of what is made of this result are derived from it")


def require_highdicom() -> None:
    """Check for highdicom, an extra of this package, before any film is read; raises DicomReportError without it."""
    if find_spec("highdicom") is None:
        raise DicomReportError("highdicom is needed to write DICOM objects: pip install 'end-cxr[reports]'")
    # Never switched on again: it logs values of tags, and other threads may still be inside.
    logging.getLogger("highdicom").setLevel(logging.CRITICAL + 1)


def write_derived(
    source: bytes, make: Callable[[Dataset, datetime], Dataset], path: Path, made: datetime | None = None
) -> Path:
    """Make an object from the tags of a film and write it, whole or not at all.

    Args:
        source: the bytes of the film, which `datasets.film.read.read_radiograph` has read before.
        make: from `film_header` and the time to an object of highdicom, with a file meta information.
        made: when, by the clock of the study; now by default. A resumed job that gives the same writes the same bytes.
    """
    require_highdicom()
    # To the second, like most clocks of modalities: fractions would only make the file look more exact than it is.
    moment = (made or datetime.now()).replace(microsecond=0)
    content = b""
    try:
        with silenced():
            dataset = make(film_header(source), moment)
            dataset.InstanceCreationDate = moment.strftime("%Y%m%d")
            dataset.InstanceCreationTime = moment.strftime("%H%M%S")
            for equipment in dataset.get("ContributingEquipmentSequence") or []:  # highdicom itself, at its own time
                equipment.ContributionDateTime = moment.strftime("%Y%m%d%H%M%S")
            buffer = io.BytesIO()
            dataset.save_as(buffer, enforce_file_format=True)
            content = buffer.getvalue()
    except DicomReportError:
        raise
    except Exception:  # with the values of tags in the text
        pass
    if not content:  # raised here and not above, where the original would stay reachable as its __context__
        raise DicomReportError(
            "the film's tags can't be carried over into a new DICOM object: check them, or leave it out"
        )
    write_aside(path, lambda file: file.write_bytes(content), mode=0o600)  # it holds the patient
    return path


def read_derived(path: Path) -> Dataset:
    """An object that `write_derived` wrote, whole."""
    return pydicom.dcmread(path)


def film_header(source: bytes) -> Dataset:
    """The tags of patient, study and film that a derived object may take over, in UTF-8.

    Missing ones of Type 2 are there and empty. Values against their representation (a sex in words, half a date) are left
    out, since an archive may refuse the object for them.

    Raises:
        DicomReportError: no data set, or one without the four UIDs that tie an object to it.
    """
    keywords = (*SAME_PATIENT, *SAME_STUDY, *OF_THE_FILM)
    parsed = pydicom.dcmread(io.BytesIO(source), force=True, stop_before_pixels=True, specific_tags=list(keywords))
    header = Dataset()
    for keyword in keywords:
        element = _readable(parsed, keyword)
        if element is not None:
            header.add(element)
    for keyword in TYPE_2:
        if keyword not in header:
            setattr(header, keyword, "")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        value = str(header.get(keyword) or "")
        if len(value) > 64 or not UID.fullmatch(value):
            raise DicomReportError(f"the film has no valid {keyword}, which a DICOM object that belongs to it needs")
    header.SpecificCharacterSet = "ISO_IR 192"
    return header


def _readable(parsed: Dataset, keyword: str) -> pydicom.DataElement | None:
    """An element decoded by its own character set; None where it is missing or not what its representation allows."""
    try:
        element = parsed[Tag(keyword)]
        part = Dataset()
        part.add(element)
        if "SpecificCharacterSet" in parsed:
            part.SpecificCharacterSet = parsed.SpecificCharacterSet
        part.decode()
        if keyword in VALID and not re.fullmatch(VALID[keyword], str(part[keyword].value or "").strip()):
            return None
        return part[keyword]
    except Exception:
        return None


def derived_uid(kind: str, header: Dataset, results: Sequence[ModelResult], *, of: str = "SOPInstanceUID") -> str:
    """A UID that is the same for the same film and checkpoints: a repeated job makes no second object.

    Args:
        kind: what the UID is of, "report" for example.
        of: the UID that it is derived from; that of the study for a series.
    """
    name = "|".join([PRODUCT, kind, str(header[of].value), *(result.checkpoint for result in results)])
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}"


def series(kind: str, header: Dataset, results: Sequence[ModelResult], number: int) -> dict[str, Any]:
    """What highdicom is to be told of an object's series, number and maker: one series for each study and set of models."""
    return {
        "series_instance_uid": derived_uid(f"{kind} series", header, results, of="StudyInstanceUID"),
        "series_number": number,
        "series_description": line(f"{PRODUCT}: {RESEARCH_SERIES}"),
        "sop_instance_uid": derived_uid(kind, header, results),
        # The film's own, so that all series have the same order.
        "instance_number": max(int(header.get("InstanceNumber") or 1), 1),
        "manufacturer": PRODUCT,
        "manufacturer_model_name": PRODUCT,
        "software_versions": line(results[0].version),
    }


def line(text: str, length: int = 64) -> str:
    """Text as a DICOM long string: one line, no backslash (it separates values), cut to `length`."""
    return " ".join(text.replace("\\", "/").split())[:length].strip() or "unnamed"
