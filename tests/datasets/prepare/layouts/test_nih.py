"""ChestX-ray14: images in twelve folders or one, ages that no person reaches, several findings a film."""

from pathlib import Path

import pytest

from datasets.prepare.layouts.film import LayoutError
from datasets.prepare.layouts.nih import read as read_nih
from tests.datasets.public_films import png, read

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],"
    "OriginalImagePixelSpacing[x,y],\n"
)
ROWS = (
    "00000001_000.png,Cardiomegaly,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n"
    "00000001_001.png,Infiltration|Pneumonia,1,1,58,M,AP,2894,2729,0.143,0.143,\n"
    "00000002_000.png,No Finding,0,2,414,F,PA,2500,2048,0.171,0.171,\n"
    "00000003_000.png,,0,3,81,F,PA,2582,2991,0.143,0.143,\n"
    "00000004_000.png,No Finding,0,4,81,F,LL,2582,2991,0.143,0.143,\n"
)


def test_films_in_twelve_folders(tmp_path: Path) -> None:
    (tmp_path / "Data_Entry_2017.csv").write_text(HEADER + ROWS)
    (tmp_path / "train_val_list.txt").write_text("00000001_000.png\n00000001_001.png\n")
    (tmp_path / "test_list.txt").write_text("00000002_000.png")
    png(tmp_path / "images_001/images/00000001_000.png", 0)
    png(tmp_path / "images_012/images/00000002_000.png", 1)
    films, left_out = read("nih", tmp_path)
    assert [(film.file, film.label, film.patient_id, film.age, film.sex, film.original_split) for film in films] == [
        ("images_001/images/00000001_000.png", "other", "nih_1", "58", "M", "train"),
        ("images/00000001_001.png", "pneumonia", "nih_1", "58", "M", "train"),  # said to be missing when it is placed
        ("images_012/images/00000002_000.png", "normal", "nih_2", "", "F", "test"),
    ]
    assert left_out == {"00000003_000.png": "finding not filled in", "00000004_000.png": "lateral view"}
    assert films[1].finding == "Infiltration|Pneumonia" and "no restrictions" in films[0].licence


def test_films_in_one_folder_and_the_later_table(tmp_path: Path) -> None:
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text(HEADER.replace("Gender", "Sex") + ROWS)
    png(tmp_path / "images/00000001_000.png", 0)
    films, _ = read("nih", tmp_path)
    assert films[0].file == "images/00000001_000.png" and films[0].sex == "M"


def test_two_tables_or_no_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "Data_Entry_2017.csv").write_text(HEADER + ROWS)
    with pytest.raises(LayoutError, match="no PNG file below images/"):
        list(read_nih(tmp_path))
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text(HEADER + ROWS)
    with pytest.raises(
        LayoutError, match=r"several tables for one purpose: Data_Entry_2017.csv, Data_Entry_2017_v2020.csv"
    ):
        list(read_nih(tmp_path))
