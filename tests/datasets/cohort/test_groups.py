"""What balanced batches draw equally often where there are several biases, and what is said of crossings too small."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.cohort.groups import FEWEST, balanced_groups, joined_crossings, repeated_groups
from datasets.cohort.samplers import EpochSampler


def films(cells: dict[tuple[int, ...], int]) -> tuple[np.ndarray, np.ndarray]:
    """Target, and films x attributes, of so many films of each crossing."""
    rows = np.array([cell for cell, count in cells.items() for _ in range(count)])
    return rows[:, 0], rows[:, 1:]


def test_of_one_bias_every_target_and_bias_is_a_group_however_small() -> None:
    target, bias = films({(0, 0): 40, (0, 1): 1, (1, 1): 9, (1, 2): 2})
    np.testing.assert_array_equal(balanced_groups(target, bias[:, 0]), np.repeat([0, 1, 2, 3], [40, 1, 9, 2]))


def test_populated_crossings_are_groups() -> None:
    target, bias = films({(t, a, b): FEWEST for t in (0, 1) for a in (0, 1) for b in (0, 1, 2)})
    np.testing.assert_array_equal(balanced_groups(target, bias), np.repeat(np.arange(12), FEWEST))


def test_a_small_crossing_joins_the_next_larger_one_of_its_target_and_first_bias() -> None:
    cells = {(0, 0, 0): 90, (0, 0, 1): 20, (0, 0, 2): 3, (0, 1, 0): 2, (0, 1, 1): 1, (1, 1, 0): 8, (1, 1, 1): 4}
    target, bias = films(cells)
    group = balanced_groups(target, bias)
    of = {cell: set(group[(np.column_stack([target, bias]) == cell).all(1)]) for cell in cells}
    assert of[0, 0, 0].isdisjoint(of[0, 0, 1]) and of[0, 0, 1] == of[0, 0, 2]
    assert of[0, 1, 0] == of[0, 1, 1] and of[1, 1, 0] == of[1, 1, 1]
    assert group.max() == 3
    said = joined_crossings(target, bias, [("no", "yes"), ("east", "west"), ("AP", "PA", "unknown")])
    assert said == (
        "Balanced batches draw 4 groups equally often. Crossings of fewer than 5 films are drawn with the next larger one of "
        "their label: no east unknown (3), no west PA (1), yes west PA (4)."
    )


def test_nothing_is_said_where_nothing_is_joined() -> None:
    target, bias = films({(0, 0, 0): 9, (0, 1, 1): 9, (1, 0, 1): 9})
    assert joined_crossings(target, bias, [("no", "yes"), ("a", "b"), ("c", "d")]) == ""


def test_films_that_come_again_and_again_are_told_with_how_often() -> None:
    target, bias = films({(0, 0): 60, (0, 1): 3, (1, 0): 136, (1, 1): 1})
    said = repeated_groups(target, bias[:, 0], [("no", "yes"), ("east", "west")], "hospital")
    assert "draw 4 groups of label and hospital equally often" in said
    assert "epoch: no west (3 films, each about 17 times), yes west (1 film, each about 50 times). Look" in said
    target, bias = films({(0, 0): 60, (0, 1): 5, (1, 0): 85})  # ten times, and no more
    assert repeated_groups(target, bias[:, 0], [("no", "yes"), ("east", "west")], "hospital") == ""


@pytest.mark.parametrize("sizes", [(2, 3, 3), (1, 1, 1, 1, 1, 1, 1), (6, 1, 1), (6, 3, 3), (4, 4, 4), (2, 2)])
def test_no_group_stays_small_beside_others(sizes: tuple[int, ...]) -> None:
    target, bias = films({(0, 0, value): count for value, count in enumerate(sizes)})
    drawn = np.bincount(balanced_groups(target, bias))
    assert drawn.sum() == sum(sizes) and (len(drawn) == 1 or drawn.min() >= FEWEST)


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 4), min_size=2, max_size=120))
def test_groups_never_part_a_crossing_nor_join_targets_or_first_biases(rows: list[tuple[int, ...]]) -> None:
    table = np.array(rows)
    group = balanced_groups(table[:, 0], table[:, 1:])
    frame = pd.DataFrame(table, columns=["target", "first", "second", "third"]).assign(group=group)
    assert sorted(set(group)) == list(range(group.max() + 1))
    assert frame.groupby(["target", "first", "second", "third"])["group"].nunique().max() == 1
    assert frame.groupby("group")[["target", "first"]].nunique().to_numpy().max() == 1
    sizes = frame["group"].value_counts()
    divided = frame.groupby(["target", "first"])["group"].transform("nunique") > 1
    assert (sizes[frame["group"][divided].unique()] >= FEWEST).all()


@pytest.mark.parametrize("batch", [12, 32])
def test_balanced_batches_show_each_of_these_groups_equally_often(batch: int) -> None:
    target, bias = films({(0, 0, 0): 90, (0, 0, 1): 8, (0, 1, 0): 7, (0, 1, 1): 1, (1, 1, 1): 80, (1, 0, 1): 9})
    sampler = EpochSampler(np.arange(len(target)), target, bias, batch, 0, "balanced")
    group = balanced_groups(target, bias)
    for films_of_batch in sampler.batches(0):
        counts = np.bincount(group[films_of_batch], minlength=group.max() + 1)
        assert counts.max() - counts.min() <= 1
