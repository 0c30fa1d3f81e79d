"""Groups of detectors: what joins them, what doesn't, and what is said of them."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from datasets.prepare.layouts.film import Film
from datasets.prepare.layouts.siim import READINGS
from datasets.prepare.sources import detector_groups, with_sources
from tests.datasets.prepare.archive import cells, film, prepare
from tests.datasets.public_films import SCANNER, dicom, table

Said = pytest.CaptureFixture[str]


def taken(patient: str, model: str, matrix: str = "10 x 10", maker: str = "Acme") -> Film:
    return Film("f", "covid", "", patient, "", manufacturer=maker, model=model, matrix=matrix)


def test_detectors_are_joined_by_patients_and_by_chains_of_them() -> None:
    films = [
        taken("p1", "A"), taken("p1", "B"), taken("p2", "B"), taken("p2", "C"),  # A - B - C
        taken("p3", "D"), taken("p4", "D"),
        taken("p5", "A", "20 x 20"), taken("p6", "", "", ""),
    ]  # fmt: skip
    names, groups = detector_groups(films)
    chain = "Acme B 10 x 10 and 2 more"
    assert names == [chain] * 4 + ["Acme D 10 x 10"] * 2 + ["Acme A 20 x 20", "not stated"]
    assert groups[chain] == ["Acme B 10 x 10", "Acme A 10 x 10", "Acme C 10 x 10"], "that of the most films first"
    assert len(groups) == 4


def test_groups_do_not_depend_on_the_order_of_films() -> None:
    films = [taken(f"p{n % 7}", f"M{n % 5}", f"{n % 3} x 1") for n in range(40)]
    assert detector_groups(films[::-1])[0][::-1] == detector_groups(films)[0]
    apart = [film._replace(patient_id=film.manufacturer + film.model) for film in films]
    assert detector_groups(apart[::-1])[0][::-1] == detector_groups(apart)[0] and len(detector_groups(apart)[1]) == 5


def test_what_groups_are_is_said() -> None:
    _, notes = with_sources([taken("p1", "A"), taken("p1", "B"), taken("p2", "C")], "detector")
    assert len(notes) == 1 and "2 groups of detectors" in notes[0] and "1 of them joined" in notes[0]
    assert "no named hospitals" in notes[0]
    cropped = [taken(f"p{n}", "A", f"{n} x 9") for n in range(5)]
    assert "tell detectors apart too finely. --source-tag model" in with_sources(cropped, "detector")[1][1]
    films, none = with_sources(cropped, "model")
    assert {film.source for film in films} == {"A"} and not none


def test_an_archive_that_names_no_hospital(tmp_path: Path, capsys: Said) -> None:
    src, out = tmp_path / "films", tmp_path / "out"
    machines = [replace(SCANNER, model=model) for model in "XYZ"]
    for number in range(12):  # patient 0 was filmed on X and on Y
        machine, patient = machines[number % 3], "both" if number in (0, 1) else None
        film(src / f"{number}.dcm", number, patient=patient, scanner=machine, drop=["InstitutionName"])
    (src / "readme.txt").write_text("no film: its rows and columns are not known")
    names = [f"{number}.dcm" for number in range(12)]
    pd.DataFrame({"file": names, "label": ["covid", "normal"] * 6}).to_csv(tmp_path / "labels.csv", index=False)
    where = ("--labels", tmp_path / "labels.csv", "--out", out, "--no-copies")
    prepare("dicom", src, *where, "--source-tag", "detector")
    assert cells(out / "metadata.csv")["source"].value_counts().to_dict() == {
        "Acme X 32 x 32 and 1 more": 8,
        "Acme Z 32 x 32": 4,
    }
    assert "They are like sites, and no named hospitals." in capsys.readouterr().out


def test_a_public_data_set_of_dicom_films_can_be_split_by_detector(tmp_path: Path) -> None:
    src = tmp_path / "siim"
    for number in range(6):
        dicom(src / f"train/s{number}/x/i{number}.dcm", number, patient=f"p{number}", side=(32, 64)[number % 2])
    table(src / "train_study_level.csv", ("id", *READINGS), [(f"s{n}_study", n < 3, n > 2, 0, 0) for n in range(6)])
    table(src / "train_image_level.csv", ("id", "StudyInstanceUID"), [(f"i{n}_image", f"s{n}") for n in range(6)])
    readings = pd.read_csv(src / "train_study_level.csv").replace({True: 1, False: 0})
    readings.to_csv(src / "train_study_level.csv", index=False)
    out = tmp_path / "out"
    prepare("siim", src, "--out", out, "--no-copies", "--source-tag", "detector")
    assert set(cells(out / "metadata.csv")["source"]) == {"Acme X1 32 x 32", "Acme X1 64 x 64"}
    prepare("siim", src, "--out", out, "--no-copies")
    assert set(cells(out / "metadata.csv")["source"]) == {"siim"}
