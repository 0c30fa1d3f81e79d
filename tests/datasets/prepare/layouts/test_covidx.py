"""COVIDx: lists of words of all its versions, the folders of their images, the collections that it is made of."""

from pathlib import Path

import pytest

from datasets.prepare.layouts.covidx import read as read_covidx
from datasets.prepare.layouts.film import LayoutError
from tests.datasets.public_films import read

TRAIN = """3 SARS-10.1148rg.242035193-g04mr34g0-Fig8a-day0.jpeg pneumonia cohen
COVID-00001 COVID-00001.jpg COVID-19 fig1
ANON196 CR.1.2.840.113564.png COVID-19 actmed
COVID 1 COVID(1).png COVID-19 sirm

419639-003251 MIDRC-RICORD-1C-419639-003251-46647-0.png positive ricord
SITE2-000265 MIDRC-RICORD-1C-SITE2-000265-99793-1.png positive ricord
A207634 A207634-01-03-1901-NA-CHEST_AP_PORT-35935-1.jpg positive stonybrook
A281009 A281009-01-19-1901-NA-FLAT_PLATE_OF_ABDOMEN_PORTABLE-01759-2.jpg positive stonybrook
sub-S03066 sub-S03066_ses-E07113_run-1_bp-chest_vp-pa_dx.png positive bimcv
47c78742-4998 47c78742-4998.png negative rsna
8989e25c-a698 8989e25c-a698.png normal rsna
9 9.png unclear cohen
broken line
"""


@pytest.fixture
def src(tmp_path: Path) -> Path:
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
    return tmp_path


def test_films_of_the_lists(src: Path) -> None:
    (src / "train.txt").write_text(TRAIN)
    (src / "test.txt").write_text("7 old.png normal\n")  # the lists up to the fifth name no source
    films, left_out = read("covidx", src)
    assert [(film.source, film.label, film.patient_id) for film in films] == [
        ("cohen", "pneumonia", "cohen_3"),
        ("figure1", "covid", "figure1_COVID-00001"),
        ("actmed", "covid", "actmed_ANON196"),
        ("sirm", "covid", "sirm_COVID 1"),
        ("ricord-419639", "covid", "ricord_419639-003251"),
        ("ricord-SITE2", "covid", "ricord_SITE2-000265"),
        ("stonybrook", "covid", "stonybrook_A207634"),
        ("bimcv", "covid", "bimcv_sub-S03066"),
        ("rsna", "other", "rsna_47c78742-4998"),
        ("rsna", "normal", "rsna_8989e25c-a698"),
        ("covidx (unstated)", "normal", "covidx_7"),
    ]
    assert films[3].file == "train/COVID(1).png" and films[3].origin == "train.txt line 4"
    assert films[-1].file == "test/old.png" and films[-1].original_split == "test"
    assert left_out == {
        "A281009-01-19-1901-NA-FLAT_PLATE_OF_ABDOMEN_PORTABLE-01759-2.jpg": "another part of the body",
        "9.png": "class unclear",
        "train.txt line 14": "a line with fewer than three words",
    }
    assert "RSNA" in films[8].licence and films[0].licence == "unknown"


def test_lists_of_the_repository_and_several_of_one_split(src: Path) -> None:
    (src / "labels").mkdir()
    (src / "labels/train_COVIDx9B.txt").write_text(TRAIN)
    films, _ = read("covidx", src)
    assert len(films) == 10 and films[0].origin == "labels/train_COVIDx9B.txt line 1"
    (src / "labels/train_COVIDx9A.txt").write_text(TRAIN)
    with pytest.raises(LayoutError, match=r"train_COVIDx9A.txt, labels/train_COVIDx9B.txt; keep the one"):
        list(read_covidx(src))


def test_a_list_without_its_images_is_refused(src: Path) -> None:
    (src / "val.txt").write_text(TRAIN)
    with pytest.raises(LayoutError, match="folder val/ with its images is missing"):
        list(read_covidx(src))
