"""AUROC over patients against scikit-learn and scipy: resamples, strata, differences in pairs, permutations."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import roc_auc_score

from training.bias.numbers.auroc import auroc_difference, auroc_interval, auroc_permutation_p, stratified_auroc
from training.bias.numbers.metrics import swapped_difference


def films(seed: int = 0, patients: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, patients)
    positive = (np.arange(patients) % 2 == 0).repeat(counts)
    level = rng.normal(0, 1, patients).repeat(counts)
    score = np.round(positive * 1.0 + level + rng.normal(0, 0.3, len(level)), 1)  # rounded: ties
    return positive, score, np.arange(patients).repeat(counts)


def alike(count: int) -> np.ndarray:
    return np.zeros(count, int)


def test_auroc_of_resamples_is_that_of_repeated_films() -> None:
    positive, score, patient = films()
    auroc = stratified_auroc(positive, score[:, None], patient, alike(len(patient)))
    weights = np.random.default_rng(1).integers(0, 4, (80, 20))
    expected = [roc_auc_score(positive.repeat(w), score.repeat(w)) for w in weights[patient].T]
    np.testing.assert_allclose(auroc(weights.astype(float))[0], expected, rtol=1e-12)


@pytest.mark.trains
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


def test_swaps_are_real_swaps_of_scores() -> None:
    positive, score, patient = films(patients=60)
    ranks = score, score + np.random.default_rng(1).normal(0, 2, len(score))
    both = stratified_auroc(
        np.tile(positive, 2), np.concatenate(ranks)[:, None], np.r_[patient, patient + 60], alike(2 * len(patient))
    )
    swaps = np.random.default_rng(2).integers(0, 2, (60, 30))
    found = swapped_difference(both)(swaps.astype(float))[0]
    for column, difference in zip(swaps.T, found, strict=True):
        swapped = column[patient] == 1
        first, second = np.where(swapped, ranks[1], ranks[0]), np.where(swapped, ranks[0], ranks[1])
        assert difference == pytest.approx(roc_auc_score(positive, second) - roc_auc_score(positive, first), abs=1e-12)


def test_permutation_finds_a_planted_difference_and_ignores_the_scale() -> None:
    positive, score, patient = films(patients=160)
    worse = score + np.random.default_rng(3).normal(0, 3, len(score))
    assert auroc_permutation_p(positive, score, worse, patient) < 0.01
    assert auroc_permutation_p(positive, np.exp(score), score, patient) == 1
    seeds = np.stack([score, score], 1)
    assert auroc_permutation_p(positive, seeds, np.stack([worse, worse], 1), patient) == auroc_permutation_p(
        positive, score, worse, patient
    )


def test_few_patients_are_nan() -> None:
    positive, score, patient = films(patients=18)
    assert all(math.isnan(value) for value in auroc_interval(positive, score, patient))
    gap, detectable = auroc_difference(positive, score, score, patient)
    assert math.isnan(gap.estimate) and math.isnan(detectable)
    assert math.isnan(auroc_permutation_p(positive, score, score, patient))
    assert math.isnan(auroc_interval(positive, score, patient, stratum=positive).estimate)
