"""Every film is hashed once, whatever happens between runs, and copies of different patients are named with their rows."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from datasets.cohort import copies
from datasets.cohort.copies import HASHES, copies_across_patients, hashed
from datasets.film.policy import DicomPolicy
from datasets.film.radiograph import Radiograph, RadiographError
from tests.datasets.public_films import png


def cohort(root: Path, films: int = 6) -> pd.DataFrame:
    """Films 0 to n - 1; the last is a small JPEG of the first, the one before a second film of its patient."""
    for number in range(films):
        png(root / f"{number}.png", number)
    first = Image.open(root / "0.png")
    first.resize((64, 64), Image.Resampling.NEAREST).save(root / f"{films - 1}.png")
    first.save(root / f"{films - 2}.png")
    table = pd.DataFrame({"path": [f"{number}.png" for number in range(films)]})
    table["patient_id"] = [f"p{number}" for number in range(films - 2)] + ["p0", "q"]
    return table.assign(dataset="set", source=["a", "b"] * (films // 2), label="covid")


def test_copies_of_other_patients_are_named_by_line(tmp_path: Path) -> None:
    table = cohort(tmp_path)
    bits, problems = hashed(tmp_path, table["path"].tolist(), 2, lambda: None)
    found = copies_across_patients(table, bits)
    assert not problems
    assert found[["line_1", "line_2"]].to_numpy().tolist() == [[2, 7], [6, 7]]  # films 0 and 5, 4 and 5; not 0 and 4
    assert found.iloc[0][["path_1", "path_2", "source_1", "source_2"]].tolist() == ["0.png", "5.png", "a", "b"]


def test_hashes_are_kept_until_a_film_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, read = cohort(tmp_path), []
    paths = table["path"].tolist()
    real = copies.read_radiograph
    monkeypatch.setattr(copies, "read_radiograph", lambda file, policy: (read.append(file.name), real(file))[1])
    first, _ = hashed(tmp_path, paths[:4], 1, lambda: None)
    assert read == paths[:4]
    steps: list[int] = []
    second, _ = hashed(tmp_path, paths, 1, lambda: steps.append(1))
    assert read == paths and (second[:4] == first).all() and len(steps) == len(paths)
    png(tmp_path / "1.png", 99)
    changed, _ = hashed(tmp_path, paths, 1, lambda: None)
    assert read == [*paths, "1.png"] and (changed[1] != first[1]).any()


@pytest.mark.parametrize("damage", [b"", b"path,stamp\n", b"\xff", b'path,stamp,hash\n"', None])
def test_a_damaged_file_of_hashes_costs_no_more_than_what_is_damaged(
    tmp_path: Path, damage: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = cohort(tmp_path)["path"].tolist()
    whole, _ = hashed(tmp_path, paths, 1, lambda: None)
    file = tmp_path / HASHES
    file.write_bytes(file.read_bytes()[:-40] if damage is None else damage)
    again, problems = hashed(tmp_path, paths, 1, lambda: None)
    assert (again == whole).all() and not problems
    monkeypatch.delattr(copies, "read_radiograph")  # from now on no film is read
    third, _ = hashed(tmp_path, paths, 1, lambda: None)
    assert (third == whole).all()


def test_a_film_that_cannot_be_read_has_a_reason_and_no_copy(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no film")
    for _ in range(2):
        bits, problems = hashed(tmp_path, ["a.png", "b.png"], 1, lambda: None)
        assert not bits.any() and problems == {0: "can't be read: not a film", 1: "can't be read: not a film"}


def test_a_film_that_is_gone_is_one_that_cannot_be_read(tmp_path: Path) -> None:
    paths = cohort(tmp_path)["path"].tolist()
    hashed(tmp_path, paths, 1, lambda: None)
    (tmp_path / paths[2]).unlink()
    bits, problems = hashed(tmp_path, paths, 1, lambda: None)
    assert problems == {2: "can't be read: unreadable"} and not bits[2].any() and bits[3].any()


def test_a_film_that_could_not_be_read_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(file: Path, policy: DicomPolicy) -> Radiograph:
        raise RadiographError("the file can't be opened: Permission denied", reason="unreadable")

    paths = cohort(tmp_path)["path"].tolist()
    with monkeypatch.context() as patch:
        patch.setattr(copies, "read_radiograph", refused)
        assert len(hashed(tmp_path, paths, 1, lambda: None)[1]) == len(paths)
    bits, problems = hashed(tmp_path, paths, 1, lambda: None)
    assert not problems and bits.any(axis=1).all()
