from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.cohort.confounding import count_pairs
from datasets.cohort.films import Draw
from datasets.cohort.samplers import EpochSampler


def has_pair(target: np.ndarray, bias: np.ndarray) -> bool:
    """Whether two samples have one target and different biases, looked for the plain way."""
    return any(target[i] == target[j] and bias[i] != bias[j] for i in range(len(target)) for j in range(i))


def drawn(sampler: EpochSampler) -> list[list[int]]:
    return [[draw.film for draw in batch] for batch in sampler]


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Targets and biases of a few films, from independent to wholly confounded."""
    size, targets, biases = draw(st.integers(2, 40)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    target = rng.integers(0, targets, size)
    own = rng.random(size) < draw(st.sampled_from([0.0, 0.7, 0.9, 0.97, 1.0]))
    return target, np.where(own, target % biases, rng.integers(0, biases, size))


@settings(deadline=None, max_examples=200)
@given(table=tables(), batch_size=st.integers(2, 12), seed=st.integers(0, 1000), epoch=st.integers(0, 5))
def test_every_batch_has_a_pair_where_the_films_have_one(
    table: tuple[np.ndarray, np.ndarray], batch_size: int, seed: int, epoch: int
) -> None:
    target, bias = table
    sampler = EpochSampler(np.arange(len(target)), target, bias, batch_size, seed)
    sampler.epoch = epoch
    batches = drawn(sampler)
    assert len(batches) == len(sampler) == len(target) // min(batch_size, len(target))
    assert {len(batch) for batch in batches} == {min(batch_size, len(target))}
    possible = has_pair(target, bias)
    for batch in batches:
        assert has_pair(target[batch], bias[batch]) == possible
        assert len(set(batch)) == len(batch)

    # Nothing is shown twice but in the last places, which hold the films put in to make a pair.
    once = Counter(film for batch in batches for film in batch[:-2])
    assert max(once.values(), default=1) == 1
    if not possible:
        assert max(Counter(film for batch in batches for film in batch).values()) == 1


@settings(deadline=None, max_examples=50)
@given(table=tables(), batch_size=st.integers(1, 12), seed=st.integers(0, 1000))
def test_random_order_shows_each_film_once(table: tuple[np.ndarray, np.ndarray], batch_size: int, seed: int) -> None:
    target, bias = table
    batches = drawn(EpochSampler(np.arange(len(target)), target, bias, batch_size, seed, order="random"))
    films = [film for batch in batches for film in batch]
    assert len(set(films)) == len(films) > len(target) - batch_size


@pytest.mark.parametrize("order", ["paired", "random"])
def test_batches_of_one_film_show_each_once(order: str) -> None:
    """No batch of one can hold a pair, so none is forced on it."""
    target, bias = np.array([0, 0, 1, 1, 0]), np.array([0, 1, 0, 1, 1])
    films = [film for batch in drawn(EpochSampler(np.arange(5), target, bias, 1, 0, order)) for film in batch]
    assert sorted(films) == [0, 1, 2, 3, 4]


def test_groups_are_spread_evenly() -> None:
    rng = np.random.default_rng(0)
    size, batch_size = 2000, 100
    target = rng.integers(0, 2, size)
    bias = np.where(rng.random(size) < 0.9, target, 1 - target)
    cell = 2 * target + bias
    for epoch in range(3):
        sampler = EpochSampler(np.arange(size), target, bias, batch_size, 0)
        sampler.epoch = epoch
        for batch in drawn(sampler):
            for group in range(4):
                share = (cell == group).mean()
                # A film's place is known to within one film of its own group and one of each other group.
                assert abs((cell[batch] == group).sum() - share * batch_size) <= 2 + 8 * share


def test_conflicting_films_meet_in_every_batch_without_being_repeated() -> None:
    """With as many crossing films as batches, dealing alone must do nearly all of the work."""
    size, batch_size = 1024, 32
    target = np.repeat([0, 1], size // 2)
    bias = target.copy()
    bias[:: size // 64] = 1 - bias[:: size // 64]
    films = [film for batch in drawn(EpochSampler(np.arange(size), target, bias, batch_size, 3)) for film in batch]
    assert len(set(films)) == size


@settings(deadline=None, max_examples=100)
@given(table=tables(), batch_size=st.integers(1, 12), seed=st.integers(0, 1000), epoch=st.integers(0, 5))
def test_balanced_batches_show_each_group_equally_often(
    table: tuple[np.ndarray, np.ndarray], batch_size: int, seed: int, epoch: int
) -> None:
    target, bias = table
    sampler = EpochSampler(np.arange(len(target)), target, bias, batch_size, seed, order="balanced")
    sampler.epoch = epoch
    batches = drawn(sampler)
    assert [len(batch) for batch in batches] == [min(batch_size, len(target))] * (len(target) // sampler.batch_size)
    groups = set(zip(target.tolist(), bias.tolist(), strict=True))
    for films in [*batches, [film for batch in batches for film in batch]]:
        shown = Counter((int(target[film]), int(bias[film])) for film in films)
        counts = [shown[group] for group in groups]
        assert max(counts) - min(counts) <= 1


def test_balanced_draws_reach_every_film_of_a_group() -> None:
    """With replacement: a film comes again within an epoch, another not at all, and over epochs all have their turn."""
    target, bias = np.repeat([0, 1], [40, 10]), np.repeat([0, 0], [40, 10])
    sampler = EpochSampler(np.arange(50), target, bias, 10, 0, order="balanced")
    seen = Counter[int]()
    for sampler.epoch in range(200):
        seen.update(film for batch in drawn(sampler) for film in batch)
    assert set(seen) == set(range(50))
    # 5,000 draws of each target: 125 a film of the first group, 500 of the second, give or take five deviations.
    for film, times in seen.items():
        expected = 125 if film < 40 else 500
        assert abs(times - expected) < 5 * expected**0.5


@pytest.mark.parametrize("order", ["paired", "random", "balanced"])
def test_order_is_a_function_of_seed_and_epoch(order: str) -> None:
    rng = np.random.default_rng(0)
    target, bias = rng.integers(0, 2, 100), rng.integers(0, 3, 100)

    def batches(seed: int, epoch: int) -> list[list[int]]:
        sampler = EpochSampler(np.arange(100), target, bias, 8, seed, order)
        sampler.epoch = epoch
        return drawn(sampler)

    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert batches(1, 4) == batches(1, 4)
    assert len({str(batches(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


@pytest.mark.parametrize("order", ["paired", "random", "balanced"])
@pytest.mark.parametrize("start", [0, 1, 5, 12, 13])
def test_resumes_from_start(order: str, start: int) -> None:
    target, bias = np.arange(100) % 2, np.arange(100) % 3
    whole, rest = (EpochSampler(np.arange(100), target, bias, 8, 0, order) for _ in range(2))
    whole.epoch = rest.epoch = 2
    rest.start = start
    assert list(rest) == list(whole)[start:]


def test_draws_name_film_epoch_and_place() -> None:
    positions = np.array([40, 41, 42, 43, 44])
    sampler = EpochSampler(positions, np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 1]), 2, 0)
    sampler.epoch = 7
    draws = [draw for batch in sampler for draw in batch]
    assert all(isinstance(draw, Draw) for draw in draws)
    assert {draw.epoch for draw in draws} == {7}
    assert [draw.position for draw in draws] == [0, 1, 2, 3]
    assert {draw.film for draw in draws} <= set(positions.tolist())


def test_fewer_films_than_a_batch_make_one_batch() -> None:
    sampler = EpochSampler(np.arange(3), np.array([0, 0, 1]), np.array([0, 1, 0]), 64, 0)
    assert len(sampler) == 1
    assert sorted(drawn(sampler)[0]) == [0, 1, 2]


@pytest.mark.parametrize("films", [0, 1])
def test_too_few_films(films: int) -> None:
    with pytest.raises(ValueError, match=f"{films} training films: at least 2"):
        EpochSampler(np.arange(films), np.zeros(films, int), np.zeros(films, int), 2, 0)


def test_every_film_comes_round_within_a_few_epochs() -> None:
    """Films left over by one epoch's whole batches must not be the same ones each time."""
    target, bias = np.arange(23) % 2, np.arange(23) % 3
    sampler, seen = EpochSampler(np.arange(23), target, bias, 8, 0), set[int]()
    for sampler.epoch in range(10):
        seen |= {film for batch in drawn(sampler) for film in batch}
    assert seen == set(range(23))


def test_of_several_biases_each_has_a_pair_in_every_batch() -> None:
    rng = np.random.default_rng(3)
    target, source = rng.integers(2, size=200), (rng.random(200) < 0.03).astype(int)
    view = (rng.random(200) < 0.03).astype(int)
    both = EpochSampler(np.arange(200), target, np.stack([source, view], axis=1), 8, seed=0)
    for epoch in range(3):
        for batch in both.batches(epoch):
            assert has_pair(target[batch], source[batch]) and has_pair(target[batch], view[batch])
            pairs = [count_pairs(target[batch], bias[batch]) for bias in (source, view)]
            np.testing.assert_array_equal(both.pairs(batch), pairs)


def test_a_second_bias_of_one_value_changes_no_order() -> None:
    target, bias = np.arange(90) % 2, np.arange(90) % 3
    for order in ("paired", "random", "balanced"):
        one = EpochSampler(np.arange(90), target, bias, 8, 0, order)
        two = EpochSampler(np.arange(90), target, np.stack([bias, np.zeros_like(bias)], axis=1), 8, 0, order)
        np.testing.assert_array_equal(one.batches(1), two.batches(1))
