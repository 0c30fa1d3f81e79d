"""SIIM-FISABIO-RSNA COVID-19 detection: readings of studies and images in two tables, DICOM files by study and series.

A study is read as one of four appearances. Typical appearance becomes covid and negative for pneumonia normal.
Indeterminate and atypical appearance say of no film whether it shows COVID-19, and are left out. No table names the
patient; the DICOM header does.

Lakhani et al., The 2021 SIIM-FISABIO-RSNA Machine Learning COVID-19 Challenge, Journal of Digital Imaging 36, 2023. The
rules of the competition hold, which could not be read here: unknown.
"""

from collections.abc import Iterator
from pathlib import Path

from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.prepare.layouts.film import Film, LayoutError, LeftOut, by_name, table, text
from datasets.prepare.layouts.header import header, header_problem

READINGS = ("Negative for Pneumonia", "Typical Appearance", "Indeterminate Appearance", "Atypical Appearance")
LABELS = {"Negative for Pneumonia": "normal", "Typical Appearance": "covid"}


def read(src: Path, policy: DicomPolicy = DEFAULT) -> Iterator[Film | LeftOut]:
    """The images of the training set; those of the test set have no public label."""
    images = src / "train_image_level.csv"
    readings, rows = _readings(src / "train_study_level.csv"), table(images, ("id", "StudyInstanceUID"))
    places = by_name(src, src.glob("train/*/*/*.dcm"))
    if not places:
        raise LayoutError("there is no file train/<study>/<series>/<image>.dcm")
    for number, name, study in zip(rows.index, rows["id"], rows["StudyInstanceUID"], strict=True):
        image = name.removesuffix("_image")
        origin, place = f"{images.name} line {number + 2}", places.get(f"{image}.dcm", f"train/{study}/{image}.dcm")
        found = readings.get(study, ())
        if not image:
            yield LeftOut("", origin, "no file is named")
        elif len(found) != 1:
            yield LeftOut(place, origin, "its study has several readings" if found else "its study has no reading")
        elif found[0] not in LABELS:
            yield LeftOut(place, origin, f"{found[0].lower()}: may or may not be COVID-19")
        elif problem := header_problem(facts := header(src, place, policy), policy):
            yield LeftOut(place, origin, problem)
        else:
            yield Film(
                place,
                LABELS[found[0]],
                "siim",
                f"siim_{facts['patient'] or text(study)}",
                origin,
                view=facts["view"],
                not_understood=facts["not_understood"],
                sex=facts["sex"],
                age=facts["age"],
                finding=found[0],
                manufacturer=facts["manufacturer"],
                model=facts["model"],
                matrix=facts["matrix"],
            )


def _readings(file: Path) -> dict[str, tuple[str, ...]]:
    """What each study is read as."""
    rows = table(file, ("id", *READINGS))
    marked = [rows[name] == "1" for name in READINGS]
    return {
        name.removesuffix("_study"): tuple(reading for reading, yes in zip(READINGS, answers, strict=True) if yes)
        for name, *answers in zip(rows["id"], *marked, strict=True)
    }
