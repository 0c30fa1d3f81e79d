"""What a user is told of a table before training: patients written in two ways, films named twice, ages."""

from pathlib import Path

import pytest

from datasets.cohort.films import CohortError
from datasets.cohort.label_words import BINARY
from datasets.covid import load_unseen
from datasets.sample import DatasetInfo
from tests.datasets.test_covid import PREPROCESSING, good, load, write

INFO = DatasetInfo("covid", BINARY, ("north",), "source", 1, False)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        (("12.0", "12", "3.0"), 1), (("cohen_2", "cohen_2.0", "3"), 1), (("000812", "812", "81"), 1),
        (("AB-0012", "ab-12", "12"), 1), (("P 7", "p7", "17"), 1),
        (("12.0", "3.0", "12.5"), 0), (("A.0", "A", "1"), 0), (("1.05", "1.5", "15"), 0), (("1 12", "11 2", "112"), 0),
        (("10", "1", "100"), 0),
    ],
)  # fmt: skip
def test_patients_that_seem_to_be_written_in_two_ways_are_told(
    tmp_path: Path, numbers: tuple[str, ...], told: int
) -> None:
    records = good()
    for record, number in zip(records[4:], numbers, strict=False):
        record["patient_id"] = number
    cohort = load(write(tmp_path, records))
    notes = [note for note in cohort.notes if "in two ways" in note]
    assert len(notes) == told and all(
        "1 patient(s)" in note and "(lines 6, 7 of metadata.csv)" in note for note in notes
    )
    assert set(numbers) <= set(cohort.table["patient"]), "a name stays as it is written"


def test_another_cohort_is_told_what_a_training_is(tmp_path: Path) -> None:
    records = good()
    records[4]["label"], records[5]["path"], records[6]["path"] = "", "films/gone-5.png", "films/gone-6.png"
    for record in records:
        record["PatientID"] = record.pop("patient_id")
    root = write(tmp_path, records)
    for number in (5, 6):
        (root / f"films/gone-{number}.png").unlink()
    notes = load_unseen(root, PREPROCESSING, INFO).notes
    (left_out,) = [note for note in notes if "left out" in note]
    assert left_out == (
        "3 rows are left out: 2 because its file does not exist (lines 7, 8 of metadata.csv); 1 because its label is empty "
        "(line 6 of metadata.csv)."
    )
    (patients,) = [note for note in notes if "has no patient_id" in note]
    assert patients.endswith("If its column PatientID names the patients, call it patient_id.")
    for record in records:
        record["patient_id"] = "2.01E+11"
    notes = load_unseen(write(tmp_path, records), PREPROCESSING, INFO).notes
    assert any("a spreadsheet rounded" in note for note in notes)


def test_a_film_again_with_another_label_is_told(tmp_path: Path) -> None:
    records = good()
    records += [records[0] | {"label": "normal"}, records[1]]
    cohort = load(write(tmp_path, records))
    assert cohort.excluded["reason"].tolist() == [
        "its file is already on line 2, with another label",
        "its file is already on line 3",
    ]
    assert any(
        note.startswith("1 film is named again, with another label (line 42 of metadata") for note in cohort.notes
    )


def test_ages_that_can_not_be_read_are_told_without_their_texts(tmp_path: Path) -> None:
    records = [record | {"age": "45"} for record in good()]
    for record, age in zip(
        records, ["inf", "-5", "Doe", "1e400", "", "n/a", "045Y", "40-49", "6 months", "200"], strict=False
    ):
        record["age"] = age
    (note,) = load(write(tmp_path, records)).notes
    assert note.startswith("The age of 6 films can't be read and counts as unknown (lines 2, 3, 4, 5, 10 and 1 more of")
    assert "Doe" not in note
    assert not load(write(tmp_path, [record | {"age": "45.0"} for record in good()])).notes


def test_numbers_that_a_spreadsheet_rounded_are_told(tmp_path: Path) -> None:
    records = good()
    assert not any("rounded" in note for note in load(write(tmp_path, records)).notes)
    for record in records[6:9]:
        record["patient_id"] = "2.0240101E+11"
    (note,) = [note for note in load(write(tmp_path, records)).notes if "rounded" in note]
    assert note.startswith(
        "1 patient_id is a number that a spreadsheet rounded (2.0240101E+11 on 3 lines, the first of them 8)"
    )
    for record in records:
        record["patient_id"] = "2,02E+11"
    with pytest.raises(CohortError, match=r"the films are of 1 patient\. 1 patient_id is a number .* rounded"):
        load(write(tmp_path, records))


@pytest.mark.parametrize("word", ["N/A", "nan", "-", "NULL", "Unknown"])
def test_words_for_not_known_are_no_hospital_and_no_patient(tmp_path: Path, word: str) -> None:
    records = good()
    records[1]["source"] = records[2]["patient_id"] = records[3]["patient_id"] = word
    cohort = load(write(tmp_path, records))
    assert cohort.excluded["reason"].tolist() == [f"its source is {word!r}, which names none"]
    assert any(note.startswith("2 films have no patient_id") for note in cohort.notes)


def test_damaged_cells_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path, good())
    table = folder / "metadata.csv"
    lines = table.read_bytes().splitlines(keepends=True)
    table.write_bytes(b"".join([*lines[:4], lines[4].replace(b"p3", b"\x00\x00"), *lines[5:]]))
    with pytest.raises(CohortError, match="line 5: NUL characters"):
        load(folder)
