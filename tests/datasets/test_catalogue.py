from pathlib import Path
from typing import Any

import pytest

from datasets import catalogue
from datasets.catalogue import load_cohort
from datasets.cohort.films import CohortError
from datasets.film.policy import DEFAULT
from datasets.film.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(32, 3)


@pytest.mark.parametrize(
    ("name", "loader", "given", "passed"),
    [
        (
            "covid", "load_covid",
            {"data_dir": Path("d"), "classes": ("covid", "normal"), "external_sources": ("x",), "split_seed": 3,
             "separate_copies": True, "external_column": "view", "words": {"no finding": "normal"}},
            ((Path("d"), PREPROCESSING, ("covid", "normal"), ("x",), 3, True, DEFAULT, "view", {"no finding": "normal"}), {}),
        ),
        (
            "phantom", "load_phantom", {},
            ((PREPROCESSING,), {"seed": 0, "external_sources": (), "external_column": "source"}),
        ),
        (
            "phantom", "load_phantom", {"rho": 0.0, "films": 80, "split_seed": 2, "external_sources": ("hill",)},
            ((PREPROCESSING,), {"rho": 0.0, "films": 80, "seed": 2, "external_sources": ("hill",),
                                "external_column": "source"}),
        ),
        (
            "biased-mnist", "load_biased_mnist", {"data_dir": Path("d"), "rho": 1.0, "split_seed": 2},
            ((PREPROCESSING,), {"data_dir": Path("d"), "rho": 1.0, "seed": 2}),
        ),
    ],
)  # fmt: skip
def test_settings_reach_their_dataset(
    monkeypatch: pytest.MonkeyPatch, name: str, loader: str, given: dict[str, Any], passed: object
) -> None:
    monkeypatch.setattr(catalogue, loader, lambda *values, **named: (values, named))
    assert load_cohort(name, PREPROCESSING, **given) == passed


@pytest.mark.parametrize(("name", "words"), [("covid", "--data-dir"), ("mnist", "no dataset 'mnist'")])
def test_nothing_to_load(name: str, words: str) -> None:
    with pytest.raises(CohortError, match=words):
        load_cohort(name, PREPROCESSING)
