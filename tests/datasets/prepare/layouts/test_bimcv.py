"""BIMCV-COVID19: sets of positive and of negative patients, images by subject and session, attributes in JSON files."""

import json
from pathlib import Path
from typing import Any

import pytest

from datasets.prepare.layouts.bimcv import read as read_bimcv
from datasets.prepare.layouts.film import LayoutError
from tests.datasets.public_films import png, read, table

TAGS = {
    "00080060": {"vr": "CS", "Value": ["DX"]},
    "00080070": {"vr": "LO", "Value": ["KONICA"]},
    "00100040": {"vr": "CS", "Value": ["M"]},
    "00101010": {"vr": "AS", "Value": ["064Y"]},
    "00280004": {"vr": "CS", "Value": ["MONOCHROME2"]},
    "00280101": {"vr": "US", "Value": [12]},
}


def image(
    src: Path, subject: str, session: str, end: str, tags: dict[str, Any] | None = None, folder: str = "mod-rx"
) -> None:
    file = src / f"sub-{subject}/ses-{session}/{folder}/sub-{subject}_ses-{session}_run-1_{end}"
    png(file.with_suffix(".png"), len(file.name))
    if file.suffix != ".png":
        file.with_suffix(".png").rename(file)
    if tags is not None:
        file.with_suffix(".json").write_text(json.dumps(tags))


def labels(src: Path, name: str, *rows: tuple[str, str, str]) -> None:
    full = [
        (number, f"sub-{subject}", f"ses-{session}", "texto", words)
        for number, (subject, session, words) in enumerate(rows)
    ]
    table(src / "derivatives/labels" / name, ("", "PatientID", "ReportID", "Report", "Labels"), full, "\t")


def test_the_positive_set(tmp_path: Path) -> None:
    labels(tmp_path, "labels_covid19_posi.tsv", ("S1", "E1", "['COVID 19', 'infiltrates']"))
    image(tmp_path, "S1", "E1", "bp-chest_vp-pa_dx.png", TAGS)
    image(tmp_path, "S1", "E2", "bp-chest_vp-ap_cr.png", TAGS)
    image(tmp_path, "S1", "E2", "bp-chest_vp-ll_dx.png", TAGS)
    image(tmp_path, "S1", "E2", "bp-chest_dx.png", TAGS)
    image(tmp_path, "S1", "E2", "bp-abdomen_vp-ap_dx.png", TAGS)
    image(tmp_path, "S2", "E3", "bp-chest_vp-ap_dx.png")
    image(tmp_path, "S3", "E4", "bp-chest_ct.nii", folder="mod-ct")
    image(tmp_path, "S4", "E5", "bp-chest_vp-pa_dx.png", TAGS | {"00185101": {"Value": ["LL"]}})
    image(tmp_path, "S5", "E6", "bp-chest_vp-pa_dx.png", {"00280004": {"Value": ["RGB"]}})
    (tmp_path / "sub-S6/ses-E7/mod-rx").mkdir(parents=True)
    films, left_out = read("bimcv", tmp_path)
    assert [(film.label, film.patient_id, film.view, film.sex, film.age, film.finding) for film in films] == [
        ("covid", "bimcv_sub-S1", "PA", "M", "60-69", "covid 19|infiltrates"),
        ("covid", "bimcv_sub-S1", "", "M", "60-69", ""),
        ("covid", "bimcv_sub-S1", "AP", "M", "60-69", ""),
    ]
    assert films[0].manufacturer == "KONICA" and films[0].sidecar.endswith("vp-pa_dx.json")
    assert {name.split("run-1_")[0] + name.split("run-1_")[1]: reason for name, reason in left_out.items()} == {
        "sub-S1_ses-E2_bp-chest_vp-ll_dx.png": "lateral view",
        "sub-S1_ses-E2_bp-abdomen_vp-ap_dx.png": "another part of the body",
        "sub-S2_ses-E3_bp-chest_vp-ap_dx.png": "no JSON file that says what its greys are",
        "sub-S3_ses-E4_bp-chest_ct.nii": "CT, not a radiograph",
        "sub-S4_ses-E5_bp-chest_vp-pa_dx.png": "lateral view",
        "sub-S5_ses-E6_bp-chest_vp-pa_dx.png": "no JSON file that says what its greys are",
    }


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ("['normal']", "normal"),
        ("['viral pneumonia', 'pleural effusion']", "pneumonia"),
        ("[' pneumonia']", "pneumonia"),
        ("['costophrenic angle blunting'\t'clavicle fracture']", "other"),
        ('["cardiomegaly"]', "other"),
        ("['unchanged']", "report without a label"),
        ("[]", "report without a label"),
        ("", "report without a label"),
        ("['COVID 19 uncertain']", "negative set, but its report has COVID-19"),
    ],
)
def test_the_negative_set_is_labelled_by_its_reports(tmp_path: Path, words: str, label: str) -> None:
    src = tmp_path / "covid19_neg"
    labels(src, "Labels_covid_NEG_JAN21.tsv", ("S1", "E1", words))
    image(src, "S1", "E1", "bp-chest_vp-pa_dx.png", TAGS)
    films, left_out = read("bimcv", tmp_path)  # the folder above is taken too
    assert [film.label for film in films] + list(left_out.values()) == [label]
    assert all(film.file.startswith("covid19_neg/sub-S1/") for film in films)


def test_a_sidecar_that_leads_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    src = tmp_path / "bimcv"
    labels(src, "labels_covid19_posi.tsv", ("S1", "E1", "['COVID 19']"))
    image(src, "S1", "E1", "bp-chest_vp-pa_dx.png")
    (tmp_path / "outside.json").write_text(json.dumps(TAGS))
    next(src.glob("sub-*/*/*/*.png")).with_suffix(".json").symlink_to(tmp_path / "outside.json")
    films, left_out = read("bimcv", src)
    assert not films and list(left_out.values()) == ["no JSON file that says what its greys are"]


def test_a_folder_without_labels_or_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no table derivatives/labels"):
        list(read_bimcv(tmp_path))
    labels(tmp_path, "labels_covid19_posi.tsv", ("S1", "E1", "[]"))
    with pytest.raises(LayoutError, match="no image in sub-"):
        list(read_bimcv(tmp_path))


def test_both_sets_in_one_folder(tmp_path: Path) -> None:
    for name, file in (("posi", "labels_covid19_posi.tsv"), ("nega", "labels_SARS-cov-2_nega.tsv")):
        labels(tmp_path / name, file, ("S1", "E1", "['normal']"))
        image(tmp_path / name, "S1", "E1", "bp-chest_vp-pa_dx.png", TAGS)
    films, _ = read("bimcv", tmp_path)
    assert [(film.file.split("/")[0], film.label, film.source) for film in films] == [
        ("nega", "normal", "bimcv"),
        ("posi", "covid", "bimcv"),
    ]
