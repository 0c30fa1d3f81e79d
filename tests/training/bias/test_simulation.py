"""The cohorts have the AUROC and the correlations they claim, and the statistics keep their promises in them."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from training.bias.simulation import (
    SCENARIOS,
    answered_yes,
    calibration_gaps,
    coverage,
    false_positives,
    leak_calibration,
    one_patient_with_many,
    read_arguments,
    simulate_cohort,
    simulate_features,
    simulated_predictions,
    small_coverage,
    speed,
    two_hospitals,
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
    assert coverage(simulations=60, resamples=200)["Wilson"] < 54


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


def test_the_model_of_two_hospitals_is_as_good_at_both_unless_it_reads_the_source() -> None:
    blind, reads = (two_hospitals(SCENARIOS[f"{word}, 90 % and 10 %"], 0, 7) for word in ("blind", "reads the source"))
    assert len(blind) == 406 and blind["patient"].nunique() == 400
    odds = [np.log(films["score"] / (1 - films["score"])) for films in (blind, reads)]
    gap = (odds[1] - odds[0]).groupby(blind["source"]).mean()
    assert gap["A"] == pytest.approx(0.4) and gap["B"] == pytest.approx(-0.4)


@pytest.mark.trains
def test_a_blind_model_is_seldom_told_that_it_uses_the_source_and_one_that_does_is() -> None:
    blind = answered_yes(SCENARIOS["blind, 80 % of 100 and 10 % of 400"], 15, 100).set_index("question")
    reads = answered_yes(SCENARIOS["reads the source, 80 % of 100 and 10 % of 400"], 15, 100).set_index("question")
    for name in ("follows", "contradicting", "groups"):
        assert blind.loc[name, "yes"] <= 3, name
    assert blind.loc["works", "yes"] == blind.loc["works", "concluded"] == 15
    for name in ("follows", "contradicting"):
        assert reads.loc[name, "yes"] >= 10, name


@pytest.mark.trains
def test_a_calibrated_model_has_no_gap_in_calibration() -> None:
    assert calibration_gaps((20, 400), 40, 100) <= 5


@pytest.mark.trains
def test_one_patient_with_many_films_decides_nothing() -> None:
    found = one_patient_with_many(100, 59, 40, 100)
    assert found["different"] <= 6 and found["covered"] >= 34


@pytest.mark.trains
def test_shares_and_auroc_are_covered_with_few_patients_and_near_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.bias.simulation.COUNTS", (10, 20))
    monkeypatch.setattr("training.bias.simulation.TRUTHS", (0.5, 0.95))
    found = small_coverage(40, 100)
    assert (found["share"] >= 0.93).all() and (found["auroc"] >= 0.87).all() and len(found) == 4


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
    held = coverage(simulations=2000)["Wilson"]
    assert 0.93 <= held / 2000 <= 0.97, binomtest(held, 2000).proportion_ci(method="wilson")


@pytest.mark.slow
def test_equal_models_are_called_different_in_3_to_7_percent() -> None:
    found = false_positives(simulations=2000)
    for name in ("permutation", "interval"):
        assert 0.03 <= found[name] / 2000 <= 0.07, binomtest(found[name], 2000).proportion_ci(method="wilson")
