"""All seven data sets in one cohort, as COVID sets of the literature are built: training reads every film of it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datasets.cohort.copies import HASHES
from datasets.covid import RESERVED, FilmFolder, load_covid
from datasets.film.preprocessing import Preprocessing
from datasets.prepare.__main__ import main
from datasets.prepare.layouts import LAYOUTS
from datasets.prepare.layouts.siim import READINGS
from tests.datasets.public_films import dicom, pixels, png, table

FILMS = 8
PUBLIC = {name for name, layout in LAYOUTS.items() if not layout.labelled}


def write_cohen(src: Path, first: int) -> None:
    for number in range(FILMS):
        png(src / f"images/{number}.jpg", first + number)
    rows = [(n, ("COVID-19", "SARS")[n % 2], "PA", f"{n}.jpg", "https://radiopaedia.org/1") for n in range(FILMS)]
    table(src / "metadata.csv", ("patientid", "finding", "view", "filename", "url"), rows)


def write_hannover(src: Path, first: int) -> None:
    for number in range(FILMS):
        png(src / f"png/{number}.png", first + number)
    table(src / "data.csv", ("patient_id", "image_id", "projection"), [(n, n, "ap") for n in range(FILMS)])


def write_nih(src: Path, first: int) -> None:
    names = [f"{number:08}_000.png" for number in range(FILMS)]
    for number, name in enumerate(names):
        png(src / "images" / name, first + number)
    rows = [(name, "No Finding", int(name[:8]), "PA") for name in names]
    table(src / "Data_Entry_2017.csv", ("Image Index", "Finding Labels", "Patient ID", "View Position"), rows)


def write_covidx(src: Path, first: int) -> None:
    for number in range(FILMS):
        png(src / f"train/{number}.png", first + number)
    (src / "train.txt").write_text(
        "".join(f"{n} {n}.png {('positive', 'negative')[n % 2]} actmed\n" for n in range(FILMS))
    )


def write_bimcv(src: Path, first: int) -> None:
    tags = {"00280004": {"Value": ["MONOCHROME1"]}, "00280101": {"Value": [12]}}
    for number in range(FILMS):
        file = src / f"sub-S{number}/ses-E1/mod-rx/sub-S{number}_ses-E1_run-1_bp-chest_vp-pa_dx.png"
        file.parent.mkdir(parents=True)
        Image.fromarray((4095 * (1 - pixels(first + number))).astype(np.uint16)).save(file)
        file.with_suffix(".json").write_text(json.dumps(tags))
    labels = src / "derivatives/labels/labels_covid19_posi.tsv"
    table(labels, ("PatientID", "ReportID", "Labels"), [("sub-S0", "ses-E1", "['COVID 19']")], "\t")


def write_siim(src: Path, first: int) -> None:
    for number in range(FILMS):
        dicom(src / f"train/s{number}/x/i{number}.dcm", first + number, patient=f"p{number // 2}")
    studies = [(f"s{n}_study", int(n % 2 == 0), int(n % 2 == 1), 0, 0) for n in range(FILMS)]
    table(src / "train_study_level.csv", ("id", *READINGS), studies)
    images = [(f"i{n}_image", f"s{n}") for n in range(FILMS)]
    table(src / "train_image_level.csv", ("id", "StudyInstanceUID"), images)


def write_rsna(src: Path, first: int) -> None:
    for number in range(FILMS):
        dicom(src / f"stage_2_train_images/n{number}.dcm", first + number)
    table(src / "stage_2_train_labels.csv", ("patientId", "Target"), [(f"n{n}", 0) for n in range(FILMS)])
    table(src / "stage_2_detailed_class_info.csv", ("patientId", "class"), [(f"n{n}", "Normal") for n in range(FILMS)])


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "cohen": write_cohen,
    "hannover": write_hannover,
    "nih": write_nih,
    "covidx": write_covidx,
    "bimcv": write_bimcv,
    "siim": write_siim,
    "rsna": write_rsna,
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("public")
    for number, (name, write) in enumerate(WRITERS.items()):
        (root / name).mkdir()
        # RSNA's films are the NIH's: they have the same pictures.
        write(root / name, 1000 * (number if name != "rsna" else list(WRITERS).index("nih")))
        main([name, str(root / name), "--out", str(root / "cohort"), *(() if name == "rsna" else ("--no-copies",))])
    return root / "cohort"


@pytest.mark.trains
def test_training_reads_every_film(cohort: Path) -> None:
    assert set(WRITERS) == PUBLIC
    table = pd.read_csv(cohort / "metadata.csv", dtype=str, keep_default_na=False)
    assert table["dataset"].value_counts().to_dict() == dict.fromkeys(PUBLIC, FILMS)
    assert not set(table) & set(RESERVED) and table["path"].is_unique
    loaded = load_covid(cohort, Preprocessing(32), external_sources=("radiopaedia",)).cached("memory")
    assert len(loaded.table) == FILMS * len(PUBLIC) and loaded.excluded.empty
    assert set(loaded.info.biases) == {"radiopaedia", "hannover", "nih", "actmed", "bimcv", "siim", "rsna"}
    assert table.loc[table["dataset"] == "siim", "patient_id"].nunique() == FILMS // 2


def test_raw_greys_come_out_as_they_were_meant(cohort: Path) -> None:
    table = pd.read_csv(cohort / "metadata.csv", dtype=str)
    path = table.loc[table["dataset"] == "bimcv", "path"].iloc[0]
    seen = np.asarray(Image.open(cohort / path)) / 255
    assert np.abs(seen - pixels(1000 * list(WRITERS).index("bimcv"))).max() < 1 / 255


def test_films_that_two_data_sets_share_are_found(cohort: Path) -> None:
    pairs = pd.read_csv(cohort / "near_copies.csv")
    assert set(zip(pairs["dataset_1"], pairs["dataset_2"], strict=True)) == {("nih", "rsna")} and len(pairs) == FILMS


def test_hashes_of_the_command_spare_training_a_second_look(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = partial(load_covid, cohort, Preprocessing(32), separate_copies=True)
    with monkeypatch.context() as patch:
        patch.setattr(FilmFolder, "read", lambda *_: pytest.fail("a film was decoded"))
        found = load()
    (cohort / HASHES).rename(cohort / "hashes")
    anew = load()
    (cohort / "hashes").rename(cohort / HASHES)
    pd.testing.assert_frame_equal(found.table, anew.table)
    assert found.notes == anew.notes and "8 pairs of films" in found.notes[0]
