"""The scores of a film as a DICOM structured report (TID 1500) that an archive files beside it.

One measurement group a model. The score has a private code: the standard's Probability would be read as one of disease,
and a class of a checkpoint as a finding, which is why there is no finding in it either. Unverified and preliminary always.

References:
    [1] DICOM PS3.16 TID 1500 measurement report, TID 1501 measurement group, TID 4019 algorithm identification.
    [2] DICOM PS3.3 A.35.3 Comprehensive SR; PS3.16 8.2: designators that begin with 99 are private.
"""

import hashlib
import re
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from training.folder.dicom_derived import (
    PRODUCT,
    RESEARCH_ONLY,
    DicomReportError,
    ModelResult,
    derived_uid,
    line,
    series,
    write_derived,
)

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept, MeasurementReport, MeasurementsAndQualitativeEvaluations
    from pydicom.dataset import Dataset

__all__ = ["DicomReportError", "ModelResult", "write_structured_report"]

SCHEME = "99ENDCXR"
SERIES_NUMBER = 9901  # far from those of the modality and of the secondary captures
DEVICE_UID = f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, PRODUCT).int}"


def write_structured_report(
    source: bytes, results: Sequence[ModelResult], folder: Path, name: str, *, made: datetime | None = None
) -> Path:
    """Write what the models say of one film into `folder/name.dcm`.

    The report is in the film's study, in one series for each study and set of models. Its UIDs follow from the film's and
    from the checkpoints.

    Args:
        source: the bytes of the film, a DICOM file that `read_radiograph` has read before.
        results: one or more, in the order in which they are to be shown.
        folder: exists.
        name: of the file, without suffix; it must not identify anyone (a keyed hash).

    Raises:
        DicomReportError: the film can't carry a report, or highdicom is missing.
        ValueError: no result.
    """
    if not results:
        raise ValueError("a report needs the result of one model or more")
    return write_derived(source, lambda header, moment: _report(header, results, moment), folder / f"{name}.dcm", made)


def _report(header: "Dataset", results: Sequence[ModelResult], moment: datetime) -> "Dataset":
    """The data set of the report."""
    # Imported here, because highdicom is an extra.
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import ComprehensiveSR

    scheme = CodingSchemeIdentificationItem(SCHEME, name=f"{PRODUCT} concepts", responsible_organization=PRODUCT)
    return ComprehensiveSR(
        evidence=[header],
        content=_content(header, results)[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[scheme],
        content_date=moment.date(),
        content_time=moment.time(),
        **series("report", header, results, SERIES_NUMBER),
    )


def _content(header: "Dataset", results: Sequence[ModelResult]) -> "MeasurementReport":
    """The tree, TID 1500."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    maker = sr.DeviceObserverIdentifyingAttributes(DEVICE_UID, PRODUCT, manufacturer_name=PRODUCT, model_name=PRODUCT)
    device = sr.ObserverContext(codes.DCM.Device, maker)
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=sr.CodedConcept("399208008", "SCT", "Plain X-ray of chest"),
        imaging_measurements=[_group(header, result) for result in results],
    )
    # The template may be extended, and its only place for free text is below each measurement.
    root = report[0].ContentSequence
    comment = sr.TextContentItem(codes.DCM.Comment, RESEARCH_ONLY, sr.RelationshipTypeValues.CONTAINS)
    root.insert(len(root) - 1, comment)
    return report


def _group(header: "Dataset", result: ModelResult) -> "MeasurementsAndQualitativeEvaluations":
    """One model, TID 1501."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    parameters = [
        f"run {result.run}",
        f"backbone {result.model}",
        f"method {result.method}",
        f"checkpoint SHA-256 {result.checkpoint}",
        f"positive class {result.positive}",
        "no threshold: the most probable class" if result.threshold is None else f"threshold {result.threshold:.6g}",
    ]
    measured = {"model-score": ("Model score of the positive class", result.score)}
    if result.threshold is not None:
        measured["threshold"] = ("Threshold on the model score", result.threshold)
    evaluated = {
        "positive-class": ("Positive class of the model", result.positive),
        "predicted-class": ("Class predicted by the model", result.prediction),
    }
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=derived_uid("group", header, [result]), identifier=line(f"{PRODUCT} {result.run}")
        ),
        algorithm_id=sr.AlgorithmIdentification(
            name=f"{PRODUCT} {result.model} ({result.method})",
            version=result.version,
            manufacturer=PRODUCT,
            parameters=parameters,
        ),
        measurements=[
            sr.Measurement(sr.CodedConcept(code, SCHEME, meaning), float(value), codes.UCUM.NoUnits)
            for code, (meaning, value) in measured.items()
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(sr.CodedConcept(code, SCHEME, meaning), _class(name))
            for code, (meaning, name) in evaluated.items()
        ],
        source_images=[sr.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
    )


def _class(name: str) -> "CodedConcept":
    """A class as a code: its name, or a hash where that doesn't fit the 16 characters of a code."""
    from highdicom.sr import CodedConcept

    fits = re.fullmatch(r"[\w.-]{1,16}", name, re.ASCII)
    return CodedConcept(name if fits else hashlib.sha256(name.encode()).hexdigest()[:16], SCHEME, line(name))
