"""No patient decides a number: weights of films and the number of patients that they are worth."""

import numpy as np
import pytest
from scipy.stats import rankdata

from training.bias.numbers.weighting import SHARE, effective, effective_patients, film_weights, weighted_ranks


def one_class(films: np.ndarray) -> np.ndarray:
    """Weights of patients with these numbers of films, of one class."""
    patient = np.arange(len(films)).repeat(films)
    return np.bincount(patient, film_weights(patient, np.zeros(len(patient), int)))


def test_equal_patients_are_worth_their_number_and_one_alone_is_worth_one() -> None:
    assert effective(np.full(12, 3.0)) == pytest.approx(12) and effective(np.zeros(0)) == 0
    assert effective(np.r_[1000.0, np.ones(3)]) == pytest.approx(1, abs=0.01)
    assert effective_patients(np.array([0, 0, 1]), np.array([0.5, 0.5, 1.0])) == pytest.approx(2)


def test_one_to_five_films_a_patient_keep_their_weight() -> None:
    films = np.random.default_rng(0).integers(1, 6, 200)
    np.testing.assert_array_equal(one_class(films), films)


@pytest.mark.parametrize("others", [12, 60, 500])
def test_a_patient_with_many_films_is_capped_and_no_more_than_needed(others: int) -> None:
    weight = one_class(np.r_[100, np.ones(others, int)])
    assert (weight[1:] == 1).all() and 1 < weight[0] < 100
    assert effective(weight) == pytest.approx(max(SHARE * (others + 1), 10), rel=1e-6)


def test_ten_patients_are_always_worth_ten() -> None:
    for count in (10, 11, 12):
        films = np.random.default_rng(count).integers(1, 40, count)
        assert effective(one_class(films)) == pytest.approx(max(10, SHARE * count), rel=1e-6)
    assert effective(one_class(np.array([7, 1, 1]))) == pytest.approx(3, rel=1e-6)


def test_classes_are_weighted_on_their_own() -> None:
    patient = np.r_[np.zeros(50, int), np.arange(30), np.arange(30)]
    target = np.r_[np.zeros(50, int), np.zeros(30, int), np.ones(30, int)]
    weight = film_weights(patient, target)
    assert (weight[target == 1] == 1).all() and weight[0] < 1


def test_ranks_of_films_of_weight_1_are_mid_ranks_and_others_take_their_weight() -> None:
    score = np.array([0.3, 0.1, 0.3, 0.9])
    np.testing.assert_allclose(weighted_ranks(score, np.ones(4)) + 0.5, rankdata(score))
    np.testing.assert_allclose(weighted_ranks(score, np.array([1, 0.5, 1, 1])), [1.5, 0.25, 1.5, 3])
