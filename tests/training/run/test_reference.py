"""What a run remembers of its training films: distances by a naive count, the limit, the file and how it can be broken."""

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from training.run.checkpoint_header import HEAD, CheckpointError
from training.run.reference import FILMS, NAME, K, Reference, load_reference, on_unit_sphere, save_reference


def features(films: int, seed: int, width: int = 8, centre: float = 0.0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(films, width)) + 2
    drawn[:, 0] += centre
    return drawn.astype(np.float32)


def test_the_distance_is_that_to_the_kth_nearest_training_film() -> None:
    train, films = features(50, 0), features(20, 1)
    reference = Reference.of(train, films, 0)
    assert reference.k == K == 10 and reference.features.dtype == np.float16
    kept = reference.features.astype(float)
    unit = films / np.sqrt((films.astype(float) ** 2).sum(axis=1, keepdims=True))
    naive = [sorted(math.dist(film, other) for other in kept)[9] for film in unit]
    np.testing.assert_allclose(reference.distances(films), naive, rtol=1e-4)
    np.testing.assert_array_equal(reference.validation_distances, reference.distances(films))
    exact = [sorted(math.dist(film, other) for other in on_unit_sphere(train))[9] for film in unit]
    np.testing.assert_allclose(reference.distances(films), exact, atol=1e-3)  # what float16 costs


def test_few_training_films_lower_k() -> None:
    reference = Reference.of(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), 0)
    assert reference.k == 3
    np.testing.assert_allclose(reference.validation_distances, math.sqrt(2), rtol=1e-6)


def test_length_does_not_count_and_direction_does() -> None:
    reference, films = Reference.of(features(100, 0), features(40, 1), 0), features(30, 2)
    np.testing.assert_allclose(reference.distances(films * 7), reference.distances(films), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(reference.distances(films[::-1]), reference.distances(films)[::-1])
    assert reference.distances(-films).min() > reference.distances(films).max()


def test_about_one_film_in_twenty_like_the_training_ones_is_beyond_the_limit_and_strange_ones_are() -> None:
    reference = Reference.of(features(1000, 0), features(1000, 1), 0)
    assert 0.045 < (reference.validation_distances > reference.limit).mean() <= 0.05
    assert 0.03 < (reference.distances(features(2000, 2)) > reference.limit).mean() < 0.07
    assert (reference.distances(features(200, 3, centre=12)) > reference.limit).mean() > 0.95


def test_too_few_validation_films_set_no_limit() -> None:
    assert math.isnan(Reference.of(features(50, 0), features(19, 1), 0).limit)
    assert math.isnan(Reference.of(features(50, 0), features(0, 1), 0).limit)
    assert Reference.of(features(50, 0), features(20, 1), 0).limit > 0


def test_the_draw_is_seeded_and_bounded() -> None:
    train, held = features(FILMS + 500, 0, width=2), features(20, 1, width=2)
    one, again, other = (Reference.of(train, held, seed) for seed in (0, 0, 1))
    assert one.features.shape == (FILMS, 2)
    np.testing.assert_array_equal(one.features, again.features)
    assert not np.array_equal(one.features, other.features)
    whole = {tuple(film) for film in on_unit_sphere(train).astype(np.float16).tolist()}
    assert {tuple(film) for film in one.features.tolist()} <= whole


def test_films_that_are_no_numbers_are_infinitely_far_and_zeros_are_not() -> None:
    reference, films = Reference.of(features(50, 0), features(20, 1), 0), features(4, 2)
    films[0, 3], films[1, 0], films[2] = np.nan, np.inf, 0
    found = reference.distances(films)
    assert np.isinf(found[:2]).all() and found[2] == pytest.approx(1, abs=1e-3) and found[3] < 1
    assert reference.distances(films[:0]).shape == (0,)
    with pytest.raises(ValueError, match="features of 5 numbers a film, the reference has 8"):
        reference.distances(films[:, :5])


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    reference = Reference.of(features(300, 0), features(60, 1), 0)
    save_reference(reference, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [NAME]
    read = load_reference(tmp_path)
    assert read is not None and read.limit == reference.limit and read.k == reference.k
    np.testing.assert_array_equal(read.distances(features(9, 2)), reference.distances(features(9, 2)))


def test_nearest_among_some() -> None:
    reference = Reference.of(np.eye(6, dtype=np.float32), np.empty((0, 6), np.float32), 0, rows=np.arange(100, 106))
    film = np.array([3.0, 2.0, 1.0, 0, 0, 0], np.float32)
    positions, distances = reference.nearest(film, np.array([1, 2, 4]), 2)
    assert reference.rows[positions].tolist() == [101, 102]
    length = np.sqrt(14)
    assert distances == pytest.approx(np.sqrt(2 - 2 * np.array([2, 1]) / length), abs=1e-3)
    assert len(reference.nearest(film, np.array([5]), 3)[0]) == 1
    assert len(reference.nearest(np.full(6, np.nan, np.float32), np.array([5]), 3)[0]) == 0


def test_a_run_without_one_has_none(tmp_path: Path) -> None:
    assert load_reference(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("pickle", "not a safetensors file"),
        ("cut", "not a safetensors file"),
        ("format", "format 'other', version 1; this package reads"),
        ("version", "version 9; this package reads"),
        ("no metadata", "format None"),
        ("no distances", "entry 'validation_distances' is missing"),
        ("no rows", "entry 'rows' is missing"),
        ("rows", "fit together"),
        ("no k", "entry 'k' is missing"),
        ("no header", "entry 'header' is missing"),
        ("header", "is broken"),
        ("k", "fit together"),
        ("shape", "fit together"),
        ("infinite", "fit together"),
    ],
)
def test_a_broken_file_is_a_sentence(change: str, expected: str, tmp_path: Path) -> None:
    arrays = {
        "features": np.eye(12, dtype=np.float16), "rows": np.arange(12), "validation_distances": np.ones(30, np.float32),
    }  # fmt: skip
    metadata = {"format": "end-cxr-reference", "version": "1", "header": json.dumps({"k": 10})}
    changes = {
        "format": {"format": "other"}, "version": {"version": "9"}, "no k": {"header": "{}"}, "header": {"header": "["},
        "k": {"header": '{"k": 13}'},
    }  # fmt: skip
    metadata |= changes.get(change, {})
    if change == "no distances":
        del arrays["validation_distances"]
    elif change == "no rows":
        del arrays["rows"]
    elif change == "rows":
        arrays["rows"] = np.arange(11)
    elif change == "no header":
        del metadata["header"]
    elif change == "shape":
        arrays["features"] = np.ones(12, np.float16)
    elif change == "infinite":
        arrays["features"][0, 0] = np.inf
    save_file(arrays, tmp_path / NAME, metadata=None if change == "no metadata" else metadata)
    if change == "pickle":
        (tmp_path / NAME).write_bytes(pickle.dumps(arrays))
    elif change == "cut":
        (tmp_path / NAME).write_bytes((tmp_path / NAME).read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=expected):
        load_reference(tmp_path)


def test_a_reference_of_another_run_is_refused(tmp_path: Path) -> None:
    reference = Reference.of(np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32), 0)
    for name, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        save_file({HEAD: np.full((2, 4), value, np.float32)}, tmp_path / name / "model.safetensors")
        save_reference(reference, tmp_path / name)
    assert load_reference(tmp_path / "a") is not None
    (tmp_path / "a" / NAME).write_bytes((tmp_path / "b" / NAME).read_bytes())
    with pytest.raises(CheckpointError, match=f"{NAME} is of another run"):
        load_reference(tmp_path / "a")
    (tmp_path / "a" / "model.safetensors").unlink()
    assert load_reference(tmp_path / "a") is not None  # nothing to compare it with
