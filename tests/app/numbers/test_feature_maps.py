"""Flat maps of features, and the cosines of the pairs that EnD acts on, against loops and hand values."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from app.numbers.feature_maps import (
    FALSE_ALARM,
    MISSED,
    OTHER,
    RIGHT,
    FeatureError,
    ProbeFilms,
    cosines_by_epoch,
    neighbour_map,
    on_sphere,
    outcomes,
    pair_cosines,
    perplexity,
    principal_plane,
    probe_films,
    same_films,
)
from training.methods.end import entangling_loss


def predictions(rows: list[int]) -> pd.DataFrame:
    count = len(rows)
    return pd.DataFrame(
        {
            "row": rows,
            "file": [f"hash{row}" for row in rows],
            "split": (["test", "external"] * count)[:count],
            "source": (["north", "east", "west"] * count)[:count],
            "target": (["covid", "not covid"] * count)[:count],
            "score": np.linspace(0, 1, count),
            "prediction": "covid",
        }
    )


def test_pair_cosines_are_those_of_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    sphere = on_sphere(rng.normal(size=(40, 7)))
    target, source = rng.integers(3, size=40), rng.choice(["a", "b", "c"], size=40)
    shared_source, shared_target = [], []
    for i, j in itertools.combinations(range(40), 2):
        cosine = float(sphere[i].astype(float) @ sphere[j].astype(float))
        if source[i] == source[j] and target[i] != target[j]:
            shared_source.append(cosine)
        if source[i] != source[j] and target[i] == target[j]:
            shared_target.append(cosine)
    found = pair_cosines(sphere, target, source)
    assert found.shared_source == pytest.approx(np.mean(shared_source), abs=1e-6)
    assert found.shared_target == pytest.approx(np.mean(shared_target), abs=1e-6)
    bias = np.unique(source, return_inverse=True)[1]
    term = entangling_loss(torch.tensor(sphere), torch.tensor(target), torch.tensor(bias), 3, 3)
    assert (1 - found.shared_target) / 2 == pytest.approx(float(term), abs=1e-6), "R_par is of these pairs"


def test_pairs_that_are_not_there_have_no_cosine() -> None:
    found = pair_cosines(np.eye(3, dtype=np.float32), np.array([0, 1, 1]), np.array(["a", "b", "b"]))
    assert np.isnan(found.shared_source) and np.isnan(found.shared_target)


def test_the_plane_is_fitted_once_and_holds_the_share_it_says() -> None:
    rng = np.random.default_rng(1)
    early = np.concatenate([rng.normal(size=(30, 2)) * [3, 1], np.zeros((30, 4))], axis=1)
    plane = principal_plane({0: early, 5: early * 2})
    assert np.allclose(
        plane.positions[5] - plane.positions[5].mean(0), 2 * (plane.positions[0] - plane.positions[0].mean(0))
    )
    assert sum(plane.share) == pytest.approx(1) and plane.share[0] > plane.share[1]
    again = principal_plane({0: early, 5: early * 2})
    assert np.array_equal(plane.positions[0], again.positions[0])
    flat = principal_plane({0: np.ones((4, 1))})
    assert flat.positions[0].shape == (4, 2) and np.isfinite(flat.share).all(), "one feature, no variance"


def test_neighbours_are_seeded_bounded_and_near_each_other() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.eye(2, 5) * 4, 12, axis=0) + rng.normal(size=(24, 5)) * 0.1
    sphere = on_sphere(groups)
    start = principal_plane({0: sphere}).positions[0]
    first, second = neighbour_map(sphere, start), neighbour_map(sphere, start)
    assert np.array_equal(first, second) and np.abs(first).max() == pytest.approx(1)
    nearest = np.array([np.argsort(np.linalg.norm(first - place, axis=1))[1] for place in first])
    assert (nearest // 12 == np.arange(24) // 12).all()
    assert np.isfinite(neighbour_map(sphere[:3], start[:3])).all(), "too few films for t-SNE stay where PCA put them"
    assert perplexity(400) == 30 and perplexity(10) == 3


def test_outcomes() -> None:
    target = pd.Series(["covid", "covid", "none", "none", "other"])
    said = pd.Series(["covid", "none", "covid", "none", "none"])
    assert list(outcomes(target, said, "covid")) == [RIGHT, MISSED, FALSE_ALARM, RIGHT, OTHER]


def test_films_are_joined_by_row_and_never_from_training() -> None:
    table = predictions([4, 7, 9])
    trained = table.assign(split="train", file="wrong")
    features = {2: np.ones((2, 3), np.float16)}
    run = probe_films(np.array([9, 4]), features, pd.concat([trained, table]), "covid")
    assert list(run.films["file"]) == ["hash9", "hash4"] and list(run.films["outcome"]) == [RIGHT, RIGHT]
    assert np.allclose(np.linalg.norm(run.sphere[2], axis=1), 1)
    assert set(cosines_by_epoch(run)["epoch"]) == {2}
    other = ProbeFilms(run.films.assign(file=["hash9", "other"]), run.sphere)
    assert same_films(run, run) and not same_films(run, other)


@pytest.mark.parametrize(
    ("rows", "value", "kept", "why"),
    [
        ([4, 5], 1.0, True, "not of the same films"),
        ([4, 7], np.inf, True, "NaN or infinite"),
        ([4, 7], 1.0, False, "no predictions"),
        ([], 1.0, True, "no features"),
    ],
)
def test_features_that_cannot_be_drawn_get_a_sentence(rows: list[int], value: float, kept: bool, why: str) -> None:
    table = predictions([4, 7, 9]) if kept else None
    with pytest.raises(FeatureError, match=why):
        probe_films(np.array(rows, int), {0: np.full((len(rows), 3), value, np.float16)}, table, "covid")
