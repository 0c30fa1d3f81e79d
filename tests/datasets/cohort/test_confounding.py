import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.cohort.confounding import Confounding, check_confounding, count_pairs


def naive_pairs(target: list[int], bias: list[int]) -> tuple[int, int]:
    pairs = [(i, j) for i in range(len(target)) for j in range(i)]
    same = sum(bias[i] == bias[j] for i, j in pairs)
    across = sum(target[i] == target[j] and bias[i] != bias[j] for i, j in pairs)
    return same, across


def check(counts: list[list[int]], batch_size: int = 16, bias_name: str = "source") -> Confounding:
    """Check films given by their number in each source (row) and label (column)."""
    films = [(f"l{j}", f"s{i}") for i, row in enumerate(counts) for j, n in enumerate(row) for _ in range(n)]
    label, source = (pd.Series(values, dtype=str) for values in zip(*films, strict=True))
    return check_confounding(label, source, batch_size, bias_name)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=40))
def test_count_pairs_is_the_double_loop(labels: list[tuple[int, int]]) -> None:
    target, bias = [t for t, _ in labels], [b for _, b in labels]
    assert count_pairs(np.array(target, int), np.array(bias, int)) == naive_pairs(target, bias)


def test_count_pairs_of_many_films_does_not_overflow() -> None:
    target, bias = np.zeros(200_000, np.int64), np.arange(200_000) % 2
    assert count_pairs(target, bias).entangling == 100_000**2


def test_cramers_v_by_hand() -> None:
    # chi2 = n (ad - bc)^2 / (product of the margins) = 100 (10 40 - 20 30)^2 / (30 70 40 60)
    assert check([[10, 20], [30, 40]]).cramers_v == pytest.approx(math.sqrt(4e6 / 5.04e6 / 100), rel=1e-12)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([[5, 5], [7, 7]], 0.0), ([[5, 0], [0, 7]], 1.0), ([[5, 0], [0, 7], [0, 2]], 1.0), ([[5, 0, 0], [0, 3, 3]], 1.0)],
)
def test_cramers_v_at_its_ends(counts: list[list[int]], expected: float) -> None:
    assert check(counts).cramers_v == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("counts", [[[5, 5]], [[5], [5]], [[5]]])
def test_cramers_v_is_undefined_with_one_source_or_label(counts: list[list[int]]) -> None:
    assert math.isnan(check(counts).cramers_v)


@pytest.mark.parametrize(
    ("counts", "verdict", "across"),
    [
        ([[50, 0], [0, 50]], "not identifiable", ()),
        ([[50, 50]], "not identifiable", ()),
        ([[50, 0], [0, 50], [0, 50]], "weak", ("l1",)),
        ([[400, 1], [1, 400]], "weak", ("l0", "l1")),
        ([[95, 5], [5, 95]], "weak", ("l0", "l1")),
        ([[50, 20], [20, 50]], "identifiable", ("l0", "l1")),
        ([[50], [50]], "identifiable", ("l0",)),
    ],
)
def test_verdicts(counts: list[list[int]], verdict: str, across: tuple[str, ...]) -> None:
    found = check(counts)
    assert found.verdict == verdict
    assert found.targets_across == across


def test_table_has_sources_as_rows() -> None:
    table = check([[3, 1], [0, 4]]).table
    assert table.loc["s0"].tolist() == [3, 1]
    assert table.loc["s1"].tolist() == [0, 4]


def test_sentences_say_what_can_be_done() -> None:
    assert "R_par has no pair" in check([[9, 0], [0, 9]]).sentence
    assert "l0 from a single source" in check([[90, 0], [0, 90], [0, 90]]).sentence
    assert "pairs a random batch" in check([[50, 20], [20, 50]]).sentence
    single = check([[50, 50], [50, 0]]).sentence
    assert " pairs a random batch of l0, R_perp on" in single and "can't help where a label has one" in single
    assert "can't help" not in check([[95, 5], [5, 95]]).sentence


@pytest.mark.parametrize("counts", [[[9, 0], [0, 9]], [[90, 0], [0, 90], [0, 90]], [[50, 20], [20, 50]]])
def test_sentences_name_the_bias_by_its_name(counts: list[list[int]]) -> None:
    sentence = check(counts, bias_name="colour").sentence
    assert "colour" in sentence
    assert "source" not in sentence.lower()


def test_expected_pairs_are_the_mean_over_random_batches() -> None:
    counts = [[30, 5], [10, 40]]
    expected = check(counts, batch_size=12).pairs
    target = np.concatenate([np.full(n, j) for row in counts for j, n in enumerate(row)])
    bias = np.concatenate([np.full(n, i) for i, row in enumerate(counts) for n in row])
    rng = np.random.default_rng(0)
    batches = [rng.choice(len(target), 12, replace=False) for _ in range(4000)]
    mean = np.mean([count_pairs(target[batch], bias[batch]) for batch in batches], axis=0)
    assert expected == pytest.approx(mean, rel=0.02)


def test_a_batch_is_never_more_than_all_films() -> None:
    counts = [[3, 2], [1, 4]]
    assert check(counts, batch_size=1000).pairs == pytest.approx(check(counts, batch_size=10).pairs)
    assert check(counts, batch_size=10).pairs == pytest.approx((20.0, 11.0))


def test_several_of_an_attribute_are_spelt_right() -> None:
    table = pd.Series(["covid", "normal"] * 8), pd.Series(["F"] * 8 + ["M"] * 8)
    assert "two sexes or more" in check_confounding(*table, 16, "sex").sentence
    assert "two views or more" in check_confounding(*table, 16, "view").sentence
