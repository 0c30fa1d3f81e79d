"""The cohorts have the AUROC and the correlations they claim, and the statistics keep their promises in them."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from training.bias.simulation import (
    coverage,
    false_positives,
    leak_calibration,
    read_arguments,
    simulate_cohort,
    simulate_features,
    simulated_predictions,
    speed,
)


def test_cohorts_have_the_true_auroc_and_correlations() -> None:
    films = simulate_cohort(np.random.default_rng(0), 40_000, 0.8, models=2, within_patient=0.6, between_models=0.3)
    for score in films.scores.T:
        assert roc_auc_score(films.is_positive, score) == pytest.approx(0.8, abs=0.006)
    negatives = ~films.is_positive
    scores, patient = films.scores[negatives], films.patient[negatives]
    assert scores.std(axis=0) == pytest.approx(1, abs=0.02)
    assert np.corrcoef(scores.T)[0, 1] == pytest.approx(0.3, abs=0.02)
    serial = np.flatnonzero(np.diff(patient) == 0)
    assert np.corrcoef(scores[serial, 0], scores[serial + 1, 0])[0, 1] == pytest.approx(0.6, abs=0.03)
    counts = np.bincount(films.patient)
    assert set(counts) == {1, 2, 3, 4, 5}
    assert all(len(set(films.is_positive[films.patient == p])) == 1 for p in range(50))


@pytest.mark.trains
def test_a_hundred_cohorts_are_covered_about_as_promised() -> None:
    for name, held in coverage(simulations=100, resamples=300).items():
        assert 88 <= held <= 100, name


@pytest.mark.trains
def test_films_of_a_patient_taken_for_independent_would_under_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_film(rng: np.random.Generator, patients: int):
        films = simulate_cohort(rng, patients, within_patient=0.95)
        return films._replace(patient=np.arange(len(films.patient)))

    monkeypatch.setattr("training.bias.simulation.simulate_cohort", by_film)
    assert coverage(simulations=60, resamples=200)["percentile"] < 51


@pytest.mark.trains
def test_a_hundred_pairs_of_equal_models_are_seldom_called_different() -> None:
    found = false_positives(simulations=100, resamples=200)
    assert found["both"] <= min(found["permutation"], found["interval"])
    assert all(count <= 13 for count in found.values()), found


def test_features_hold_the_source_as_strongly_as_asked() -> None:
    films = simulate_features(np.random.default_rng(0), 3.0, patients=4000, width=8)
    first = films.source == "source 0"
    for features in (films.reference, films.other):
        assert np.linalg.norm(features[first].mean(axis=0) - features[~first].mean(axis=0)) > 2
    none = simulate_features(np.random.default_rng(0), 0.0, patients=4000, width=8)
    assert abs(none.reference[first].mean(axis=0)).max() < 0.1
    assert np.corrcoef(films.reference[:, 0], films.other[:, 0])[0, 1] > 0.3


@pytest.mark.trains
def test_the_probe_finds_what_is_there_and_seldom_what_is_not() -> None:
    nothing = leak_calibration(simulations=40, permutations=39, patients=60)
    assert nothing["source found"] <= 6 and min(nothing.values()) >= 0
    assert nothing["leak in its interval"] >= 34 and nothing["difference in its interval"] >= 34
    assert leak_calibration(simulations=10, permutations=39, patients=100, strength=3.0)["source found"] == 10


def test_speed_measures_a_table_of_the_rows_asked_for() -> None:
    table = simulated_predictions(3000)
    assert len(table) == 3000 and table["source"].nunique() == 6
    assert table.groupby("patient")["target"].nunique().max() == table.groupby("patient")["source"].nunique().max() == 1
    seconds, peak = speed(3000, resamples=20)
    assert 0 < seconds < 60 and 0.01 < peak < 64


def test_the_command_line() -> None:
    assert read_arguments(["coverage", "--simulations", "7"]).simulations == 7
    assert read_arguments(["speed", "--rows", "9"]).rows == 9
    assert read_arguments(["leak", "--strength", "0.5"]).strength == 0.5
    with pytest.raises(SystemExit):
        read_arguments(["speed", "--simulations", "7"])


@pytest.mark.slow
def test_95_percent_intervals_hold_the_truth_in_93_to_97_percent() -> None:
    held = coverage(simulations=2000)["BCa"]
    assert 0.93 <= held / 2000 <= 0.97, binomtest(held, 2000).proportion_ci(method="wilson")


@pytest.mark.slow
def test_equal_models_are_called_different_in_3_to_7_percent() -> None:
    found = false_positives(simulations=2000)
    for name in ("permutation", "interval"):
        assert 0.03 <= found[name] / 2000 <= 0.07, binomtest(found[name], 2000).proportion_ci(method="wilson")
