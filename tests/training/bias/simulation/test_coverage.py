"""The statistics keep their promises in cohorts whose truth is known."""

import numpy as np
import pytest
from scipy.stats import binomtest

from training.bias.simulation.cohorts import simulate_cohort
from training.bias.simulation.coverage import coverage, false_positives


@pytest.mark.trains
def test_a_hundred_cohorts_are_covered_about_as_promised() -> None:
    for name, held in coverage(simulations=100, resamples=300).items():
        assert 88 <= held <= 100, name


@pytest.mark.trains
def test_films_of_a_patient_taken_for_independent_would_under_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_film(rng: np.random.Generator, patients: int):
        films = simulate_cohort(rng, patients, within_patient=0.95)
        return films._replace(patient=np.arange(len(films.patient)))

    monkeypatch.setattr("training.bias.simulation.coverage.simulate_cohort", by_film)
    assert coverage(simulations=60, resamples=200)["Wilson"] < 54


@pytest.mark.trains
def test_a_hundred_pairs_of_equal_models_are_seldom_called_different() -> None:
    found = false_positives(simulations=100, resamples=200)
    assert found["both"] <= min(found["permutation"], found["interval"])
    assert all(count <= 13 for count in found.values()), found


@pytest.mark.slow
def test_95_percent_intervals_hold_the_truth_in_93_to_97_percent() -> None:
    held = coverage(simulations=2000)["Wilson"]
    assert 0.93 <= held / 2000 <= 0.97, binomtest(held, 2000).proportion_ci(method="wilson")


@pytest.mark.slow
def test_equal_models_are_called_different_in_3_to_7_percent() -> None:
    found = false_positives(simulations=2000)
    for name in ("permutation", "interval"):
        assert 0.03 <= found[name] / 2000 <= 0.07, binomtest(found[name], 2000).proportion_ci(method="wilson")
