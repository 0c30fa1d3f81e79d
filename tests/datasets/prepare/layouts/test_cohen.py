"""The COVID-19 image data collection, in its later form (findings as paths) and its earlier one (as words)."""

from pathlib import Path

import pytest

from datasets.prepare.layouts.cohen import read as read_cohen
from datasets.prepare.layouts.film import LayoutError
from tests.datasets.public_films import read, table

COLUMNS = """
    patientid offset sex age finding RT_PCR_positive survival intubated intubation_present went_icu in_icu
    needed_supplemental_O2 extubated temperature pO2_saturation leukocyte_count neutrophil_count lymphocyte_count
    view modality date location folder filename doi url license clinical_notes other_notes
""".split()  # noqa: SIM905
COLUMNS.append("")  # the line ends in a comma
DEFAULTS = {
    "patientid": "1",
    "view": "PA",
    "modality": "X-ray",
    "folder": "images",
    "finding": "Pneumonia/Viral/COVID-19",
}


def write(src: Path, *rows: dict[str, str]) -> None:
    complete = [DEFAULTS | {"filename": f"{number}.jpg"} | row for number, row in enumerate(rows)]
    table(src / "metadata.csv", COLUMNS, [[row.get(name, "") for name in COLUMNS] for row in complete])


def test_a_film_keeps_what_is_known_of_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "patientid": "360a",
            "sex": "F",
            "age": "52.0",
            "view": "AP Supine",
            "location": "Changhua, Taiwan ",
            "url": "https://radiopaedia.org/cases/1",
            "license": "CC BY-NC-SA",
            "clinical_notes": "a note that names more than is needed",
        },
    )
    (film,), left_out = read("cohen", tmp_path)
    assert not left_out
    assert (film.file, film.label, film.source, film.patient_id) == (
        "images/0.jpg",
        "covid",
        "radiopaedia",
        "cohen_360a",
    )
    assert (film.view, film.sex, film.age, film.licence) == ("AP SUPINE", "F", "52", "CC BY-NC-SA")
    assert (film.location, film.origin) == ("Changhua, Taiwan", "metadata.csv line 2")
    assert "note" not in "".join(film)


@pytest.mark.parametrize(
    ("finding", "label"),
    [
        ("Pneumonia/Viral/COVID-19", "covid"),
        ("COVID-19, ARDS", "covid"),
        ("COVID-19", "covid"),
        ("Pneumonia/Bacterial/Staphylococcus/MRSA", "pneumonia"),
        ("Pneumonia/Viral/Herpes ", "pneumonia"),
        ("Pneumonia", "pneumonia"),
        ("SARS", "pneumonia"),
        ("Mycoplasma Bacterial Pneumonia", "pneumonia"),
        ("No Finding", "normal"),
        ("Tuberculosis", "other"),
        ("ARDS", "other"),
    ],
)
def test_labels(tmp_path: Path, finding: str, label: str) -> None:
    write(tmp_path, {"finding": finding})
    assert read("cohen", tmp_path)[0][0].label == label


@pytest.mark.parametrize(
    ("url", "doi", "source"),
    [
        ("https://www.eurorad.org/case/16724", "", "eurorad"),
        ("https://www.sirm.org/en/2020/03/08/covid-19-caso-1/", "", "sirm"),
        ("https://app.figure1.com/rd/images/5e7", "", "figure1"),
        ("https://github.com/ml-workgroup/covid-19-image-repository/tree/master/png", "", "hannover"),
        ("https://www.nejm.org/doi/full/10.1056/NEJMc2001573", "10.1056/NEJMc2001573", "journals"),
        ("https://radiologyassistant.nl/chest/covid-19", "", "radiologyassistant.nl"),
        ("", "", "cohen (unstated)"),
        ("=HYPERLINK(1)", "", "cohen (unstated)"),
        ("http://[", "", "cohen (unstated)"),
        ("https://radiopaedia.org.evil.example/", "", "radiopaedia"),
    ],
)
def test_sources(tmp_path: Path, url: str, doi: str, source: str) -> None:
    write(tmp_path, {"url": url, "doi": doi})
    assert read("cohen", tmp_path)[0][0].source == source


def test_what_is_no_frontal_film_with_a_finding_is_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"view": "L"},
        {"view": "Axial", "modality": "CT", "folder": "volumes", "filename": "1.nii.gz"},
        {"view": "Coronal"},
        {"finding": "todo"},
        {"finding": "Unknown"},
        {"finding": ""},
        {"filename": ""},
        {"patientid": ""},
    )
    films, left_out = read("cohen", tmp_path)
    assert not films
    assert list(left_out.values()) == [
        "lateral view",
        "CT, not a radiograph",
        "CT, not a radiograph",
        *["finding not filled in"] * 3,
        "no file is named",
        "no patient is named",
    ]


@pytest.mark.parametrize(("view", "said"), [("", ""), ("W STD", "view W STD"), ("unknown", ""), ("=1", "view '=1")])
def test_a_view_that_is_not_understood_leaves_no_film_out(tmp_path: Path, view: str, said: str) -> None:
    write(tmp_path, {"view": view})
    (film,), left_out = read("cohen", tmp_path)
    assert not left_out and (film.view, film.not_understood) == ("", said)


def test_texts_of_the_table_are_no_formulas(tmp_path: Path) -> None:
    write(tmp_path, {"location": "=cmd|' /C calc'!A0", "license": "@SUM(1)", "patientid": "=1+1"})
    (film,), _ = read("cohen", tmp_path)
    assert (film.location[0], film.licence[0], film.patient_id) == ("'", "'", "cohen_'=1+1")


def test_another_table_of_that_name_is_refused(tmp_path: Path) -> None:
    table(tmp_path / "metadata.csv", ("path", "label", "source"), [("a.png", "covid", "x")])
    with pytest.raises(LayoutError, match=r"metadata.csv lacks the column patientid; it has path"):
        list(read_cohen(tmp_path))
