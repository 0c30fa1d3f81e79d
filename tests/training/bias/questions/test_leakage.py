"""The probe finds a source that is there, does not find one that isn't, and is not fooled by the label."""

import math

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.metrics import recall_score

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


@pytest.mark.trains
def test_the_linear_probe_is_source_leak_with_an_interval_and_a_test() -> None:
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


@pytest.mark.trains
def test_the_interval_is_over_patients() -> None:
    features, source, target, patient = serial(1.5, 0)
    found = probe(features, source, target, patient, permutations=1)
    classes = probing.probed_classes(source, target, patient)
    right = probing.right_guesses(features, classes, "linear", 0)
    guess = np.where(right[0], source, np.where(source == "0", "1", "0"))
    draws = []
    for seed in range(800):  # the plain bootstrap: patients drawn, films listed as often
        drawn = np.random.default_rng(seed).integers(60, size=60)
        at = np.concatenate([np.flatnonzero(patient == one) for one in drawn])
        draws.append(recall_score(source[at], guess[at], average="macro"))
    low, high = np.percentile(draws, (2.5, 97.5))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)
    assert found.leak == pytest.approx(recall_score(source, guess, average="macro"))


@pytest.mark.trains
def test_the_mlp_reads_what_no_plane_can() -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(400, 4))
    source = np.where(features[:, 0] * features[:, 1] > 0, "a", "b")
    films = features, source, np.zeros(400), np.arange(400)
    linear, mlp = (probe(*films, kind=kind, permutations=19, resamples=50) for kind in ("linear", "mlp"))
    assert linear.leak < 0.6 and mlp.leak > 0.8 and mlp.p == 1 / 20
    assert mlp.null_mean == pytest.approx(0.5, abs=0.05)


def test_the_mlp_is_balanced_over_values() -> None:
    rng = np.random.default_rng(6)
    source = np.where(rng.random(500) < 0.1, "rare", "usual")
    features = rng.normal(size=(500, 3)) + 1.0 * (source == "rare")[:, None]
    found = probe(features, source, np.zeros(500), np.arange(500), kind="mlp", permutations=1, resamples=50)
    assert found.values.set_index("value")["recall"]["rare"] > 0.5


@pytest.mark.trains
def test_p_is_uniform_where_features_know_nothing() -> None:
    """Two hundred cohorts of serial films: p of 0.1 or less in a tenth of them, never mind the films per patient."""
    p = []
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for seed in range(200):
            features, source, target, patient = serial(0.0, seed, patients=30)
            classes = probing.probed_classes(source, target, patient, seed, folds=2)
            refits = probing.refitted_leaks(features, classes, "linear", 9, seed)
            p.append(np.mean(refits >= refits[0]))
    assert 0.04 <= np.mean(np.array(p) <= 0.1) <= 0.17
    assert np.mean(p) == pytest.approx(0.55, abs=0.09)


def test_permutations_keep_patients_whole_and_folds_as_they_are() -> None:
    _, source, target, patient = serial(0.0, 1)
    source = source.copy()
    several = patient == patient[np.bincount(patient)[patient] == 4][0]
    source[several] = ["0", "1", "1", "0"]
    probed = probing.probed_classes(source, target, patient)[0]
    rng, orders = np.random.default_rng(0), set()
    for _ in range(20):
        permuted = probing._permuted(probed, rng)
        orders.add("".join(permuted[several]))
        assert sorted(permuted[several]) == ["0", "0", "1", "1"]
        for _, held in probed.folds:
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
        gap, detectable = leak_difference(films[0], *films)
        assert all(math.isnan(value) for value in (*gap, detectable))


def test_a_difference_pairs_the_films() -> None:
    reference, source, target, patient = cohort(2.0)
    clean = np.random.default_rng(9).normal(size=reference.shape)
    gap, detectable = leak_difference(reference, clean, source, target, patient, resamples=300)
    assert gap.high < 0 < detectable < 0.15
    leaks = [source_leak(features, source, target, patient).leak for features in (reference, clean)]
    assert gap.estimate == pytest.approx(leaks[1] - leaks[0])
    same = leak_difference(reference, reference[:, ::-1] * 2 + 1, source, target, patient, resamples=50)
    assert same == ((0, 0, 0), 0)


def test_what_cannot_be_probed_is_refused() -> None:
    with pytest.raises(ValueError, match="linear or mlp"):
        probe(*cohort(0.0), kind="forest")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one"):
        probe(*cohort(0.0), permutations=0)
