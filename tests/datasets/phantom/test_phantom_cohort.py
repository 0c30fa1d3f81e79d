from typing import Any

import numpy as np
import pandas as pd
import pytest

from datasets.cohort.films import Cohort, CohortError
from datasets.film.preprocessing import Preprocessing
from datasets.phantom.cohort import FILM_SIZE, PhantomFilms, load_phantom

PREPROCESSING = Preprocessing(32)


def load(**options: Any) -> Cohort:
    return load_phantom(PREPROCESSING, **options)


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return load(rho=0.95, films=1600, seed=3)


def part(cohort: Cohort, split: str) -> pd.DataFrame:
    return cohort.table[cohort.table["split"] == split]


def test_sizes_of_the_splits(cohort: Cohort) -> None:
    expected = {"train": 1600, "validation": 400, "test": 1000, "external": 600}
    assert cohort.table["split"].value_counts().to_dict() == expected
    assert len(part(load(films=200), "train")) == 200
    assert len(part(load(films=200), "validation")) == 50


def test_it_says_that_it_is_synthetic(cohort: Cohort) -> None:
    assert cohort.info.synthetic
    assert any("SYNTHETIC" in note for note in cohort.notes)
    assert cohort.films is not None
    assert cohort.films.read(0).facts["synthetic"] is True


def test_targets_and_biases_have_the_names_of_their_films(cohort: Cohort) -> None:
    table, info = cohort.table, cohort.info
    assert info.targets == ("not covid", "covid") and info.positive == 1
    assert ((table["target"] == 1) == (table["label"] == "covid")).all()
    assert {"covid", "pneumonia", "normal"} == set(table["label"])
    assert [info.biases[b] for b in table["bias"]] == table["source"].tolist()
    assert [info.targets[t] for t in table["target"]] == table["target_name"].tolist()


def test_patients_and_hospitals_are_apart(cohort: Cohort) -> None:
    assert (cohort.table.groupby("patient")["split"].nunique() == 1).all()
    assert cohort.table["row"].is_unique
    at_home = set(part(cohort, "train")["source"])
    assert len(at_home) >= 3
    assert at_home == set(part(cohort, "test")["source"]) == set(part(cohort, "validation")["source"])
    assert not at_home & set(part(cohort, "external")["source"])


@pytest.mark.trains
@pytest.mark.parametrize("rho", [0.5, 0.9, 1.0])
def test_label_follows_hospital_with_rho_in_training_only(rho: float) -> None:
    cohort = load(rho=rho, seed=5)
    own = part(load(rho=1.0, seed=5), "train").groupby("source")["target"].first()
    for split, expected in (("train", rho), ("validation", rho), ("test", 0.5)):
        films = part(cohort, split)
        follows = (films["target"] == films["source"].map(own)).mean()
        # three standard deviations of patients with up to two films
        assert follows == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) * 2 / len(films)) + 1e-9)


def test_each_class_is_as_common_in_every_split(cohort: Cohort) -> None:
    assert cohort.table.groupby("split")["target"].mean().to_numpy() == pytest.approx(0.5, abs=0.02)


@pytest.mark.trains
def test_films_are_a_function_of_their_place(cohort: Cohort) -> None:
    from tests.drawn_once import draw as read  # anew

    again, other = load(rho=0.95, seed=3), load(rho=0.95, seed=4)
    assert cohort.films is not None and again.films is not None and other.films is not None
    pixels = read(cohort.films, 7).pixels
    assert pixels.shape == (FILM_SIZE, FILM_SIZE)
    assert np.array_equal(pixels, read(again.films, 7).pixels) and np.array_equal(pixels, cohort.films.read(7).pixels)
    assert not np.array_equal(pixels, read(other.films, 7).pixels)
    assert not np.array_equal(pixels, read(cohort.films, 8).pixels)


def test_fingerprints_tell_films_apart(cohort: Cohort) -> None:
    assert cohort.films is not None
    prints = [cohort.films.fingerprint(position) for position in range(len(cohort.table))]
    assert len(set(prints)) == len(prints)
    moved = load(rho=0.5, seed=3)
    assert moved.films is not None
    for position in range(200):
        same = cohort.table.loc[position, ["row", "label", "source"]].equals(
            moved.table.loc[position, ["row", "label", "source"]]
        )
        assert (moved.films.fingerprint(position) == prints[position]) == same
    sick, well = (PhantomFilms(3, [0], [label], ["north"]).fingerprint(0) for label in ("covid", "normal"))
    assert sick != well
    assert PhantomFilms(4, [0], ["covid"], ["north"]).fingerprint(0) != sick


def test_samples_of_a_few_films() -> None:
    cohort = load(films=50).cached("none")
    batch = cohort.samples().__getitems__([0, 3])
    assert batch.image.shape == (2, 1, 32, 32)
    assert batch.row.tolist() == cohort.table["row"].iloc[[0, 3]].tolist()
    assert batch.target.tolist() == cohort.table["target"].iloc[[0, 3]].tolist()


@pytest.mark.parametrize("options", [{"rho": 1.2}, {"rho": -0.1}, {"seed": -1}, {"films": 1}, {"films": -8}])
def test_impossible_settings(options: dict[str, Any]) -> None:
    (value,) = options.values()
    with pytest.raises(CohortError, match=str(value)):
        load(**options)


@pytest.mark.parametrize("column", ["source", "view", "sex", "age_band"])
def test_any_column_may_be_external_with_whole_patients(column: str) -> None:
    everything = load(films=400, rho=0.7).table
    name = everything[column].mode()[0]
    table = load(films=400, rho=0.7, external_sources=(name,), external_column=column).table
    assert ((table["split"] == "external") == (table[column] == name)).all()
    assert (table.groupby("patient")["split"].nunique() == 1).all()
    assert set(table["row"][table["split"] == "external"]) == set(everything["row"][everything[column] == name])
