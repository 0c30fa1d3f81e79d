"""The probe finds a source that is there, does not find one that isn't, and is not fooled by the label."""

import math
import time

import numpy as np
import pandas as pd
import pytest

from training.bias.questions import probing
from training.bias.questions.leakage import leak_difference, probe, source_leak


def cohort(strength: float, seed: int = 0, size: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    source, patient = rng.integers(0, 3, size), np.arange(size)
    target = rng.integers(0, 2, size)
    features = rng.normal(size=(size, 12))
    features[np.arange(size), source] += strength
    return features, source.astype(str), target, patient


def test_a_planted_source_is_found_and_a_missing_one_is_at_chance() -> None:
    found = source_leak(*cohort(4.0))
    assert found.leak > 0.93 and found.chance == pytest.approx(1 / 3)
    assert found.normalised == pytest.approx((found.leak - 1 / 3) / (2 / 3))
    assert abs(source_leak(*cohort(0.0)).normalised) < 0.1


def test_features_of_the_target_alone_do_not_leak_although_source_follows_target() -> None:
    rng = np.random.default_rng(1)
    target = rng.integers(0, 2, 800)
    source = np.where(rng.random(800) < 0.9, target, 1 - target).astype(str)
    features = rng.normal(size=(800, 5)) + 5 * target[:, None]
    assert abs(source_leak(features, source, target, np.arange(800)).normalised) < 0.12


def test_serial_films_of_a_patient_do_not_leak_through_the_folds() -> None:
    rng = np.random.default_rng(2)
    patient = np.arange(60).repeat(10)
    source = (patient % 2).astype(str)
    features = rng.normal(size=(60, 40))[patient] + 0.01 * rng.normal(size=(600, 40))  # known by face, not by source
    assert source_leak(features, source, np.zeros(600), patient).leak < 0.75


def test_small_sources_and_classes_with_one_source_are_left_out() -> None:
    features, source, target, patient = cohort(4.0)
    source = source.astype("<U9")
    source[:5] = "tiny"
    assert source_leak(features, source, target, patient).chance == pytest.approx(1 / 3)
    one = source_leak(features, np.full(600, "a"), target, patient)
    assert all(math.isnan(value) for value in one)
    assert math.isnan(source_leak(features[:0], source[:0], target[:0], patient[:0]).leak)


def test_serial_films_do_not_make_a_source_large_enough() -> None:
    features, source, target, _ = cohort(4.0)
    assert math.isnan(source_leak(features, source, target, np.arange(600) % 5).leak)


def serial(strength: float, seed: int, patients: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One to four films a patient, much alike, of two sources that the features know to some degree."""
    rng = np.random.default_rng(seed)
    patient = np.arange(patients).repeat(rng.integers(1, 5, patients))
    source = rng.permutation(np.arange(patients) % 2)
    features = rng.normal(size=(patients, 6)) + strength * source[:, None] * (np.arange(6) == 0)
    noise = 0.3 * rng.normal(size=(len(patient), 6))
    return features[patient] + noise, source.astype(str)[patient], np.zeros(len(patient)), patient


def test_the_probe_is_source_leak_with_an_interval_and_a_test() -> None:
    films = cohort(1.0, size=300)
    known, found = source_leak(*films), probe(*films, name="source", permutations=19, resamples=300)
    assert (found.leak, found.chance, found.normalised) == pytest.approx(known, abs=1e-12)
    assert (found.attribute, found.kind, found.note) == ("source", "linear", "")
    assert found.low < found.leak < found.high and found.high - found.low < 0.25
    assert found.p == 1 / 20 and found.null_mean == pytest.approx(1 / 3, abs=0.05)
    assert found.null_mean < found.null_high < found.low


def test_classes_and_values_add_up_to_the_leak() -> None:
    features, source, target, patient = cohort(1.0, size=300)
    found = probe(features, source, target, patient, permutations=1, resamples=50)
    assert found.values["films"].sum() == found.classes["films"].sum() == 300
    assert found.classes["leak"].mean() == pytest.approx(found.leak)
    by_class = found.values.groupby("target")["recall"].mean()
    np.testing.assert_allclose(by_class.to_numpy(), found.classes["leak"].to_numpy())
    for row in found.values.itertuples():
        assert row.films == row.patients == ((target == row.target) & (source == row.value)).sum()


def test_a_leak_of_a_fixed_probe_is_that_of_discriminant_analysis() -> None:
    """The closed form against scikit-learn's solver, fold by fold, in the features that it whitens."""
    features, source, target, patient = cohort(1.0, size=300)
    for probed in probing.probed_classes(source, target, patient):
        guess = np.empty_like(probed.value)
        for fold in range(5):
            fit, held = probed.fold != fold, probed.fold == fold
            z = probing._whitened(features[probed.films].astype(np.float32), fit).astype(np.float64)
            within = np.zeros((12, 12))
            for value in "012":
                own = z[fit][probed.value[fit] == value]
                within += (own - own.mean(axis=0)).T @ (own - own.mean(axis=0)) / fit.sum()
            within += np.eye(12) - z[fit].T @ z[fit] / fit.sum()  # the ridge, in these coordinates
            means = np.stack([z[fit][probed.value[fit] == value].mean(axis=0) for value in "012"])
            directions = np.linalg.solve(within, means.T)
            score = z[held] @ directions - (means.T * directions).sum(axis=0) / 2
            guess[held] = np.array(list("012"))[score.argmax(axis=1)]
        right = probing.probes(probing.whitened(features, probed), probed).right
        assert (right == (guess == probed.value)).all() and right.mean() > 0.5


def test_a_resampled_probe_is_the_probe_of_films_listed_as_often() -> None:
    features, source, target, patient = serial(1.5, 3)
    (probed,) = probing.probed_classes(source, target, patient)
    units = probing.units_of(probed)
    weights = np.ones((2, len(units.code)))
    weights[1, ::3] = 2
    found = probing.probes(probing.whitened(features, probed), probed, weights=weights)
    at = np.concatenate([np.arange(len(patient)), np.flatnonzero(weights[1][units.of_film] == 2)])
    twice = probed._replace(films=at, value=source[at], patient=patient[at], fold=probed.fold[at])
    assert found.recall[0] == pytest.approx(probing.probes(probing.whitened(features, probed), probed).recall[0])
    # The whitening knows no weights, so the listed films' probe is near, not equal.
    assert found.recall[1] == pytest.approx(
        probing.probes(probing.whitened(features, twice), twice).recall[0], abs=0.06
    )


def test_folds_keep_patients_whole_and_deal_every_value_round() -> None:
    rng = np.random.default_rng(4)
    patient = np.arange(200).repeat(rng.integers(1, 9, 200))
    value = np.where(np.arange(200) < 30, "rare", "usual")[patient]
    fold = probing.dealt_folds(value, patient, 5, 0)
    assert all(len(set(fold[patient == one])) == 1 for one in range(200))
    for name, count in {"rare": 6, "usual": 34}.items():
        of_fold = [len(set(patient[(fold == number) & (value == name)])) for number in range(5)]
        assert of_fold == [count] * 5
    assert np.ptp(np.bincount(fold)) <= 8
    order = rng.permutation(len(patient))
    assert (probing.dealt_folds(value[order], patient[order], 5, 0) == fold[order]).all(), "the same in any order"
    assert (probing.dealt_folds(value, patient, 5, 1) != fold).any()


def test_folds_of_a_hundred_thousand_films_take_no_time() -> None:
    patient = np.random.default_rng(0).integers(33_333, size=100_000)
    began = time.process_time()
    probing.dealt_folds((patient % 6).astype(str), patient, 5, 0)
    assert time.process_time() - began < 5


@pytest.mark.trains
def test_p_is_uniform_where_features_know_nothing() -> None:
    """Two hundred cohorts of serial films: p of 0.1 or less in a tenth of them, never mind the films per patient."""
    p = [probe(*serial(0.0, seed, patients=30), permutations=19, resamples=2, seed=seed).p for seed in range(200)]
    assert 0.05 <= np.mean(np.array(p) <= 0.1) <= 0.16
    assert np.mean(p) == pytest.approx(0.525, abs=0.07)


@pytest.mark.trains
def test_the_interval_is_over_patients_and_their_probes() -> None:
    """As wide as the leak varies over cohorts, or wider."""
    found = [probe(*serial(1.5, seed), permutations=1, resamples=100, seed=seed) for seed in range(40)]
    spread = np.std([one.leak for one in found])
    half = np.mean([(one.high - one.low) / 2 / 1.96 for one in found])
    assert 0.8 * spread <= half <= 1.6 * spread


def test_permutations_keep_patients_whole_and_folds_as_they_are() -> None:
    _, source, target, patient = serial(0.0, 1)
    source = source.copy()
    several = patient == patient[np.bincount(patient)[patient] == 4][0]
    source[several] = ["0", "1", "1", "0"]
    probed = probing.probed_classes(source, target, patient)[0]
    units, orders = probing.units_of(probed), set()
    codes = probing.permuted(units, 20, 0)
    assert (codes[0][units.of_film].astype(str) == source).all(), "the true values come first"
    for row in codes[1:]:
        permuted = row[units.of_film].astype(str)
        orders.add("".join(permuted[several]))
        assert sorted(permuted[several]) == ["0", "0", "1", "1"]
        for held in (probed.fold == number for number in range(5)):
            whole = {
                one: set(permuted[held][patient[held] == one]) for one in set(patient[held]) - {patient[several][0]}
            }
            before = [source[patient == one][0] for one in whole]
            assert all(len(values) == 1 for values in whole.values())
            assert sorted(before) == sorted(values.pop() for values in whole.values())
        assert (permuted != source).mean() > 0.1
    assert len(orders) > 2


def test_missing_and_small_values_are_left_out_and_said() -> None:
    features, source, target, patient = cohort(4.0)
    view = source.astype(object)
    view[:20] = None
    view[20:30] = ["", float("nan"), pd.NA, None, None] * 2
    view[30:34] = "LATERAL"
    found = probe(features, view, target, patient, name="view", permutations=1, resamples=50)
    known = np.r_[34:600]
    assert found.leak == pytest.approx(source_leak(features[known], source[known], target[known], patient[known]).leak)
    assert "view is not recorded for 30 films" in found.note and "LATERAL" in found.note
    assert found.values.loc[found.values["value"] == "LATERAL", "recall"].isna().all()
    assert found.values["films"].sum() == 570


def test_too_few_patients_are_not_concluded_from() -> None:
    features, source, target, patient = cohort(4.0)
    for films in (
        (features, source, target, patient % 9),
        (features, np.full(600, "a"), target, patient),
        (features, np.full(600, None), target, patient),
        (features[:0], source[:0], target[:0], patient[:0]),
    ):
        found = probe(*films)
        assert all(math.isnan(value) for value in found[2:10])
        assert "Cannot conclude" in found.note and found.classes.empty
        gap, detectable = leak_difference(found, found)
        assert all(math.isnan(value) for value in (*gap, detectable))


def test_a_difference_pairs_the_films() -> None:
    reference, source, target, patient = cohort(2.0)
    clean = np.random.default_rng(9).normal(size=reference.shape)
    groups = source, target, patient
    before, after = (probe(features, *groups, permutations=1, resamples=300) for features in (reference, clean))
    gap, detectable = leak_difference(before, after)
    assert gap.high < 0 < detectable < 0.15
    leaks = [source_leak(features, source, target, patient).leak for features in (reference, clean)]
    assert gap.estimate == pytest.approx(leaks[1] - leaks[0])
    turned = probe(reference[:, ::-1] * 2 + 1, *groups, permutations=1, resamples=300)
    assert leak_difference(before, turned) == ((0, 0, 0), 0)


def test_a_test_without_permutations_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        probe(*cohort(0.0), permutations=0)
