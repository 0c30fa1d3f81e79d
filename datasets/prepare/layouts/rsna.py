"""RSNA pneumonia detection challenge: stage 2 of 2018, DICOM films of NIH ChestX-ray14 read anew by radiologists.

Its `patientId` names a film and not a patient. RSNA's own table of what is what in ChestX-ray14
(pneumonia-challenge-dataset-mappings_2018.json), where it lies in the folder, gives the NIH's patient, so that films of
one person stay together and RSNA and NIH can be combined; without it each film counts as its own patient.

Shih et al., Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert Annotations of Possible
Pneumonia, Radiology: Artificial Intelligence 1, 2019. Licence by rsna.org: academic, other commercial and non-commercial
use, with attribution.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.prepare.layouts.film import Film, LayoutError, LeftOut, by_name, content, one_file, table, text
from datasets.prepare.layouts.header import header, header_problem

LICENCE = "RSNA: academic, commercial and non-commercial use with attribution"
LABELS = {"Normal": "normal", "Lung Opacity": "pneumonia", "No Lung Opacity / Not Normal": "other"}


def read(src: Path, policy: DicomPolicy = DEFAULT) -> Iterator[Film | LeftOut]:
    """The films of the training set, whose classes are public: one for each patientId, however many boxes it has."""
    classes = src / "stage_2_detailed_class_info.csv"
    boxes, rows = (
        table(src / "stage_2_train_labels.csv", ("patientId", "Target")),
        table(classes, ("patientId", "class")),
    )
    target, patients = boxes.groupby("patientId")["Target"].max(), _patients(src)
    places = by_name(src, src.glob("stage_2_train_images/**/*.dcm"))
    if not places:
        raise LayoutError("there is no DICOM file below stage_2_train_images/")
    answers = rows.groupby("patientId")["class"].unique()
    first = ~rows["patientId"].duplicated()
    for number, image in rows.loc[first, "patientId"].items():
        origin = f"{classes.name} line {int(str(number)) + 2}"
        place = places.get(f"{image}.dcm", f"stage_2_train_images/{image}.dcm")
        finding = answers[image][0] if len(answers[image]) == 1 else ""
        if not image:
            yield LeftOut("", origin, "no file is named")
        elif not finding:
            yield LeftOut(place, origin, "two classes for one film")
        elif finding not in LABELS:
            yield LeftOut(place, origin, f"class {text(finding)}")
        elif (finding == "Lung Opacity") != (target.get(image, "") == "1"):
            yield LeftOut(place, origin, "its class and its boxes contradict each other")
        elif problem := header_problem(facts := header(src, place, policy), policy):
            yield LeftOut(place, origin, problem)
        else:
            yield Film(
                place,
                LABELS[finding],
                "rsna",
                patients.get(image, f"rsna_{text(image)}"),
                origin,
                view=facts["view"],
                not_understood=facts["not_understood"],
                sex=facts["sex"],
                age=facts["age"],
                licence=LICENCE,
                finding=text(finding),
                manufacturer=facts["manufacturer"],
                model=facts["model"],
                matrix=facts["matrix"],
            )


def _patients(src: Path) -> dict[str, str]:
    """The NIH's patient of each film, from RSNA's table; empty where that is not there."""
    file = one_file(src, "*dataset-mappings*.json", "*dataset_mapping*.json")
    if file is None:
        return {}
    try:
        entries = json.loads(content(file))
        return {str(entry["subset_img_id"]): f"nih_{_patient(str(entry['img_id']))}" for entry in entries}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise LayoutError(f"{file} is no list of entries with img_id and subset_img_id") from None


def _patient(name: str) -> str:
    """The patient in the NIH's "00012345_003.png"."""
    return text(name.split("_")[0].lstrip("0"))
