"""What the header of a DICOM film tells a layout: view, sex, decade of age, manufacturer, and the patient's pseudonym."""

from pathlib import Path

from datasets.covid import resolved
from datasets.film.dicom import read_header
from datasets.film.radiograph import RadiographError
from datasets.prepare.layouts.film import text

NOTHING = dict.fromkeys(("view", "sex", "age", "manufacturer", "patient", "body"), "")


def header(src: Path, name: str) -> dict[str, str]:
    """View, sex, age, manufacturer, patient and body part; empty where unknown, and where the file can't be read here.

    Why it can't be read is told when it is placed or decoded; a name that leaves the folder is not opened.
    """
    file = resolved(src.resolve(), name)
    if file is None or not file.is_relative_to(src.resolve()):
        return NOTHING
    try:
        facts, patient = read_header(file)
    except RadiographError:
        return NOTHING
    view = str(facts["view_position"])
    return {
        "view": "" if view in ("UNKNOWN", "OTHER") else view,
        "sex": str(facts["sex"] or "").replace("O", ""),
        "age": str(facts["age_band"] or ""),
        "manufacturer": text(str(facts["manufacturer"] or "")),
        "patient": text(patient),
        "body": str(facts["body_part"]),
    }


def view_problem(facts: dict[str, str]) -> str:
    """Why a film of this header is none from the front of a chest; empty where nothing says so."""
    if facts["body"] == "OTHER":
        return "another part of the body"
    return {"LATERAL": "lateral view", "DECUBITUS": "lateral view"}.get(facts["view"], "")
