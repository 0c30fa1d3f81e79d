"""The SIIM challenge of 2021: readings of studies, files by study and series, the patient in the header alone."""

from pathlib import Path

import pytest

from datasets.prepare.layouts.film import LayoutError
from datasets.prepare.layouts.siim import READINGS
from datasets.prepare.layouts.siim import read as read_siim
from tests.datasets.public_films import dicom, read, table

STUDIES = [
    ("s1_study", 0, 1, 0, 0),
    ("s2_study", 1, 0, 0, 0),
    ("s3_study", 0, 0, 1, 0),
    ("s4_study", 0, 0, 0, 1),
    ("s5_study", 0, 1, 0, 1),
]
IMAGES = [(f"i{study}{letter}_image", "", "none 1 0 0 1 1", f"s{study}") for study in "123456" for letter in "ab"]


def test_labels_are_what_a_study_was_read_as(tmp_path: Path) -> None:
    table(tmp_path / "train_study_level.csv", ("id", *READINGS), STUDIES)
    table(tmp_path / "train_image_level.csv", ("id", "boxes", "label", "StudyInstanceUID"), IMAGES)
    dicom(tmp_path / "train/s1/x1/i1a.dcm", 1, patient="p1")
    dicom(tmp_path / "train/s1/x2/i1b.dcm", 2, patient="p1", body="ABDOMEN")
    dicom(tmp_path / "train/s2/x3/i2a.dcm", 3, patient="p1")
    films, left_out = read("siim", tmp_path)
    assert [(film.file, film.label, film.patient_id) for film in films] == [
        ("train/s1/x1/i1a.dcm", "covid", "siim_p1"),
        ("train/s2/x3/i2a.dcm", "normal", "siim_p1"),
        ("train/s2/i2b.dcm", "normal", "siim_s2"),  # not there: its study stands for its patient until it is placed
    ]
    assert (
        films[0].manufacturer == "Acme" and films[0].licence == "unknown" and films[0].finding == "Typical Appearance"
    )
    assert left_out["i1b.dcm"] == "another part of the body"
    assert left_out["i3a.dcm"] == "indeterminate appearance: may or may not be COVID-19"
    assert left_out["i4b.dcm"] == "atypical appearance: may or may not be COVID-19"
    assert left_out["i5a.dcm"] == "its study has several readings" and left_out["i6a.dcm"] == "its study has no reading"
    assert len(films) + len(left_out) == len(IMAGES)
    images = tmp_path / "train_image_level.csv"
    images.write_text("sep=,\n" + images.read_text(encoding="utf-8"), encoding="utf-8")
    moved, _ = read("siim", tmp_path)
    assert (films[0].origin, moved[0].origin) == (f"{images.name} line 2", f"{images.name} line 3")


def test_a_name_that_leaves_the_folder_is_not_opened(tmp_path: Path) -> None:
    src = tmp_path / "siim"
    dicom(tmp_path / "outside.dcm", 0, patient="secret")
    dicom(src / "train/s1/x/i1a.dcm", 1)
    table(src / "train_study_level.csv", ("id", *READINGS), [("../../..", 0, 1, 0, 0), *STUDIES])
    table(
        src / "train_image_level.csv", ("id", "StudyInstanceUID"), [("outside_image", "../../.."), ("i1a_image", "s1")]
    )
    films, _ = read("siim", src)
    assert "secret" not in "".join("".join(film) for film in films)


def test_tables_without_films_are_refused(tmp_path: Path) -> None:
    table(tmp_path / "train_study_level.csv", ("id", *READINGS), STUDIES)
    with pytest.raises(LayoutError, match=r"train_image_level.csv is missing"):
        list(read_siim(tmp_path))
    table(tmp_path / "train_image_level.csv", ("id", "StudyInstanceUID"), [("a_image", "s1")])
    with pytest.raises(LayoutError, match="no file train/<study>"):
        list(read_siim(tmp_path))
