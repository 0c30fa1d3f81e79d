"""The gap between sources against fairlearn and counting, and its difference between two models."""

import math

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import equalized_odds_difference

from training.bias.numbers.compare import CompareError
from training.bias.numbers.metrics import read_films, swapped_difference
from training.bias.numbers.source_gap import _gap, _sources, source_gap, source_gap_difference, source_gap_p


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


def test_p_is_uniform_without_a_difference_and_small_with_one() -> None:
    """Two models of one kind whose errors are their own differ by chance alone."""
    p = np.array([source_gap_p(films(1.0, s), films(1.0, s).assign(**other(1.0, s)), "covid", 200) for s in range(80)])
    assert 0.35 < p.mean() < 0.65 and (p < 0.05).mean() <= 0.12
    assert source_gap_p(films(2.5, 3), films(2.5, 3).assign(**other(0.0, 3)), "covid", 400) < 0.05
    assert source_gap_p(films(1.0), films(1.0), "covid", 100) == 1


def other(shift: float, seed: int) -> dict[str, np.ndarray]:
    """Predictions of another model for the same films."""
    table = films(1.0, seed)
    positive, rng = table["target"] == "covid", np.random.default_rng(seed + 1000)
    margin = 2 * (positive - 0.5) + shift * (table["source"] == "north") + rng.normal(size=len(table))
    score = (1 / (1 + np.exp(-margin))).to_numpy()
    return {"score": score, "prediction": np.where(score >= 0.5, "covid", "none")}


def test_the_p_is_of_the_difference_whose_interval_is_shown() -> None:
    """Swapping every patient turns the difference; swapping none leaves the one of `source_gap_difference`."""
    first, second = films(2.0, 5), films(2.0, 5).assign(**other(0.5, 5))
    gaps = [source_gap(table, read_films(table, "covid"), "covid") for table in (first, second)]
    assert gaps[0] is not None and gaps[1] is not None
    sources = _sources(first, "covid")
    swap = swapped_difference(_gap(read_films(first, "covid"), sources, read_films(second, "covid")))
    ones = np.ones((len(first), 1))
    expected = source_gap_difference(first, second, "covid", 10).estimate
    assert swap(0 * ones)[0, 0] == pytest.approx(expected) and swap(ones)[0, 0] == pytest.approx(-expected)


def test_without_two_sources_of_enough_patients_there_is_none() -> None:
    table = films(1.0, count=40).assign(source="north")
    assert math.isnan(source_gap_difference(table, table, "covid").estimate)
    assert math.isnan(source_gap_difference(table, table, None).estimate)
    assert math.isnan(source_gap_p(table, table, "covid")) and math.isnan(source_gap_p(table, table, None))
    with pytest.raises(CompareError):
        source_gap_difference(table, films(0.0, count=30), "covid")
