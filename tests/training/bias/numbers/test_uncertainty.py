"""Resamples against brute force and scipy, BCa against scipy, gaps, permutations of real swaps, differences in pairs."""

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm, ttest_1samp

from training.bias.numbers.uncertainty import (
    NO_INTERVAL,
    Interval,
    bca,
    bootstrap,
    detectable_difference,
    intervals,
    jackknife,
    over_chunks,
    permutation,
    permutation_p,
    resampling_strata,
    seed_interval,
)


def mean_of(values: np.ndarray):
    return lambda weights: (values @ weights / weights.sum(axis=0))[None]


def alike(count: int) -> np.ndarray:
    return np.zeros(count, int)


def test_an_interval_formats_itself() -> None:
    interval, nan = Interval(0.812, 0.75, 0.861), float("nan")
    assert f"{interval:.2f}" == "0.81 (0.75 to 0.86)" and f"{interval:+.3f}" == "+0.812 (+0.750 to +0.861)"
    assert f"{NO_INTERVAL:.2f}" == "cannot conclude" and f"{Interval(0.812, nan, nan):.2f}" == "0.81"


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
    for few in (10, 29):
        strata = resampling_strata(patient, (patient < few).astype(int), alike(200))
        assert len(strata) == 200 and len(set(strata[:few])) == len(set(strata[few:])) == 1 and strata[0] != strata[-1]


def test_patients_of_several_cells_have_profiles_and_rare_profiles_are_one_stratum() -> None:
    patient = np.r_[np.arange(60), np.arange(4), np.arange(56, 60)]
    target = np.r_[(np.arange(60) < 15).astype(int), alike(4), np.ones(4, int)]
    strata = resampling_strata(patient, alike(68), target)
    assert len(set(strata[4:15])) == 1 and len(set(strata[15:56])) == 1
    assert len(set(strata[:4]) | set(strata[56:])) == 1 and strata[0] not in (strata[4], strata[15])


def test_a_profile_of_ten_patients_is_a_stratum_and_those_of_nine_are_one() -> None:
    patient, target = np.r_[np.arange(62), np.arange(10)], np.r_[np.arange(62) >= 40, np.ones(10)].astype(int)
    target[52:62] = 2
    strata = resampling_strata(patient, alike(72), target)
    # Targets 0 and 1: ten patients; 0 alone: thirty; 1 alone: twelve; 2 alone: ten.
    assert [len(set(strata[part])) for part in (slice(10), slice(10, 40), slice(40, 52), slice(52, 62))] == [1] * 4
    assert len(set(strata)) == 4
    nine = resampling_strata(patient[:-1], alike(71), target[:-1])
    assert len(set(nine)) == 4 and len(set(nine[:9])) == 1 and nine[9] == nine[10]


def test_rare_profiles_of_several_kinds_are_one_stratum() -> None:
    target = np.repeat([0, 1, 2, 3], (80, 15, 3, 2))
    strata = resampling_strata(np.arange(100), alike(100), target)
    assert len(set(strata)) == 3 and len(set(strata[95:])) == 1


def test_weights_are_made_a_cache_s_worth_at_a_time_and_put_together_in_order() -> None:
    for patients, largest in ((1, 64), (2**13, 64), (2**16, 8), (2**17, 4), (2**24, 4)):
        asked: list[tuple[int, int]] = []

        def draw(first: int, count: int, asked: list[tuple[int, int]] = asked) -> np.ndarray:
            asked.append((first, count))
            return np.arange(first, first + count)[None]

        found = over_chunks(lambda weights: np.concatenate([weights, -weights]), draw, patients, 150)
        np.testing.assert_array_equal(found, [np.arange(150), -np.arange(150)])
        assert max(count for _, count in asked) == largest and sum(count for _, count in asked) == 150


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


def test_bca_is_stretched_by_the_acceleration_of_efron_s_formula() -> None:
    drawn = norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    influence = np.array([-1.0] * 9 + [9.0])  # a = sum of cubes / (6 x sum of squares ** 1.5) = 720 / (6 x 90 ** 1.5)
    found, method = bca(0.0, drawn, -influence, alike(10))
    expected = [z / (1 - 720 / (6 * 90**1.5) * z) for z in norm.ppf([0.025, 0.975])]
    assert method == "BCa" and (found.low, found.high) == pytest.approx(expected, abs=0.005)


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


def test_detectable_is_power_80_at_two_sided_5_percent() -> None:
    drawn = np.random.default_rng(0).normal(0, 0.1, 100_000)
    found = detectable_difference(drawn)
    assert norm.sf(norm.ppf(0.975) - found / 0.1) == pytest.approx(0.8, abs=0.01)
    assert detectable_difference(np.array([0.0, 1.0, np.nan, 2.0])) == pytest.approx(2.8016, abs=1e-4)


def test_p_follows_the_exact_permutation_distribution() -> None:
    first, second = np.array([0.1, 0.4, 0.2, 0.5, 0.3, 0.2]), np.array([0.5, 0.6, 0.3, 0.9, 0.2, 0.6])
    gaps = second - first
    exact = [abs(np.dot(gaps, signs)) for signs in itertools.product((-1, 1), repeat=6)]
    share = np.mean(np.array(exact) >= abs(gaps.sum()) - 1e-12)

    def statistic(swapped: np.ndarray) -> np.ndarray:
        return (gaps @ (1 - 2 * swapped))[None]

    assert permutation_p(gaps.sum(), permutation(statistic, 6, 20_000, 0)[0]) == pytest.approx(share, abs=0.01)
    assert (
        permutation_p(0.3, np.array([0.1, -0.5, 0.3, 0.2]))
        == permutation_p(-0.3, np.array([0.1, -0.5, 0.3, 0.2]))
        == 0.6
    )
    assert permutation_p(1.0, np.zeros(99)) == 0.01 and permutation_p(0.0, np.zeros(99)) == 1


def test_seed_interval_is_student_s() -> None:
    values = np.array([0.1, 0.2, 0.15, 0.3, 0.05])
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    found = seed_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a spread that one value has not
        single = seed_interval(values[:1])
    assert math.isnan(single.low) and single.estimate == 0.1
    assert math.isnan(seed_interval(np.array([0.1, np.nan, 0.2])).high)
    two = ttest_1samp(values[:2], 0).confidence_interval(0.95)
    assert seed_interval(values[:2])[1:] == pytest.approx((two.low, two.high))
