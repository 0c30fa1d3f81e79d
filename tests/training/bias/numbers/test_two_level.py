"""Means and differences over patients and seeds, against an analysis of variance, scipy and their own definitions."""

import math

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp
from sklearn.metrics import roc_auc_score

from training.bias.numbers import two_level
from training.bias.numbers.auroc import auroc_interval
from training.bias.numbers.interval import Interval
from training.bias.numbers.two_level import (
    SeedDifference,
    SeedMean,
    auroc_difference_over_seeds,
    auroc_over_seeds,
    difference_of_seeds,
    judged,
    seed_mean,
    share_difference_over_seeds,
    share_over_seeds,
)
from training.bias.numbers.uncertainty import seed_interval
from training.bias.simulation.seeds import Setting, simulate_trainings

EASY, HARD = Setting(0.97, 0.985, 0.1), Setting(0.75, 0.8, 0.1)


def test_the_variance_is_that_of_a_crossed_analysis_of_variance() -> None:
    rng, patients, seeds = np.random.default_rng(0), 30, 4
    values = rng.normal(size=(patients, 1)) + 0.3 * rng.normal(size=seeds) + rng.normal(size=(patients, seeds))
    found = seed_mean(lambda weights: values.T @ weights / weights.sum(axis=0), patients)
    centre, by_patient, by_seed = values.mean(), values.mean(axis=1), values.mean(axis=0)
    of_patients = seeds * ((by_patient - centre) ** 2).sum() / (patients - 1)
    of_seeds = patients * ((by_seed - centre) ** 2).sum() / (seeds - 1)
    rest = ((values - by_patient[:, None] - by_seed + centre) ** 2).sum() / (patients - 1) / (seeds - 1)
    assert found.estimate == pytest.approx(centre)
    assert found.from_seeds == pytest.approx(of_seeds / patients / seeds)
    assert found.from_patients == pytest.approx((of_patients - rest) / patients / seeds)
    assert found.variance == pytest.approx((of_patients + of_seeds - rest) / patients / seeds)
    each = t.isf(0.025, [patients - 1, seeds - 1])
    expected = np.average(each, weights=[found.from_patients, found.from_seeds])
    assert found.critical(0.05) == pytest.approx(expected) and each[0] < found.critical(0.05) < each[1]


@pytest.mark.parametrize("setting", [EASY, HARD], ids=["near 1", "0.8"])
@pytest.mark.parametrize("seed", range(3))
def test_an_interval_excludes_0_exactly_where_p_is_below_the_level(setting: Setting, seed: int) -> None:
    films = simulate_trainings(np.random.default_rng(seed), setting, 5, 120)
    reference, other = films.scores
    found = auroc_difference_over_seeds(films.is_positive, other, reference, films.patient, films.source)
    assert (found.p < 0.05) == (found.interval.low > 0 or found.interval.high < 0)
    assert found.interval.low < found.interval.estimate < found.interval.high
    with pytest.MonkeyPatch.context() as patched:  # at its own p one bound is 0
        patched.setattr(two_level, "LEVEL", found.p)
        at = auroc_difference_over_seeds(films.is_positive, other, reference, films.patient, films.source)
    assert min(abs(at.interval.low), abs(at.interval.high)) < 1e-3
    mirrored = auroc_difference_over_seeds(films.is_positive, reference, other, films.patient, films.source)
    assert mirrored.interval == pytest.approx([-found.interval.estimate, -found.interval.high, -found.interval.low])
    assert mirrored.p == pytest.approx(found.p, abs=1e-5)


def test_estimates_are_means_over_seeds_of_scikit_learns() -> None:
    films = simulate_trainings(np.random.default_rng(1), HARD, 3, 60)
    patient, first = np.unique(films.patient, return_index=True)  # with one film each no film is weighted
    positive, (reference, other) = films.is_positive[first], (scores[first] for scores in films.scores)
    each = [[roc_auc_score(positive, column) for column in scores.T] for scores in (reference, other)]
    found = auroc_difference_over_seeds(positive, other, reference, patient)
    assert found.interval.estimate == pytest.approx(np.mean(each[1]) - np.mean(each[0]))
    alone = auroc_over_seeds(positive, reference, patient)
    assert alone.estimate == pytest.approx(np.mean(each[0])) and alone.low < alone.estimate < alone.high


def test_seeds_that_differ_widen_intervals_and_more_of_them_narrow_them() -> None:
    def width(spread: float, seeds: int) -> float:
        setting = HARD._replace(spread=spread)
        widths = []
        for number in range(8):
            films = simulate_trainings(np.random.default_rng(number), setting, seeds, 100)
            found = auroc_difference_over_seeds(films.is_positive, films.scores[1], films.scores[0], films.patient)
            widths.append(found.interval.high - found.interval.low)
        return float(np.mean(widths))

    assert width(0.4, 5) > 1.3 * width(0.0, 5)
    assert width(0.4, 10) < 0.8 * width(0.4, 4)


def test_of_a_single_seed_nothing_is_said_of_the_method() -> None:
    films = simulate_trainings(np.random.default_rng(2), HARD, 1, 80)
    found = auroc_difference_over_seeds(films.is_positive, films.scores[1], films.scores[0], films.patient)
    assert math.isfinite(found.interval.estimate) and math.isnan(found.interval.low) and math.isnan(found.p)
    assert judged([found])[0].verdict == "cannot conclude"
    one, known = (f(films.is_positive, films.scores[0], films.patient) for f in (auroc_over_seeds, auroc_interval))
    assert one == pytest.approx(known, abs=0.01), "over patients alone"


def test_below_ten_patients_nothing_is_concluded() -> None:
    positive, patient = np.arange(18) % 2 == 0, np.arange(18)
    scores = np.random.default_rng(0).normal(size=(18, 4))
    assert math.isnan(auroc_over_seeds(positive, scores, patient).estimate)
    assert math.isnan(auroc_difference_over_seeds(positive, scores, scores, patient).interval.estimate)
    few = patient // 2
    assert math.isnan(share_over_seeds(scores > 0, few, positive).estimate)
    assert math.isnan(share_difference_over_seeds(scores > 0, scores > 1, few, positive).p)


def test_a_share_is_weighted_by_patient_and_holds_where_all_films_are_right() -> None:
    rng = np.random.default_rng(3)
    patient, target = np.arange(60) // 2, np.arange(60) // 2 % 2
    right, less = rng.random((60, 5)) < 0.9, rng.random((60, 5)) < 0.6
    found = share_difference_over_seeds(right, less, patient, target)
    assert found.interval.estimate == pytest.approx(right.mean() - less.mean()) and found.p < 0.01
    assert share_over_seeds(right, patient, target).estimate == pytest.approx(right.mean())
    every = np.ones((60, 5), bool)
    alone, none = share_over_seeds(every, patient, target), share_difference_over_seeds(every, every, patient, target)
    assert alone.estimate == 1 and 0.8 < alone.low < 0.95
    assert none.interval.low < -0.03 and none.interval.high > 0.03 and none.p == 1


def test_patients_are_left_out_in_groups_where_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).normal(size=(900, 3)) + np.random.default_rng(5).normal(size=(900, 1))

    def found():
        return seed_mean(lambda weights: values.T @ weights / weights.sum(axis=0), 900)

    whole = found()
    monkeypatch.setattr(two_level, "MOST_GROUPS", 300)
    grouped = found()
    assert grouped.patients == 300 and grouped.estimate == whole.estimate
    assert grouped.from_patients == pytest.approx(whole.from_patients, rel=0.15)


def test_seeds_alone_are_a_paired_t_test() -> None:
    gaps = np.array([0.02, -0.01, 0.03, 0.05, 0.01])
    found = difference_of_seeds(gaps)
    assert found.interval == pytest.approx(seed_interval(gaps))
    assert found.p == pytest.approx(ttest_1samp(gaps, 0).pvalue)
    assert difference_of_seeds(gaps[:1]).interval.estimate == gaps[0] and math.isnan(difference_of_seeds(gaps[:1]).p)


def test_the_detectable_difference_is_found_in_four_of_five() -> None:
    rng, seeds, error = np.random.default_rng(6), 10, 0.1
    true = SeedDifference(Interval(0, 0, 0), 1, error, SeedMean(0, 0, error**2, seeds, 100)).detectable()
    gaps = true + error * np.sqrt(seeds) * rng.normal(size=(4000, seeds))
    assert (ttest_1samp(gaps, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.03)


def test_rows_of_a_table_are_corrected_together() -> None:
    def row(estimate: float, p: float) -> SeedDifference:
        return SeedDifference(Interval(estimate, -1, 1), p, 0.01, SeedMean(estimate, 1e-4, 0, 10, 50))

    rows = [row(0.1, 0.001), row(-0.1, 0.02), row(0.1, 0.03), row(math.nan, math.nan)]
    found = judged(rows)
    assert [j.p_holm for j in found[:3]] == pytest.approx([0.003, 0.04, 0.04]) and math.isnan(found[3].p_holm)
    assert [j.verdict for j in found] == ["better", "worse", "better", "cannot conclude"]
    assert found[0].detectable == rows[0].detectable(0.05 / 3) > rows[0].detectable()
    assert [j.verdict for j in judged(rows[:2], [True, True])] == ["worse", "better"]
    assert judged([row(0.1, 0.04)])[0].verdict == "better"
    assert judged([row(0.1, 0.04)] * 2)[0].verdict == "cannot conclude"
