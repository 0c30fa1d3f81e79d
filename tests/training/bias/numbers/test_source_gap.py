"""The gap between sources against fairlearn and counting, and its difference between two models."""

import math

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import equalized_odds_difference

from training.bias.numbers.compare import CompareError
from training.bias.numbers.metrics import read_films
from training.bias.numbers.source_gap import source_gap, source_gap_difference


def films(shift: float, seed: int = 0, count: int = 600) -> pd.DataFrame:
    """One film a patient; films of `north` are called covid more often, the more so the larger `shift`."""
    rng = np.random.default_rng(seed)
    target, source = rng.integers(0, 2, count), rng.choice(["north", "east", "south"], count)
    score = 1 / (1 + np.exp(-(2 * (target - 0.5) + shift * (source == "north") + rng.normal(size=count))))
    return pd.DataFrame(
        {
            "file": [f"f{i}" for i in range(count)],
            "patient": [f"p{i}" for i in range(count)],
            "source": source,
            "target": np.where(target == 1, "covid", "none"),
            "score": score,
            "prediction": np.where(score >= 0.5, "covid", "none"),
        }
    )


def test_it_is_fairlearn_s_equalised_odds_difference() -> None:
    table = films(1.0)
    gap = source_gap(table, read_films(table, "covid"), "covid")
    assert gap is not None
    expected = equalized_odds_difference(
        table["target"] == "covid", table["prediction"] == "covid", sensitive_features=table["source"]
    )
    assert gap(np.ones((len(table), 1)))[0, 0] == pytest.approx(expected)


def test_a_model_that_treats_sources_alike_has_a_smaller_gap() -> None:
    biased, fair = films(2.0), films(0.0)
    found = source_gap_difference(biased, fair.sample(frac=1, random_state=1), "covid", 300)
    assert found.low <= found.estimate <= found.high < 0
    turned = source_gap_difference(fair, biased, "covid", 300)
    assert turned.estimate == pytest.approx(-found.estimate) and turned.low == pytest.approx(-found.high)
    same = source_gap_difference(biased, biased, "covid", 100)
    assert tuple(same) == (0, 0, 0)


def test_the_interval_holds_the_true_difference() -> None:
    """The truth is that of a cohort of a hundred times as many patients."""
    big = [films(shift, 99, 60_000) for shift in (2.0, 0.5)]
    truth = source_gap_difference(*big, "covid", 10).estimate  # type: ignore[misc]
    held = [
        found.low <= truth <= found.high
        for seed in range(60)
        for found in [source_gap_difference(films(2.0, seed), films(0.5, seed), "covid", 200)]
    ]
    assert np.mean(held) >= 0.85


def test_without_two_sources_of_enough_patients_there_is_none() -> None:
    table = films(1.0, count=40).assign(source="north")
    assert math.isnan(source_gap_difference(table, table, "covid").estimate)
    assert math.isnan(source_gap_difference(table, table, None).estimate)
    with pytest.raises(CompareError):
        source_gap_difference(table, films(0.0, count=30), "covid")
