"""Intervals of shares and of AUROC near 0 and 1, exact or against statsmodels' published forms; gaps between groups."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm, studentized_range

from training.bias.numbers.proportions import (
    AurocTrials,
    Bounds,
    Trials,
    auroc_trials,
    correlation,
    critical,
    gap_p,
    lowest,
    newcombe,
    reference_gaps,
    widest_gap,
    wilson,
)


def shares(right: list[int], of: list[int]) -> Bounds:
    trials = np.array(of, float)
    return Bounds(np.array(right) / trials, trials, np.full(len(of), np.nan), wide=True)


@pytest.mark.parametrize(("right", "of"), [(0, 10), (9, 12), (20, 20), (57, 60)])
def test_wilson_is_scipy_s(right: int, of: int) -> None:
    expected = binomtest(right, of).proportion_ci(0.95, "wilson")
    found = wilson(np.array(right / of), np.array(float(of)))
    assert tuple(map(float, found)) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("of", [10, 12, 20, 60, 200])
@pytest.mark.parametrize("p", [0.5, 0.8, 0.9, 0.95, 0.98])
def test_the_interval_of_a_share_holds_the_truth_93_times_in_100_or_more(of: int, p: float) -> None:
    right = np.arange(of + 1)
    low, high = shares(right.tolist(), [of] * (of + 1)).at()
    covered = binom.pmf(right, of, p)[(low <= p) & (p <= high)].sum()
    assert covered >= 0.93 - 1e-3
    # More than 97 % only where one success more or less is worth more than the 4 % between.
    assert covered <= 0.97 or binom.pmf(right, of, p)[(low <= p) & (p <= high)].min() > covered - 0.97 - 1e-9 or of < 30


def test_no_interval_has_no_width() -> None:
    low, high = shares([12, 0], [12, 15]).at()
    assert (high - low > 0.15).all() and low[1] == 0 and high[0] == 1


def test_trials_follow_the_variance_within_bounds_and_need_none_at_the_ends() -> None:
    trials = Trials(20, 60)
    assert trials.of(0.8, 0.16 / 35) == pytest.approx(35)
    assert trials.of(0.8, 0.16 / 300) == 60 and trials.of(0.8, 0.16 / 3) == trials.of(1.0, 0.0) == 20
    assert Trials(5, 20, 10).of(0.0, 0.0) == 10


def test_trials_of_an_auroc_are_hanley_and_mcneil_s() -> None:
    a, m, n = 0.85, 30, 30
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (m - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (m * n)
    assert a * (1 - a) / auroc_trials(a, np.array([m]), np.array([n])) == pytest.approx(variance)
    counts = np.array([m]), np.array([n])
    assert AurocTrials(*counts, *counts).of(1.0, 0.0) == pytest.approx(auroc_trials(1.0, *counts))
    assert auroc_trials(a, np.array([m, m]), np.array([n, n])) == pytest.approx(2 * auroc_trials(a, *counts))


def test_newcombe_s_example() -> None:
    """56/70 against 48/80, Statistics in Medicine 1998, method 10: 0.0524 to 0.3339."""
    intervals = [(k / n, *map(float, wilson(np.array(k / n), np.array(float(n))))) for k, n in ((56, 70), (48, 80))]
    assert newcombe(*intervals) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    same = newcombe(intervals[0], intervals[0], 1.0)
    assert same[0] == 0 and same[1] <= 0 <= same[2] < 0.1


def test_correlation_of_what_does_not_vary_is_0() -> None:
    assert correlation(np.ones(5), np.arange(5.0)) == 0
    assert correlation(np.array([1.0, 2, np.nan, 3]), np.array([2.0, 4, 5, 6])) == pytest.approx(1)


def test_twelve_of_twelve_and_85_of_100_do_not_differ_demonstrably() -> None:
    gap = widest_gap(shares([12, 85], [12, 100]))
    assert gap[0] == pytest.approx(0.15) and gap[1] == 0 and gap_p(shares([12, 85], [12, 100])) > 0.1
    assert widest_gap(shares([120, 85], [120, 100]))[1] > 0 and gap_p(shares([120, 85], [120, 100])) < 0.001


def test_of_two_groups_the_gap_is_tested_as_their_difference() -> None:
    two = Bounds(np.array([0.7, 0.5]), np.full(2, np.nan), np.array([0.03, 0.04]))
    assert widest_gap(two) == pytest.approx((0.2, 0.2 - 1.96 * 0.05, 0.2 + 1.96 * 0.05), abs=1e-4)
    assert gap_p(two) == pytest.approx(2 * norm.sf(4), rel=0.01)
    assert critical(3) == pytest.approx(studentized_range.ppf(0.95, 3, np.inf) / np.sqrt(2))


def test_groups_alike_are_seldom_told_apart_and_a_worse_one_is() -> None:
    rng, of = np.random.default_rng(1), [15] * 3 + [100] * 3
    p = np.array([gap_p(shares(rng.binomial(of, 0.9).tolist(), of)) for _ in range(400)])
    assert (p <= 0.05).mean() <= 0.05
    assert gap_p(shares([14, 13, 14, 90, 91, 60], of)) < 0.001


def test_with_a_reference_the_other_groups_are_compared_with_it_alone() -> None:
    groups = shares([90, 88, 60, 40], [100, 100, 100, 100])
    difference, low, high, p = reference_gaps(groups, 0)
    assert difference == pytest.approx([0, -0.02, -0.3, -0.5]) and np.isnan(p[0])
    assert p[1] > 0.5 and p[2] < 0.001 and high[2] < 0 < high[1] and (low <= high).all()
    assert reference_gaps(groups, 2)[0][3] == pytest.approx(-0.2)


def test_the_lowest_group_has_bounds_for_the_choice_among_all() -> None:
    groups = shares([90, 60, 80], [100, 100, 100])
    low, high = groups.at()
    found = lowest(groups)
    assert found[0] == 0.6 and found[1] < low[1] and found[2] > high[1]
