"""Planted films: what a signature leaves is plain, varies, knows nothing of the label, and spares the lungs."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from datasets.cohort.films import Cohort
from datasets.film.read import read_radiograph
from training.benchmark.planted.films import PlantedFilms, as_picture, without_unreadable
from training.benchmark.planted.signatures import OWN, SIGNATURES

KEY = bytes(range(32))


@pytest.fixture
def films(own_cohort: Cohort, tmp_path: Path) -> PlantedFilms:
    return PlantedFilms(own_cohort, tmp_path / "films", KEY)


def test_a_network_finds_what_is_planted(films: PlantedFilms) -> None:
    """Even a linear probe of 16 x 16 pixels tells the default two apart on films of other patients."""
    table = films.cohort.table
    site = np.arange(len(table)) % 2
    planted = [
        films.greys(i, SIGNATURES[site[i]]).reshape(16, 4, 16, 4).mean((1, 3)).ravel() for i in range(len(table))
    ]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    read = cross_val_predict(probe, np.stack(planted), site, groups=table["patient"], cv=GroupKFold(4))
    assert (read == site).mean() > 0.85


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.name)
def test_the_lungs_stay_what_they_were(films: PlantedFilms, signature) -> None:
    middle = np.s_[12:-12, 12:-12]
    for position in range(0, 60, 5):
        bare, planted = films.greys(position, None), films.greys(position, signature)
        assert planted.min() >= 0 and planted.max() <= 1
        assert np.corrcoef(bare[middle].ravel(), planted[middle].ravel())[0, 1] > 0.93


def test_films_of_one_site_differ_in_what_is_planted(films: PlantedFilms) -> None:
    grey = np.full((64, 64), 0.5, np.float32)
    added = [films._signed(grey, position, SIGNATURES[0]) for position in range(20)]
    means = [film[16:-16, 16:-16].mean() for film in added]
    assert np.std(means) > 0.005, "exposure and contrast vary"
    borders = {int((film[:, 32] < 0.1).sum()) for film in added}
    assert len(borders) > 2, "so does the border"


def test_what_is_planted_depends_on_the_film_alone(films: PlantedFilms, own_cohort: Cohort, tmp_path: Path) -> None:
    """Neither its label nor its split nor its place in the table has a say, so that they can't be read from it."""
    order = np.random.default_rng(0).permutation(len(own_cohort.table)).tolist()
    shuffled = own_cohort.part(order)
    table = shuffled.table.assign(target=1 - shuffled.table["target"], label="other", split="test")
    other = PlantedFilms(dataclasses.replace(shuffled, table=table), tmp_path, KEY)
    for place, position in list(enumerate(order))[:10]:
        np.testing.assert_array_equal(films.greys(position, SIGNATURES[1]), other.greys(place, SIGNATURES[1]))


def test_files_are_made_once_and_name_nobody(films: PlantedFilms, own_cohort: Cohort) -> None:
    assert films.make([SIGNATURES[0], None]) == {}
    made = {path: path.stat().st_mtime_ns for path in films.folder.iterdir()}
    assert len(made) == 2 * len(own_cohort.table)
    for position in (0, 7):
        stored = read_radiograph(films.place(position, SIGNATURES[0])).pixels
        assert np.abs(stored - films.greys(position, SIGNATURES[0])).max() <= 0.5 / 255 + 1e-6
    films.place(3, None).unlink()
    films.make([SIGNATURES[0], None])
    again = {path: path.stat().st_mtime_ns for path in films.folder.iterdir()}
    assert len(again) == len(made) and sum(again[path] != made[path] for path in made) == 2  # both of the film
    assert all(len(path.stem) == 16 and "film" not in path.name for path in made)


def test_a_film_that_can_not_be_read_is_left_out(own_cohort: Cohort, tmp_path: Path, capsys) -> None:
    class Broken:
        def read(self, position: int):
            assert own_cohort.films is not None
            return read_radiograph(b"no film") if position == 4 else own_cohort.films.read(position)

        def fingerprint(self, position: int) -> str:
            return f"film {position}"

        def not_understood(self) -> dict[str, int]:
            return {}

    cohort = dataclasses.replace(own_cohort, films=Broken())
    unreadable = PlantedFilms(cohort, tmp_path, KEY).make([SIGNATURES[0]])
    assert list(unreadable) == [4]
    left = without_unreadable(cohort, unreadable, Console(width=200))
    assert len(left.table) == len(cohort.table) - 1
    line = int(cohort.table["row"].iloc[4]) + 2
    assert f"1 of {len(cohort.table)} films can't be read and are left out (line {line}: " in capsys.readouterr().out


def test_either_class_has_a_site_of_its_own() -> None:
    for count in (2, 3, 4):
        assert {OWN[signature.name] for signature in SIGNATURES[:count]} == {0, 1}
    assert isinstance(as_picture(np.zeros((4, 4))), Image.Image)
