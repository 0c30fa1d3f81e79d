"""What the header of a DICOM film tells a layout: view, sex, decade of age, detector, and the patient's pseudonym."""

from collections.abc import Mapping
from pathlib import Path

from datasets.covid import resolved
from datasets.film.dicom import read_header
from datasets.film.policy import DicomPolicy
from datasets.film.radiograph import RadiographError
from datasets.prepare.layouts.film import text, view_problem

NOTHING = dict.fromkeys(
    ("view", "sex", "age", "manufacturer", "model", "matrix", "patient", "body", "not_understood"), ""
)


def header(src: Path, name: str, policy: DicomPolicy) -> dict[str, str]:
    """View, sex, age, manufacturer, model, pixel matrix, patient, body part and texts that aren't understood.

    Empty where unknown, and where the file can't be read here.

    Why it can't be read is told when it is placed or decoded; a name that leaves the folder is not opened.
    """
    file = resolved(src.resolve(), name)
    if file is None or not file.is_relative_to(src.resolve()):
        return NOTHING
    try:
        facts, patient = read_header(file, policy)
    except RadiographError:
        return NOTHING
    view = str(facts["view_position"])
    return {
        "view": "" if view == "UNKNOWN" else view,
        "sex": str(facts["sex"] or "").replace("O", ""),
        "age": str(facts["age_band"] or ""),
        "manufacturer": text(str(facts["manufacturer"] or "")),
        "model": text(str(facts["model"] or "")),
        "matrix": matrix(facts),
        "patient": text(patient),
        "body": str(facts["body_part"]),
        "not_understood": not_understood(facts),
    }


def matrix(facts: Mapping[str, object]) -> str:
    """Rows and columns as the name of a detector has them; empty where they aren't stated."""
    return f"{facts['rows']} x {facts['columns']}" if facts["rows"] and facts["columns"] else ""


def not_understood(facts: Mapping[str, object]) -> str:
    """Texts of the view and the body part that no word fits, after their tags."""
    tags = (("view", "view_text"), ("body part", "body_part_text"))
    return "; ".join(f"{tag} {text(str(facts[name]))}" for tag, name in tags if facts[name])


def header_problem(facts: dict[str, str], policy: DicomPolicy) -> str:
    """Why a film of this header isn't admitted; empty where nothing says so."""
    if facts["body"] and facts["body"] not in policy.body_parts:
        return "another part of the body"
    return view_problem(facts["view"], policy)
