"""The facts of a DICOM film that may be kept: coded tags reduced to known words, and identities only as keyed hashes.

A coded tag that holds something else than its vocabulary gives "OTHER" or None, never its text: people type names into
any field. Manufacturer and model are the only free text kept.

References:
    [1] DICOM PS3.3 C.7.1.1 patient, C.8.11 DX modules; PS3.16 CID 4010 DX View.
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol

from datasets.film.identity import keyed_hash
from datasets.film.radiograph import RadiographError

FACT_TAGS = (
    *("Modality", "ViewPosition", "ViewCodeSequence", "BodyPartExamined", "AnatomicRegionSequence", "Manufacturer"),
    *("ManufacturerModelName", "PresentationIntentType", "PatientAge", "PatientSex", "BurnedInAnnotation"),
    "LossyImageCompression",
)
IDENTITY_TAGS = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
    "institution": "InstitutionName",
    "station": "StationName",
    "accession": "AccessionNumber",
}
VIEWS = {
    **dict.fromkeys(("PA", "272479007", "R-10214", "R-40888"), "PA"),
    **dict.fromkeys(("AP", "399348003", "R-10206"), "AP"),
    **dict.fromkeys(("FRONTAL", "399033003", "R-10202"), "FRONTAL"),
    **dict.fromkeys(("LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT"), "LATERAL"),
    **dict.fromkeys(("399067008", "399173006", "399198007", "R-102CD", "R-10232", "R-10236"), "LATERAL"),
    **dict.fromkeys(("LLD", "RLD"), "DECUBITUS"),  # the patient lies on a side, the beam still goes front to back
}
"""ViewPosition terms and the SNOMED codes (CT and the older RT) of CID 4010, in one word each."""

CHEST = frozenset(["51185008", "T-D3000"])
"""The chest in the SNOMED codes of AnatomicRegionSequence; BodyPartExamined says it in letters, and often not alone."""

MODALITIES = frozenset(["CR", "CT", "DX", "IO", "MG", "MR", "NM", "OT", "PT", "PX", "RF", "RG", "SC", "US", "XA", "XC"])


class DicomError(RadiographError):
    """A DICOM file that can't be turned into a film. `reason`: not DICOM, no pixel data, truncated, undecodable."""


class DicomRefusedError(DicomError):
    """A sound file that isn't admitted. `reason`: modality, for processing, lateral view, view, body part,
    multi-frame, colour, DICOMDIR."""


class Tags(Protocol):
    """A data set, as far as facts need one."""

    def get(self, keyword: str, /) -> Any:
        """The value of a tag, None if it isn't there."""


def first(value: Any) -> Any:
    """The first of several values; None for an empty one."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        value = value[0] if value else None
    return None if value is None or value == "" else value


def code(tags: Tags, keyword: str) -> str:
    """A coded string in capitals, "" if it isn't there."""
    return str(first(tags.get(keyword)) or "").strip().upper()


def film_facts(tags: Tags) -> dict[str, object]:
    """What is known of a film besides its pixels.

    Returns:
        modality, view_position (PA, AP, FRONTAL, LATERAL, DECUBITUS, OTHER, UNKNOWN), body_part (CHEST, OTHER, UNKNOWN),
        manufacturer, model, presentation_intent, age_band, sex (M, F, O), burned_in and lossy; None if not stated.
    """
    modality, intent, sex = code(tags, "Modality"), code(tags, "PresentationIntentType"), code(tags, "PatientSex")
    return {
        "modality": modality if modality in MODALITIES else "OTHER" if modality else None,
        "view_position": _view(tags),
        "body_part": _body_part(tags),
        "manufacturer": _free_text(tags, "Manufacturer"),
        "model": _free_text(tags, "ManufacturerModelName"),
        "presentation_intent": intent if intent in ("FOR PRESENTATION", "FOR PROCESSING") else None,
        "age_band": age_band(code(tags, "PatientAge")),
        "sex": sex if sex in ("M", "F", "O") else None,
        "burned_in": {"YES": True, "NO": False}.get(code(tags, "BurnedInAnnotation")),
        "lossy": {"01": True, "00": False}.get(code(tags, "LossyImageCompression")),
    }


def hashed_identities(tags: Tags, key: bytes) -> dict[str, object]:
    """Keyed hashes of whom and what the film belongs to: `IDENTITY_TAGS`, None where the film doesn't say.

    The value is stripped of blanks and hashed as `datasets.film.identity.keyed_hash` hashes any text, so that a patient of a
    table and of a DICOM folder are one.
    """
    texts = {name: str(tags.get(keyword) or "").strip(" \0") for name, keyword in IDENTITY_TAGS.items()}
    return {name: keyed_hash(key, text) if text else None for name, text in texts.items()}


def age_band(age: str) -> str | None:
    """A decade ("40-49") from an AS value such as "045Y" or "018M"; one band from 90 on, None for anything else."""
    match = re.fullmatch(r"(\d{1,3})([YMWD])", age)
    if match is None:
        return None
    number, unit = int(match[1]), match[2]
    years = int(number / {"Y": 1, "M": 12, "W": 52.18, "D": 365.25}[unit])
    return "90+" if years >= 90 else f"{years // 10 * 10}-{years // 10 * 10 + 9}"


def _view(tags: Tags) -> str:
    """From ViewPosition or, where that is empty (it is optional in DX), from the coded view."""
    position = code(tags, "ViewPosition")
    if not position:
        item = first(tags.get("ViewCodeSequence"))
        position = code(item, "CodeValue") if item is not None else ""
    return VIEWS.get(position, "OTHER") if position else "UNKNOWN"


def _body_part(tags: Tags) -> str:
    """From BodyPartExamined or, where that is empty (it is optional in DX), from the coded region."""
    text = code(tags, "BodyPartExamined")
    if text:
        return "CHEST" if any(word in text for word in ("CHEST", "THORA", "LUNG")) else "OTHER"
    item = first(tags.get("AnatomicRegionSequence"))
    region = code(item, "CodeValue") if item is not None else ""
    return ("CHEST" if region in CHEST else "OTHER") if region else "UNKNOWN"


def _free_text(tags: Tags, keyword: str) -> str | None:
    """One line of the 64 characters that DICOM allows."""
    return " ".join(str(first(tags.get(keyword)) or "").split())[:64] or None
