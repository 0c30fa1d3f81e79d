"""The repository of Hannover Medical School."""

from pathlib import Path

from tests.datasets.public_films import read, table

COLUMNS = """
    patient_id image_id sex age size weight admission_offset icu_admission_offset icu_release_offset death_offset
    modality projection crp_offset crp_val
""".split()  # noqa: SIM905


def test_every_frontal_film_is_covid(tmp_path: Path) -> None:
    rows = [
        ("042f06a9", "b343e657", "m", *[""] * 4, "0.0", "4.0", "", "CR", "ap", "0.0", "-inf"),
        ("04a33bab", "6b5af975", "w", "61", *[""] * 6, "DX", "pa", "", ""),
        ("04a33bab", "11111111", "w", *[""] * 7, "DX", "lateral", "", ""),
        ("04a33bab", "22222222", "w", *[""] * 7, "DX", "", "", ""),
        ("", "33333333", "w", *[""] * 7, "DX", "pa", "", ""),
        ("04a33bab", "", "w", *[""] * 7, "DX", "pa", "", ""),
    ]
    table(tmp_path / "data.csv", COLUMNS, rows)
    films, left_out = read("hannover", tmp_path)
    assert {(film.label, film.source, film.licence) for film in films} == {("covid", "hannover", "CC BY 3.0")}
    assert [(film.file, film.patient_id, film.view, film.sex, film.age) for film in films] == [
        ("png/b343e657.png", "hannover_042f06a9", "AP", "M", ""),
        ("png/6b5af975.png", "hannover_04a33bab", "PA", "F", "61"),
        ("png/22222222.png", "hannover_04a33bab", "", "F", ""),
    ]
    assert left_out == {
        "11111111.png": "lateral view",
        "33333333.png": "no patient is named",
        "data.csv line 7": "no file is named",
    }
    data = tmp_path / "data.csv"
    data.write_text("sep=,\n" + data.read_text(encoding="utf-8"), encoding="utf-8")
    again, left_out = read("hannover", tmp_path)
    assert [film.file for film in again] == [film.file for film in films] and "data.csv line 8" in left_out
