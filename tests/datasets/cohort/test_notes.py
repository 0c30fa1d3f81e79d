"""What a user is told of a table before training: patients written in two ways, films named twice, ages."""

from pathlib import Path

import pytest

from tests.datasets.test_covid import good, load, write


@pytest.mark.parametrize(
    ("numbers", "told"), [(("12.0", "12", "3.0"), 1), (("12.0", "3.0", "12.5"), 0), (("A.0", "A", "1"), 0)]
)
def test_numbers_with_and_without_a_point_are_told(tmp_path: Path, numbers: tuple[str, ...], told: int) -> None:
    records = good()
    for record, number in zip(records[4:], numbers, strict=False):
        record["patient_id"] = number
    cohort = load(write(tmp_path, records))
    notes = [note for note in cohort.notes if "without on others" in note]
    assert len(notes) == told and all(
        "1 patient(s)" in note and "(lines 6, 7 of metadata.csv)" in note for note in notes
    )
    assert set(numbers) <= set(cohort.table["patient"]), "a name stays as it is written"


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
