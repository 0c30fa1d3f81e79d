"""Columns that training must not use, in place of the source alone: their values, codes, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

from datasets.cohort.attributes import as_trained, check_attributes, with_attributes
from datasets.cohort.films import Cohort, CohortError
from datasets.film.preprocessing import Preprocessing
from datasets.sample import Attribute, DatasetInfo

FILMS = 24


def cohort() -> Cohort:
    source = np.arange(FILMS) % 3
    table = pd.DataFrame(
        {
            "row": np.arange(FILMS),
            "patient": [f"p{i}" for i in range(FILMS)],
            "label": "x",
            "source": np.array(["a", "b", "c"])[source],
            "split": ["train"] * 20 + ["test"] * 4,
            "target": np.arange(FILMS) % 2,
            "target_name": np.array(["no", "yes"])[np.arange(FILMS) % 2],
            "bias": source,
            "view": ["PA", "pa ", "AP", ""] * 6,
            "age": ["40", "41", "55", "unknown"] * 6,
            "device": ["one"] * FILMS,
            "number": np.arange(FILMS).astype(str),
            "score": ["0"] * 12 + ["1"] * 12,
            "empty": "",
        }
    )
    info = DatasetInfo("covid", ("no", "yes"), ("a", "b", "c"), "source", 1, synthetic=True)
    return Cohort(info, table, Preprocessing(8, 1), images=torch.zeros(FILMS, 1, 8, 8, dtype=torch.uint8))


def test_the_source_alone_leaves_the_cohort_as_it_is() -> None:
    plain = cohort()
    assert with_attributes(plain, {"source": 1.0}) is plain
    assert plain.info.attributes == plain.info.unwanted == (Attribute("source", ("a", "b", "c")),)
    np.testing.assert_array_equal(plain.bias, plain.table["bias"])
    assert list(plain.values(plain.info.attributes[0])) == list(plain.table["source"])


def test_several_give_each_film_a_row_of_indices() -> None:
    found = with_attributes(cohort(), {"view": 1.0, "source": 0.5})
    assert found.info.named == (Attribute("view", ("AP", "PA", "unknown")), Attribute("source", ("a", "b", "c"), 0.5))
    assert found.bias.shape == (FILMS, 2)
    np.testing.assert_array_equal(found.bias[:4, 0], [1, 1, 0, 2])
    np.testing.assert_array_equal(found.bias[:, 1], found.table["bias"])
    batch = found.samples().__getitems__([2, 3])
    assert batch.bias.tolist() == [[0, 2], [2, 0]]
    assert list(found.table["view"][:4]) == ["PA", "PA", "AP", ""]  # what is not recorded stays empty, for the audit


def test_one_other_than_the_source_has_one_index_a_film() -> None:
    found = with_attributes(cohort(), {"view": 1.0})
    assert found.bias.shape == (FILMS,)
    assert found.samples().__getitems__([0, 2, 3]).bias.tolist() == [1, 0, 2]
    assert found.info.biases == ("a", "b", "c") and list(found.table["bias"][:4]) == [0, 1, 2, 0]  # sources stay


def test_weight_0_is_measured_and_never_read() -> None:
    found = with_attributes(cohort(), {"source": 0.0, "view": 1.0, "device": 0.0})
    assert [a.name for a in found.info.attributes] == ["source", "view", "device"]
    assert [a.name for a in found.info.unwanted] == ["view"]
    assert found.bias.shape == (FILMS,)


def test_age_bands_follow_from_ages() -> None:
    (attribute,) = with_attributes(cohort(), {"age_band": 1.0}).info.named
    assert attribute.values == ("40-49", "50-59", "unknown")


def test_parts_of_the_cohort_keep_their_codes() -> None:
    whole = with_attributes(cohort(), {"source": 1.0, "view": 1.0})
    np.testing.assert_array_equal(whole.part([5, 2, 7]).bias, whole.bias[[5, 2, 7]])


def test_each_attribute_is_checked_on_training_films() -> None:
    checks = check_attributes(with_attributes(cohort(), {"source": 1.0, "view": 1.0, "device": 0.0}), 8)
    assert list(checks) == ["source", "view", "device"]
    assert checks["view"].table.index.name == "view" and checks["view"].table.to_numpy().sum() == 20
    assert (
        checks["device"].verdict == "not identifiable"
        and "No label comes from two devices" in checks["device"].sentence
    )


@pytest.mark.parametrize(
    "name, message",
    [
        ("ward", r"--bias: column ward: there is no such column; choose from .*, source, view"),
        ("label", "--bias: column label: its values are no groups"),
        ("age", "--bias: column age has 3 values for 24 films, too many for groups: take age_band"),
        ("number", "--bias: column number has 24 values for 24 films"),
        ("score", "--bias: column score has the name of a result"),
        ("empty", "--bias: column empty is empty for every film"),
    ],
)
def test_what_are_no_groups_of_films_is_refused(name: str, message: str) -> None:
    with pytest.raises(CohortError, match=message):
        with_attributes(cohort(), {"source": 1.0, name: 1.0})


def test_another_cohort_takes_the_spelling_of_the_training() -> None:
    known = [Attribute("view", ("Pa", "ap", "unknown")), Attribute("ward", ("x",)), Attribute("age_band", ("40-49",))]
    found = as_trained(cohort(), known).table
    assert list(found["view"][:4]) == ["Pa", "Pa", "ap", ""] and "ward" not in found
    assert list(found["age_band"][:4]) == ["40-49", "40-49", "50-59", ""]


def test_another_training_of_the_same_films_is_told_anew() -> None:
    first = with_attributes(cohort(), {"source": 1.0, "view": 1.0})
    assert with_attributes(first, {"source": 1.0, "view": 1.0}) is first
    assert [a.weight for a in with_attributes(first, {"source": 1.0, "view": 0.0}).info.named] == [1, 0]
    assert with_attributes(first, {"source": 1.0}).info == cohort().info
