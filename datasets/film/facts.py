"""The facts of a DICOM film that may be kept: coded tags reduced to known words, and identities only as keyed hashes.

A coded tag that holds something else than its vocabulary says nothing: people type names into any field, and a film whose
words we don't know is no film of something else. Its text is kept only where
`datasets.film.words.may_be_shown` says so.
Manufacturer and model are the only free text kept.

References:
    [1] DICOM PS3.3 C.7.1.1 patient, C.7.6.1.1.1 patient orientation, C.8.11 DX modules; PS3.16 CID 4010 DX View, CID 4031
        Common Anatomic Regions.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from datasets.film.codes import listed_meaning
from datasets.film.identity import keyed_hash
from datasets.film.policy import DEFAULT, MODALITIES, DicomPolicy
from datasets.film.radiograph import RadiographError
from datasets.film.words import body_part_of, says_nothing, view_of
from datasets.spelling import number_key, spelling_key

FACT_TAGS = (
    *("SOPClassUID", "Modality", "ViewPosition", "ViewCodeSequence", "BodyPartExamined", "AnatomicRegionSequence"),
    *(
        "PatientOrientation",
        "Manufacturer",
        "ManufacturerModelName",
        "PresentationIntentType",
        "PatientAge",
        "PatientSex",
    ),
    *("BurnedInAnnotation", "LossyImageCompression"),
)
SLICE_TAGS = ("SliceThickness", "ImagePositionPatient", "ImageOrientationPatient")
IDENTITY_TAGS = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
    "institution": "InstitutionName",
    "station": "StationName",
    "accession": "AccessionNumber",
}
VIEW_CODES = {
    **dict.fromkeys(("272479007", "R-10214", "R-40888"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399033003", "R-10202"), "FRONTAL"),
    **dict.fromkeys(("399067008", "399173006", "399198007", "R-102CD", "R-10232", "R-10236"), "LATERAL"),
}
"""Views of a chest by their SNOMED codes of CID 4010 (CT and the older RT); others are looked up in the whole list."""

CHEST_CODES = frozenset(["51185008", "816094009", "39607008", "302551006", "43799004", "T-D3000", "T-28000"])
"""The chest in SNOMED codes of AnatomicRegionSequence; others are looked up in CID 4031."""

_INSIDE_CHEST = ("Bronchus", "Trachea")
_NO_PART = ("Entire body", "Phantom")

_FILM_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "CR",
    "1.2.840.10008.5.1.4.1.1.1.1": "DX",
    "1.2.840.10008.5.1.4.1.1.1.1.1": "DX",
    "1.2.840.10008.5.1.4.1.1.1.2": "MG",
    "1.2.840.10008.5.1.4.1.1.1.2.1": "MG",
    "1.2.840.10008.5.1.4.1.1.1.3": "IO",
    "1.2.840.10008.5.1.4.1.1.1.3.1": "IO",
}
"""What the class of an object says of its modality (PS3.6 A)."""

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # converted films too
_FOR_PROCESSING = tuple(f"1.2.840.10008.5.1.4.1.1.1.{kind}.1" for kind in (1, 2, 3))
_OLDEST = 120  # years; 411Y is a mistyped year, 000Y what de-identifiers write


class DicomError(RadiographError):
    """A DICOM file that can't be turned into a film. `reason`: not DICOM, no pixel data, truncated, undecodable, damaged."""


class DicomRefusedError(DicomError):
    """A sound file that isn't admitted. `reason`: modality, for processing, lateral view, view, body part,
    multi-frame, colour, no picture, DICOMDIR."""


class Tags(Protocol):
    """A data set, as far as facts need one."""

    def get(self, keyword: str, /) -> Any:
        """The value of a tag, None if it isn't there."""


class Stated(NamedTuple):
    """What the tags on one question say.

    Attributes:
        word: of the question's vocabulary; UNKNOWN where nothing is stated that is understood.
        text: the first text that isn't understood, empty where all are.
        contradictory: tags say different things.
    """

    word: str
    text: str = ""
    contradictory: bool = False


def first(value: Any) -> Any:
    """The first of several values; None for an empty one."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        value = value[0] if value else None
    return None if value is None or value == "" else value


def code(tags: Tags, keyword: str) -> str:
    """A coded string in capitals, "" if it isn't there."""
    return str(first(tags.get(keyword)) or "").strip(" \0").upper()


def numbers(tags: Tags, keyword: str) -> list[float | None]:
    """The values of a decimal tag, with None for each that is no finite number; a decimal comma is one.

    The bytes of the file are read, not pydicom's number: pydicom raises on "2048,0", which some consoles write.
    """
    raw = getattr(tags, "get_item", tags.get)(keyword)
    value = getattr(raw, "value", raw)
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        value = value.split("\\")
    if value is None:
        return []
    return [_number(part) for part in (value if isinstance(value, Sequence) else [value])]


def _number(part: Any) -> float | None:
    try:
        number = float(str(part).strip(" \0").replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def film_facts(tags: Tags, policy: DicomPolicy = DEFAULT) -> dict[str, object]:
    """What is known of a film besides its pixels.

    Args:
        policy: its words are a hospital's own for views and parts of the body.

    Returns:
        modality (of `MODALITIES`), view_position (of `VIEWS`), body_part (of
        `BODY_PARTS`), view_text and body_part_text (a text that wasn't understood, as it stands: not to be kept before
        `datasets.film.words.may_be_shown` has seen it), orientation (see `_orientation`), contradictory (view, body part,
        presentation: what tags say different things of), manufacturer, model, presentation_intent, age_band,
        sex (M, F, O), burned_in and lossy; None if not stated.
    """
    sex, view, part = code(tags, "PatientSex"), _view(tags, policy), _body_part(tags, policy)
    intent, intents_differ = _intent(tags)
    questions = {"view": view.contradictory, "body part": part.contradictory, "presentation": intents_differ}
    return {
        "modality": _modality(tags),
        "view_position": view.word,
        "view_text": view.text or None,
        "body_part": part.word,
        "body_part_text": part.text or None,
        "orientation": _orientation(tags),
        "contradictory": ", ".join(name for name, differs in questions.items() if differs) or None,
        "manufacturer": _free_text(tags, "Manufacturer"),
        "model": _free_text(tags, "ManufacturerModelName"),
        "presentation_intent": intent,
        "age_band": age_band(code(tags, "PatientAge")),
        "sex": sex if sex in ("M", "F", "O") else None,
        "burned_in": {"YES": True, "NO": False}.get(code(tags, "BurnedInAnnotation")),
        "lossy": {"01": True, "00": False}.get(code(tags, "LossyImageCompression")),
    }


def hashed_identities(tags: Tags, key: bytes) -> dict[str, object]:
    """Keyed hashes of whom and what the film belongs to: `IDENTITY_TAGS`, None where the film doesn't say.

    The value is stripped of blanks and hashed as `datasets.film.identity.keyed_hash` hashes any text, so that a patient of a
    table and of a DICOM folder are one. Spellings of one institution or station have one hash. `patient_alike` is that of
    what spellings of a patient's number share, to tell of 0012 and 12.
    """
    texts = {name: str(tags.get(keyword) or "").strip(" \0") for name, keyword in IDENTITY_TAGS.items()}
    texts |= {name: spelling_key(texts[name]) for name in ("institution", "station")}
    texts["patient_alike"] = number_key(texts["patient"])
    return {name: keyed_hash(key, text) if text else None for name, text in texts.items()}


def age_band(age: str) -> str | None:
    """A decade ("40-49") from an AS value such as "045Y" or "018M"; one band from 90 on.

    None for anything else, and for what is no age: 0, or more than 120 years.
    """
    match = re.fullmatch(r"(\d{1,3})([YMWD])", age)
    if match is None:
        return None
    number, unit = int(match[1]), match[2]
    years = int(number / {"Y": 1, "M": 12, "W": 52.18, "D": 365.25}[unit])
    if number == 0 or years > _OLDEST:
        return None
    return "90+" if years >= 90 else f"{years // 10 * 10}-{years // 10 * 10 + 9}"


def _modality(tags: Tags) -> str:
    """From Modality, else from the class of the object; UNKNOWN where neither says, as the class of any picture doesn't."""
    stated, sop_class = code(tags, "Modality"), code(tags, "SOPClassUID")
    if not says_nothing(stated):
        return stated if stated in MODALITIES else "OTHER"
    unsaid = not sop_class or sop_class.startswith(_SECONDARY_CAPTURE)
    return _FILM_CLASSES.get(sop_class, "UNKNOWN" if unsaid else "OTHER")


def may_be_radiograph(tags: Tags) -> bool:
    """Whether a grey picture that states no modality may be a radiograph: no slice of a volume, unsigned, nothing below 0."""
    is_slice = any(first(tags.get(keyword)) is not None for keyword in SLICE_TAGS)
    below_0 = any((intercept or 0) < 0 for intercept in numbers(tags, "RescaleIntercept"))  # Hounsfield units
    return not is_slice and not below_0 and not first(tags.get("PixelRepresentation"))


def grey_name(tags: Tags) -> str:
    """PhotometricInterpretation in capitals, without blanks and underscores between a word and its number."""
    return re.sub(r"[\s_]+(?=\d)", "", code(tags, "PhotometricInterpretation"))


def _intent(tags: Tags) -> tuple[str | None, bool]:
    """FOR PRESENTATION or FOR PROCESSING by the tag and by the class of the object, and whether the two differ.

    Where they do it is FOR PROCESSING: a picture made of raw pixels misleads, and one that is skipped doesn't.
    """
    intent = re.sub(r"[\s_]+", " ", code(tags, "PresentationIntentType"))
    stated = intent if intent in ("FOR PRESENTATION", "FOR PROCESSING") else None
    if code(tags, "SOPClassUID") in _FOR_PROCESSING:
        return "FOR PROCESSING", stated == "FOR PRESENTATION"
    return stated, False


def _view(tags: Tags, policy: DicomPolicy) -> Stated:
    """From ViewPosition, the coded view, a view beside the body part, and the patient's orientation, in this order."""
    words, text = policy.view_words, str(first(tags.get("ViewPosition")) or "").strip(" \0")
    body = str(first(tags.get("BodyPartExamined")) or "").strip(" \0")
    item = first(tags.get("ViewCodeSequence"))
    position = VIEW_CODES.get(text.upper()) or view_of(text, words)
    coded, meaning = _coded_view(item, policy) if item is not None else (None, "")
    implied = view_of(body, words, of_body=True)
    oriented = _oriented_view(tags)
    found = [view for view in (position, coded, implied, oriented) if view]
    kinds = {"FRONTAL" if view in ("PA", "AP") else view for view in found} - {"UNKNOWN"}
    if "DECUBITUS" in kinds:  # the patient lies on a side, the beam still goes front to back
        kinds.discard("FRONTAL")
    differ = len(kinds) > 1 or {"PA", "AP"} <= set(found) or _names_two(text)
    unknown = next(
        (t for t, view in ((text, position), (meaning, coded)) if t and not view and not says_nothing(t)), ""
    )
    return Stated(found[0] if found else "UNKNOWN", unknown, differ)


def _names_two(text: str) -> bool:
    """Whether a text names a frontal view and another one ("PA LAT"): what a series holds, not what a film is."""
    parts = {view_of(part) for part in re.split(r"[\W_]+", text)}
    return bool(parts & {"PA", "AP", "FRONTAL"}) and "LATERAL" in parts


def _coded_view(item: Tags, policy: DicomPolicy) -> tuple[str | None, str]:
    """The view of an item of ViewCodeSequence, and its text."""
    value, meaning = code(item, "CodeValue"), str(first(item.get("CodeMeaning")) or "").strip(" \0")
    if value in VIEW_CODES:
        return VIEW_CODES[value], meaning
    listed = listed_meaning("cid4010", value)
    return (view_of(listed) or "OTHER") if listed else view_of(meaning or value, policy.view_words), meaning or value


def _oriented_view(tags: Tags) -> str | None:
    """From the directions of rows and columns: to the left or right in a frontal film, to the front or back in a lateral."""
    axes = {direction[0] for direction in _directions(tags)}
    if len(axes) < 2 or not axes & set("FH"):
        return None
    return "FRONTAL" if axes & set("LR") else "LATERAL" if axes & set("AP") else None


def _orientation(tags: Tags) -> str | None:
    """How a frontal film is stored by PatientOrientation: upright, rotated or mirrored; None where it doesn't say.

    Upright is as radiographs are looked at: rows towards the patient's left, columns towards the feet.
    """
    match [direction[0] for direction in _directions(tags)]:
        case ["L", "F"]:
            return "upright"
        case ["R", "H"] | ["F", "R"] | ["H", "L"]:
            return "rotated"
        case ["R", "F"] | ["L", "H"] | ["F", "L"] | ["H", "R"]:
            return "mirrored"
    return None


def _directions(tags: Tags) -> list[str]:
    """The directions of rows and columns, each its letters by falling weight; empty unless there are two."""
    value = tags.get("PatientOrientation")
    parts = value.split("\\") if isinstance(value, str) else list(value or ())
    letters = [str(part).strip(" \0").upper() for part in parts]
    sound = len(letters) == 2 and all(re.fullmatch("[LRAPFH]{1,3}", direction) for direction in letters)
    return letters if sound else []


def _body_part(tags: Tags, policy: DicomPolicy) -> Stated:
    """From BodyPartExamined and the coded region: CHEST where either says so, for machines preset the one or the other."""
    words, text = policy.body_part_words, str(first(tags.get("BodyPartExamined")) or "").strip(" \0")
    part, item = body_part_of(text, words), first(tags.get("AnatomicRegionSequence"))
    coded, meaning = _coded_part(item, policy) if item is not None else (None, "")
    if part is None and text.upper() in CHEST_CODES:
        part = "CHEST"
    found = [word for word in (part, coded) if word and word != "UNKNOWN"]
    unknown = next((t for t, word in ((text, part), (meaning, coded)) if t and not word and not says_nothing(t)), "")
    return Stated("CHEST" if "CHEST" in found else found[0] if found else "UNKNOWN", unknown, len(set(found)) > 1)


def _coded_part(item: Tags, policy: DicomPolicy) -> tuple[str | None, str]:
    """The part of the body of an item of AnatomicRegionSequence, and its text."""
    value, meaning = code(item, "CodeValue"), str(first(item.get("CodeMeaning")) or "").strip(" \0")
    if value in CHEST_CODES:
        return "CHEST", meaning
    listed = listed_meaning("cid4031", value)
    if listed in _NO_PART:
        return "UNKNOWN", meaning
    if listed:
        return "CHEST" if listed in _INSIDE_CHEST or body_part_of(listed) == "CHEST" else "OTHER", meaning
    return body_part_of(meaning or value, policy.body_part_words), meaning or value


def _free_text(tags: Tags, keyword: str) -> str | None:
    """One line of the 64 characters that DICOM allows."""
    return " ".join(str(first(tags.get(keyword)) or "").split())[:64] or None
