"""Resamples against brute force and scipy, BCa against scipy, gaps, permutations of real swaps, differences in pairs."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm, rankdata, ttest_1samp
from sklearn.metrics import roc_auc_score

from training.bias.auroc import StratifiedAuroc, auroc_difference, auroc_interval, auroc_permutation_p
from training.bias.uncertainty import (
    bca,
    bootstrap,
    detectable_difference,
    gap_interval,
    intervals,
    jackknife,
    lowest_interval,
    permutation,
    permutation_p,
    resampling_strata,
    seed_interval,
    swapped_difference,
)


def films(seed: int = 0, patients: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, patients)
    positive = (np.arange(patients) % 2 == 0).repeat(counts)
    level = rng.normal(0, 1, patients).repeat(counts)
    score = np.round(positive * 1.0 + level + rng.normal(0, 0.3, len(level)), 1)  # rounded: ties
    return positive, score, np.arange(patients).repeat(counts)


def mean_of(values: np.ndarray):
    return lambda weights: (values @ weights / weights.sum(axis=0))[None]


def alike(count: int) -> np.ndarray:
    return np.zeros(count, int)


def test_resamples_follow_the_exact_bootstrap_distribution() -> None:
    values = np.array([0.0, 1.0, 3.0, 10.0])
    exact = np.sort([np.mean(drawn) for drawn in itertools.product(values, repeat=4)])
    found = bootstrap(mean_of(values), alike(4), 40_000, 0)[0]
    grid = np.unique(exact)
    exact_share = np.searchsorted(exact, grid + 1e-9) / len(exact)
    found_share = np.searchsorted(np.sort(found), grid + 1e-9) / len(found)
    np.testing.assert_allclose(found_share, exact_share, atol=0.012)


def test_resamples_draw_whole_strata_and_depend_on_the_seed_alone() -> None:
    stratum = np.array([0] * 30 + [1] * 12 + [7] * 3)
    weights = bootstrap(lambda w: w, stratum, 500, 3)
    for value, size in ((0, 30), (1, 12), (7, 3)):
        assert (weights[stratum == value].sum(axis=0) == size).all()
    np.testing.assert_array_equal(weights[:5], bootstrap(lambda w: w[:5], stratum, 500, 3))
    assert (weights != bootstrap(lambda w: w, stratum, 500, 4)).any()
    assert weights[0].mean() == pytest.approx(1, abs=0.15) and weights[0].var() == pytest.approx(1, abs=0.3)


def test_jackknife_leaves_each_patient_out_once() -> None:
    values = np.arange(150.0) ** 2
    expected = [np.delete(values, i).mean() for i in range(150)]
    np.testing.assert_allclose(jackknife(mean_of(values), 150)[0], expected)


def test_small_cells_become_strata_and_large_or_tiny_ones_do_not() -> None:
    patient = np.arange(200)
    source = (patient < 15).astype(int)
    strata = resampling_strata(patient, source, alike(200))
    assert len(set(strata[:15])) == len(set(strata[15:])) == 1 and strata[0] != strata[15]
    assert not resampling_strata(patient, (patient < 9).astype(int), alike(200)).any()
    assert not resampling_strata(patient, (patient < 30).astype(int), alike(200)).any()


def test_patients_of_several_cells_have_profiles_and_rare_profiles_are_one_stratum() -> None:
    patient = np.r_[np.arange(60), np.arange(4), np.arange(56, 60)]
    target = np.r_[(np.arange(60) < 15).astype(int), alike(4), np.ones(4, int)]
    strata = resampling_strata(patient, alike(68), target)
    assert len(set(strata[4:15])) == 1 and len(set(strata[15:56])) == 1
    assert len(set(strata[:4]) | set(strata[56:])) == 1 and strata[0] not in (strata[4], strata[15])


def test_bca_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).exponential(size=60)
    found, methods, _ = intervals(mean_of(values), alike(60), 20_000, 0)
    oracle = scipy_bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    plain = scipy_bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert methods == ["BCa"]
    assert (found[0].low, found[0].high) == pytest.approx((oracle.low, oracle.high), abs=0.012)
    assert abs(plain.high - oracle.high) > 0.03  # so that the test tells them apart


def test_bca_moves_by_twice_the_bias_where_there_is_no_acceleration() -> None:
    drawn = norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    found, method = bca(norm.ppf(0.3), drawn, np.array([-1.0, 1.0] * 20), alike(40))
    shift = 2 * norm.ppf(0.3)
    assert method == "BCa" and (found.low, found.high) == pytest.approx((shift - 1.96, shift + 1.96), abs=0.002)


def test_percentile_where_bca_is_undefined_or_too_dear() -> None:
    values = np.random.default_rng(0).normal(size=60)
    found, methods, drawn = intervals(mean_of(values), alike(60), 50, 0)
    assert methods == ["percentile"]
    assert (found[0].low, found[0].high) == pytest.approx(tuple(np.quantile(drawn[0], (0.025, 0.975))))
    constant, method = bca(1.0, np.ones(50), np.ones(60), alike(60))
    assert (constant, method) == ((1, 1, 1), "percentile")
    undefined, method = bca(float("nan"), np.ones(50), np.ones(60), alike(60))
    assert math.isnan(undefined.low) and method == ""
    some, _ = bca(0.5, np.array([np.nan, 0.4, 0.6]), np.full(60, np.nan), alike(60))
    assert 0.4 <= some.low < some.high <= 0.6


def test_auroc_of_resamples_is_that_of_repeated_films() -> None:
    positive, score, patient = films()
    statistic = StratifiedAuroc(positive, score[:, None], patient, alike(len(patient)))
    weights = np.random.default_rng(1).integers(0, 4, (80, 20))
    expected = [roc_auc_score(positive.repeat(w), score.repeat(w)) for w in weights[patient].T]
    np.testing.assert_allclose(statistic(weights.astype(float))[0], expected, rtol=1e-12)


def test_the_auroc_interval_agrees_with_scipy_over_patients() -> None:
    positive, score, patient = films()
    found = auroc_interval(positive, score, patient, resamples=4000)
    groups = [np.flatnonzero(patient == p) for p in np.unique(patient)]

    def statistic(chosen: np.ndarray) -> float:
        at = np.concatenate([groups[int(i)] for i in chosen])
        return roc_auc_score(positive[at], score[at])

    oracle = scipy_bootstrap((np.arange(80),), statistic, vectorized=False, n_resamples=600, method="BCa", rng=0)
    assert found.estimate == pytest.approx(roc_auc_score(positive, score))
    assert found.low == pytest.approx(oracle.confidence_interval.low, abs=0.02)
    assert found.high == pytest.approx(oracle.confidence_interval.high, abs=0.02)


def test_serial_films_widen_the_interval() -> None:
    positive, score, patient = films()
    by_patient, by_film = (auroc_interval(positive, score, p) for p in (patient, np.arange(len(patient))))
    assert by_patient.high - by_patient.low > 1.2 * (by_film.high - by_film.low)


def test_strata_on_different_scales_do_not_matter_within_strata() -> None:
    positive, score, patient = films(patients=120)
    source = np.where(patient % 3 == 0, "b", "a")
    shifted = score + 10 * (source == "b")
    found = auroc_interval(positive, shifted, patient, stratum=source)
    assert found == auroc_interval(positive, score, patient, stratum=source)
    assert found.estimate != pytest.approx(auroc_interval(positive, shifted, patient).estimate, abs=0.01)
    one_class = source.astype(object)
    one_class[positive & (patient % 4 == 0)] = "only positive"
    kept = one_class != "only positive"
    assert auroc_interval(positive, score, patient, stratum=one_class) == auroc_interval(
        positive[kept], score[kept], patient[kept], stratum=one_class[kept]
    )
    assert auroc_permutation_p(positive, shifted, score, patient, stratum=source) == 1


def test_a_difference_pairs_and_averages_seeds() -> None:
    positive, score, patient = films()
    better = score + 0.8 * positive
    gap, detectable = auroc_difference(positive, np.stack([better, score], 1), np.stack([score, score], 1), patient)
    assert gap.estimate == pytest.approx((roc_auc_score(positive, better) - roc_auc_score(positive, score)) / 2)
    assert 0 < gap.low < gap.estimate < gap.high and detectable > 0
    same, none = auroc_difference(positive, score, score, patient)
    assert same == (0, 0, 0) and none == 0


def test_detectable_is_power_80_at_two_sided_5_percent() -> None:
    drawn = np.random.default_rng(0).normal(0, 0.1, 100_000)
    found = detectable_difference(drawn)
    assert norm.sf(norm.ppf(0.975) - found / 0.1) == pytest.approx(0.8, abs=0.01)


def test_swaps_are_real_swaps_of_mid_ranks() -> None:
    positive, score, patient = films(patients=12)
    other = np.exp(score) + np.random.default_rng(1).normal(0, 2, len(score))
    ranks = rankdata(score), rankdata(other)
    both = StratifiedAuroc(
        np.tile(positive, 2), np.concatenate(ranks)[:, None], np.r_[patient, patient + 12], alike(2 * len(patient))
    )
    swaps = np.random.default_rng(2).integers(0, 2, (12, 30))
    found = swapped_difference(both)(swaps.astype(float))[0]
    for column, difference in zip(swaps.T, found, strict=True):
        swapped = column[patient] == 1
        first, second = np.where(swapped, ranks[1], ranks[0]), np.where(swapped, ranks[0], ranks[1])
        assert difference == pytest.approx(roc_auc_score(positive, second) - roc_auc_score(positive, first), abs=1e-12)


def test_p_follows_the_exact_permutation_distribution() -> None:
    first, second = np.array([0.1, 0.4, 0.2, 0.5, 0.3, 0.2]), np.array([0.5, 0.6, 0.3, 0.9, 0.2, 0.6])
    gaps = second - first
    exact = [abs(np.dot(gaps, signs)) for signs in itertools.product((-1, 1), repeat=6)]
    share = np.mean(np.array(exact) >= abs(gaps.sum()) - 1e-12)

    def statistic(swapped: np.ndarray) -> np.ndarray:
        return (gaps @ (1 - 2 * swapped))[None]

    assert permutation_p(gaps.sum(), permutation(statistic, 6, 20_000, 0)[0]) == pytest.approx(share, abs=0.01)
    assert permutation_p(1.0, np.zeros(99)) == 0.01 and permutation_p(0.0, np.zeros(99)) == 1


def test_permutation_finds_a_planted_difference_and_ignores_the_scale() -> None:
    positive, score, patient = films(patients=160)
    worse = score + np.random.default_rng(3).normal(0, 3, len(score))
    assert auroc_permutation_p(positive, score, worse, patient) < 0.01
    assert auroc_permutation_p(positive, np.exp(score), score, patient) == 1
    seeds = np.stack([score, score], 1)
    assert auroc_permutation_p(positive, seeds, np.stack([worse, worse], 1), patient) == auroc_permutation_p(
        positive, score, worse, patient
    )


def test_two_groups_have_the_symmetric_interval_of_their_difference() -> None:
    rng = np.random.default_rng(0)
    estimate = np.array([0.7, 0.5])
    drawn = estimate[:, None] + rng.normal(0, [[0.03], [0.04]], (2, 20_000))
    found = gap_interval((estimate, drawn))
    assert found == pytest.approx((0.2, 0.2 - 1.96 * 0.05, 0.2 + 1.96 * 0.05), abs=0.003)


def test_the_gap_of_equal_groups_is_not_demonstrable_and_that_of_one_worse_group_is() -> None:
    rng = np.random.default_rng(1)
    truth = np.full(8, 0.8)
    found = []
    for _ in range(200):
        estimate = rng.normal(truth, 0.04)
        found.append(gap_interval((estimate, estimate[:, None] + rng.normal(0, 0.04, (8, 400)))))
    assert np.mean([interval.low > 0 for interval in found]) < 0.1
    assert all(interval.low <= interval.estimate <= interval.high for interval in found)
    truth[3] = 0.5
    estimate = rng.normal(truth, 0.04)
    gap = gap_interval((estimate, estimate[:, None] + rng.normal(0, 0.04, (8, 400))))
    assert gap.low > 0.1
    lowest = lowest_interval(estimate, estimate[:, None] + rng.normal(0, 0.04, (8, 400)))
    assert lowest.estimate == estimate[3] and lowest.low < 0.5 < lowest.high < 0.7


def test_the_larger_of_two_families_counts_and_constant_groups_have_no_width() -> None:
    constant = np.array([1.0, 1.0, 0.6])
    drawn = np.repeat(constant[:, None], 50, axis=1)
    assert gap_interval((constant, drawn)) == pytest.approx((0.4, 0.4, 0.4))
    smaller = np.array([0.5, 0.4])
    assert gap_interval((smaller, np.repeat(smaller[:, None], 50, axis=1)), (constant, drawn)).estimate == 0.4


def test_few_patients_are_nan() -> None:
    positive, score, patient = films(patients=18)
    assert all(math.isnan(value) for value in auroc_interval(positive, score, patient))
    gap, detectable = auroc_difference(positive, score, score, patient)
    assert math.isnan(gap.estimate) and math.isnan(detectable)
    assert math.isnan(auroc_permutation_p(positive, score, score, patient))
    assert math.isnan(auroc_interval(positive, score, patient, stratum=positive).estimate)


def test_seed_interval_is_student_s() -> None:
    values = np.array([0.1, 0.2, 0.15, 0.3, 0.05])
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    found = seed_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert math.isnan(seed_interval(values[:1]).low)
