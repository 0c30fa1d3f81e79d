"""Predictive values against counting and exact coverage, net benefit against its definition."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from training.bias.numbers.groups import group_metrics
from training.bias.numbers.interval import NO_INTERVAL, Interval
from training.bias.numbers.metrics import read_films
from training.bias.numbers.proportions import ratio_interval
from training.bias.numbers.usefulness import THRESHOLDS, at_prevalence, decision_curve, net_benefit, predictive_values


def films(count: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    ill = rng.random(count) < 0.3
    score = np.clip(0.3 + 0.3 * ill + 0.15 * rng.normal(size=count), 0, 1)
    table = pd.DataFrame(
        {"patient": np.arange(count), "source": np.where(np.arange(count) < 380, "a", "b"), "score": score}
    )
    names = np.array(["not covid", "covid"], dtype=object)
    return table.assign(target=names[ill.astype(int)], prediction=names[(score >= 0.45).astype(int)])


def test_predictive_values_by_bayes() -> None:
    ppv, npv = predictive_values(np.array([0.9]), np.array([0.8]), 0.1)
    assert ppv[0] == pytest.approx(0.09 / 0.27) and npv[0] == pytest.approx(0.72 / 0.73)
    nobody = predictive_values(np.array([0.0]), np.array([1.0]), 0.1)
    assert np.isnan(nobody[0][0]) and nobody[1][0] == pytest.approx(0.9), "nothing is called positive: no PPV"
    rare, common = (predictive_values(np.array(0.9), np.array(0.9), share)[0] for share in (0.01, 0.5))
    assert rare < 0.1 < 0.89 < common


@pytest.mark.parametrize("shares", [(0.9, 0.1), (0.95, 0.02), (0.5, 0.2), (0.98, 0.5)])
@pytest.mark.parametrize("counts", [(10, 10), (20, 60), (200, 40)])
def test_the_interval_of_a_ratio_covers(shares: tuple[float, float], counts: tuple[int, int]) -> None:
    first, second = (part.ravel() for part in np.meshgrid(*(np.arange(n + 1) for n in counts), indexing="ij"))
    trials = [np.full(len(first), float(n)) for n in counts]
    low, high = ratio_interval(first / counts[0], trials[0], second / counts[1], trials[1])
    chance = binom.pmf(first, counts[0], shares[0]) * binom.pmf(second, counts[1], shares[1])
    truth = shares[0] / shares[1]
    assert 0.91 < chance[(low <= truth) & (truth <= high)].sum() < 0.99
    some = (first > 0) & (second > 0)
    assert (low[some] < high[some]).all() and (high[second == 0] == np.inf).all() and (low[first == 0] == 0).all()


def test_predictive_values_of_groups_have_intervals_with_a_width() -> None:
    perfect = films().assign(prediction=lambda table: table["target"])
    table = at_prevalence(group_metrics(perfect, "covid", ["source"], 100).values, 0.02).set_index("group")
    everything = table.loc["all films"]
    assert everything["ppv"] == everything["npv"] == 1 and everything["ppv_low"] < 0.9 < everything["ppv_high"]
    assert table.loc["b", ["ppv", "ppv_low", "npv", "npv_high"]].isna().all(), "too few patients with covid"


def test_net_benefit_is_that_of_its_definition() -> None:
    table = films()
    read = read_films(table, "covid")
    curve = decision_curve(read, np.zeros(len(table), int), 100).set_index("threshold")
    called, ill = table["score"] >= 0.4, table["target"] == "covid"
    assert curve.loc[0.4, "model"] == pytest.approx((called & ill).mean() - (called & ~ill).mean() * 0.4 / 0.6)
    assert curve.loc[0.4, "all"] == pytest.approx(ill.mean() - (~ill).mean() * 0.4 / 0.6)
    assert (curve["low"] <= curve["model"]).all() and (curve["model"] <= curve["high"]).all()
    assert list(curve.index) == THRESHOLDS.tolist()
    one = read_films(table.assign(score=ill.astype(float)), "covid")
    assert decision_curve(one, np.zeros(len(table), int), 100)["model"].to_numpy() == pytest.approx(ill.mean())


def test_net_benefit_of_an_operating_point_is_its_definition() -> None:
    rates = Interval(0.9, 0.8, 0.95), Interval(0.7, 0.6, 0.8)
    found, low, high = net_benefit(*rates, np.array([0.0, 0.1, 1.0]), 0.25)
    assert found.tolist() == pytest.approx([-0.25 * 0.3, 0.09 - 0.25 * 0.9 * 0.3, 0.9])
    assert (low[0], high[0]) == pytest.approx((-0.25 * 0.4, -0.25 * 0.2)) and (low[2], high[2]) == pytest.approx(
        (0.8, 0.95)
    )
    everyone = net_benefit(Interval(1, 1, 1), Interval(0, 0, 0), np.array([0.2]), 0.5)
    assert [bound[0] for bound in everyone] == pytest.approx([0.2 - 0.5 * 0.8] * 3)
    assert np.isnan(net_benefit(NO_INTERVAL, rates[1], np.array([0.2]), 0.5)).all()


def test_the_joined_interval_of_net_benefit_holds_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth, held = 0.3 * 0.85 - 0.2 * 0.7 * 0.25, []
    for _ in range(400):
        ill = np.arange(160) < 48
        called = rng.random(160) < np.where(ill, 0.85, 0.25)
        table = pd.DataFrame({"patient": np.arange(160), "source": "a", "score": called.astype(float)})
        table = table.assign(target=np.where(ill, "covid", "none"), prediction=np.where(called, "covid", "none"))
        values = group_metrics(table, "covid", [], 20, metrics=("sensitivity", "specificity")).values.set_index(
            "metric"
        )
        rates = [Interval.of(values.loc[rate]) for rate in ("sensitivity", "specificity")]
        _, low, high = net_benefit(rates[0], rates[1], np.array([0.3]), 0.2)
        held.append(low[0] <= truth <= high[0])
    assert 0.93 <= np.mean(held) <= 0.99
