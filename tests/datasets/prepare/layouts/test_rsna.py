"""The RSNA challenge of 2018: a row for each box, no patient but in RSNA's own mapping, facts in the DICOM header."""

import json
from pathlib import Path

import pytest

from datasets.prepare.layouts.film import LayoutError
from datasets.prepare.layouts.rsna import read as read_rsna
from tests.datasets.public_films import dicom, read, table

CLASSES = [
    ("aa", "Lung Opacity"),
    ("aa", "Lung Opacity"),
    ("bb", "Normal"),
    ("cc", "No Lung Opacity / Not Normal"),
    ("dd", "Lung Opacity"),
    ("ee", "Normal"),
    ("ee", "Lung Opacity"),
    ("ff", "Normal"),
]
BOXES = [
    ("aa", 1, 2, 3, 4, 1),
    ("aa", 5, 6, 7, 8, 1),
    *((name, "", "", "", "", 0) for name in ("bb", "cc", "dd", "ee", "ff")),
]


@pytest.fixture
def src(tmp_path: Path) -> Path:
    table(tmp_path / "stage_2_train_labels.csv", ("patientId", "x", "y", "width", "height", "Target"), BOXES)
    table(tmp_path / "stage_2_detailed_class_info.csv", ("patientId", "class"), CLASSES)
    for number, (name, view) in enumerate((("aa", "AP"), ("bb", "PA"), ("cc", "PA"), ("ff", "LL"))):
        dicom(tmp_path / f"stage_2_train_images/{name}.dcm", number, view=view, sex="FM"[number % 2])
    return tmp_path


def test_one_film_for_each_name(src: Path) -> None:
    films, left_out = read("rsna", src)
    assert [(film.label, film.patient_id, film.view, film.sex, film.age) for film in films] == [
        ("pneumonia", "rsna_aa", "AP", "F", "40-49"),
        ("normal", "rsna_bb", "PA", "M", "40-49"),
        ("other", "rsna_cc", "PA", "F", "40-49"),
    ]
    assert {film.source for film in films} == {"rsna"}
    assert left_out == {
        "dd.dcm": "its class and its boxes contradict each other",
        "ee.dcm": "two classes for one film",
        "ff.dcm": "lateral view",
    }


def test_the_mapping_gives_the_patients_of_the_nih(src: Path) -> None:
    entries = [
        {"img_id": "00012345_003.png", "subset_img_id": "aa", "orig_labels": ["Pneumonia"]},
        {"img_id": "00012345_007.png", "subset_img_id": "bb", "orig_labels": []},
    ]
    file = src / "pneumonia-challenge-dataset-mappings_2018.json"
    file.write_text(json.dumps(entries))
    films, _ = read("rsna", src)
    assert [film.patient_id for film in films] == ["nih_12345", "nih_12345", "rsna_cc"]
    file.write_text('{"aa": 1}')
    with pytest.raises(LayoutError, match="no list of entries with img_id"):
        list(read_rsna(src))


def test_without_images_it_is_refused(src: Path) -> None:
    for file in (src / "stage_2_train_images").iterdir():
        file.unlink()
    with pytest.raises(LayoutError, match="no DICOM file below stage_2_train_images/"):
        list(read_rsna(src))
