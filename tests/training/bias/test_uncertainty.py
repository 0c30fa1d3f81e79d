"""Weighted AUROC against repeated films, intervals against scipy, differences in pairs."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap, ttest_1samp
from sklearn.metrics import roc_auc_score

from training.bias.uncertainty import (
    auroc_difference,
    auroc_interval,
    patient_weights,
    seed_interval,
    weighted_auroc,
)


def films(seed: int = 0, patients: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, patients)
    positive = (np.arange(patients) % 2 == 0).repeat(counts)
    level = rng.normal(0, 1, patients).repeat(counts)
    score = np.round(positive * 1.0 + level + rng.normal(0, 0.3, len(level)), 1)  # rounded: ties
    return positive, score, np.arange(patients).repeat(counts)


def test_weights_repeat_whole_patients() -> None:
    _, _, patient = films()
    weights = patient_weights(patient, 50, np.random.default_rng(0))
    for row in weights:
        per_patient = [set(row[patient == p]) for p in np.unique(patient)]
        assert all(len(values) == 1 for values in per_patient)
        assert sum(values.pop() for values in per_patient) == 80


def test_weighted_auroc_is_that_of_repeated_films() -> None:
    positive, score, patient = films()
    weights = patient_weights(patient, 20, np.random.default_rng(1))
    expected = [roc_auc_score(positive.repeat(w), score.repeat(w)) for w in weights]
    np.testing.assert_allclose(weighted_auroc(positive, score, weights), expected, rtol=1e-12)
    assert np.isnan(weighted_auroc(positive, score, weights * positive)).all()


def test_the_interval_agrees_with_scipy_over_patients() -> None:
    positive, score, patient = films()
    found = auroc_interval(positive, score, patient, resamples=4000)
    groups = [np.flatnonzero(patient == p) for p in np.unique(patient)]

    def statistic(chosen: np.ndarray) -> float:
        at = np.concatenate([groups[int(i)] for i in chosen])
        return roc_auc_score(positive[at], score[at])

    oracle = bootstrap((np.arange(80),), statistic, vectorized=False, n_resamples=2000, method="percentile", rng=0)
    assert found.estimate == pytest.approx(roc_auc_score(positive, score))
    assert found.low == pytest.approx(oracle.confidence_interval.low, abs=0.015)
    assert found.high == pytest.approx(oracle.confidence_interval.high, abs=0.015)


def test_serial_films_widen_the_interval() -> None:
    positive, score, patient = films()
    by_patient, by_film = (auroc_interval(positive, score, p) for p in (patient, np.arange(len(patient))))
    assert by_patient.high - by_patient.low > 1.2 * (by_film.high - by_film.low)


def test_a_difference_pairs_and_averages_seeds() -> None:
    positive, score, patient = films()
    better = score + 0.8 * positive
    gap, detectable = auroc_difference(positive, np.stack([better, score], 1), np.stack([score, score], 1), patient)
    assert gap.estimate == pytest.approx((roc_auc_score(positive, better) - roc_auc_score(positive, score)) / 2)
    assert 0 < gap.low < gap.estimate < gap.high and detectable > 0
    same, none = auroc_difference(positive, score, score, patient)
    assert same == (0, 0, 0) and none == 0


def test_few_patients_are_nan() -> None:
    positive, score, patient = films(patients=18)
    assert all(math.isnan(value) for value in auroc_interval(positive, score, patient))
    gap, detectable = auroc_difference(positive, score, score, patient)
    assert math.isnan(gap.estimate) and math.isnan(detectable)


def test_seed_interval_is_student_s() -> None:
    values = np.array([0.1, 0.2, 0.15, 0.3, 0.05])
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    found = seed_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert math.isnan(seed_interval(values[:1]).low)
