"""The probe finds a source that is there, does not find one that isn't, and is not fooled by the label."""

import math

import numpy as np
import pytest

from training.bias.leakage import source_leak


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
