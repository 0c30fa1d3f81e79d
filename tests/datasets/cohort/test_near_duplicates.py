"""Copies of a film under other names are found, other films are not, and who shares a copy stays together."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from datasets.cohort.films import Cohort
from datasets.cohort.near_duplicates import DISTANCE, hashes, joined_by_copies, near_duplicates
from datasets.covid import FilmFolder, load_covid
from datasets.film.preprocessing import Preprocessing
from datasets.phantom.film import film

SOURCES = ("north", "east", "west")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 films of three sources, each its own patient, and copies of the first: paler, smaller and as a JPEG."""
    root, rows = tmp_path_factory.mktemp("films"), []
    for number in range(48):
        label, source = ("covid", "normal")[number % 2], SOURCES[number // 2 % 3]
        image = Image.fromarray((film(5, 3 * number, label, source, 160).pixels * 255).astype(np.uint8))
        image.save(root / f"{number}.png")
        rows.append((f"{number}.png", label, source, f"p{number}"))
    first = Image.open(root / "0.png")
    ImageEnhance.Contrast(first).enhance(0.7).save(root / "paler.png")
    first.resize((100, 100)).save(root / "smaller.png")
    first.save(root / "again.jpg", quality=30)
    rows += [(name, "covid", "west", f"copy of {name}") for name in ("paler.png", "smaller.png", "again.jpg")]
    pd.DataFrame(rows, columns=["path", "label", "source", "patient_id"]).to_csv(root / "metadata.csv", index=False)
    return root


@pytest.mark.trains
def test_copies_are_found_and_nothing_else_is(folder: Path) -> None:
    paths = pd.read_csv(folder / "metadata.csv")["path"].tolist()
    bits = hashes(FilmFolder(folder, paths), len(paths))
    found = near_duplicates(bits)
    assert {*zip(found["first"], found["second"], strict=True)} == {
        (0, 48),
        (0, 49),
        (0, 50),
        (48, 49),
        (48, 50),
        (49, 50),
    }
    assert found["bits"].is_monotonic_increasing and found["bits"].max() <= DISTANCE
    apart = (bits[:, None] != bits[None]).sum(-1)
    assert (found["bits"] == apart[found["first"], found["second"]]).all()


def test_a_film_that_cannot_be_read_is_nobodys_copy(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no film")
    bits = hashes(FilmFolder(tmp_path, ["a.png", "b.png"]), 2)
    assert not bits.any() and near_duplicates(bits).empty


def test_distances_do_not_depend_on_the_block_they_fall_into(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = np.random.default_rng(0).random((40, 256)) < 0.5
    bits[31] = bits[2]
    monkeypatch.setattr("datasets.cohort.near_duplicates.DISTANCE", 120)
    whole = near_duplicates(bits)
    monkeypatch.setattr("datasets.cohort.near_duplicates._ROWS", 7)
    pd.testing.assert_frame_equal(near_duplicates(bits), whole)
    assert whole.iloc[0].tolist() == [2, 31, 0] and len(whole) > 20


def test_patients_who_share_a_copy_are_joined_through_others() -> None:
    patient = pd.Series(["a", "a", "b", "c", "d", "e"], index=[3, 4, 5, 6, 7, 8])
    pairs = pd.DataFrame({"first": [1, 2], "second": [2, 3]})
    assert joined_by_copies(patient, pairs).tolist() == ["a", "a", "a", "a", "d", "e"]
    assert joined_by_copies(patient, pairs.iloc[:0]).tolist() == patient.tolist()


def splits_of_copies(cohort: Cohort) -> pd.Series:
    table = cohort.table
    return table["split"][table["path"].isin(["0.png", "paler.png", "smaller.png", "again.jpg"])]


def test_copies_stay_in_one_split_and_are_reported(folder: Path) -> None:
    together = [load_covid(folder, Preprocessing(32), split_seed=seed, separate_copies=True) for seed in range(3)]
    assert all(splits_of_copies(cohort).nunique() == 1 for cohort in together)
    assert any(
        splits_of_copies(load_covid(folder, Preprocessing(32), split_seed=seed)).nunique() > 1 for seed in range(3)
    )
    assert "6 pairs of films of different patients are near-copies" in together[0].notes[0]
    assert "lines 2 and" in together[0].notes[0]


def test_a_copy_of_an_external_film_is_left_out_of_training(folder: Path) -> None:
    cohort = load_covid(folder, Preprocessing(32), external_sources=("west",), separate_copies=True)
    assert "0.png" not in set(cohort.table["path"]) and len(cohort.table) == 50
    assert cohort.excluded["row"].tolist() == [0] and "shares a copy" in cohort.excluded["reason"].iloc[0]


def test_no_copies_is_said_too(folder: Path, tmp_path: Path) -> None:
    table = pd.read_csv(folder / "metadata.csv").head(48)
    for path in table["path"]:
        (tmp_path / path).write_bytes((folder / path).read_bytes())
    table.to_csv(tmp_path / "metadata.csv", index=False)
    cohort = load_covid(tmp_path, Preprocessing(32), separate_copies=True)
    assert cohort.notes == ("No film is a near-copy of another patient's (perceptual hash of 48 films).",)
