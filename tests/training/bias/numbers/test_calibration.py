"""Temperature and threshold against brute force."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, log_softmax
from sklearn.metrics import roc_curve

from training.bias.numbers.calibration import (
    at_its_bound,
    calibration_by_group,
    fit_temperature,
    fit_threshold,
    parse_operating_point,
)
from training.bias.numbers.metrics import FilmColumns, read_films


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_temperature_is_recovered_and_optimal(true_temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 3))
    probability = np.exp(log_softmax(logits, axis=1))
    target = (probability.cumsum(1) > rng.random((len(logits), 1))).argmax(1)
    found = fit_temperature(logits * true_temperature, target)
    assert found == pytest.approx(true_temperature, rel=0.05)

    def loss(t: float) -> float:
        return -log_softmax(logits * true_temperature / t, axis=1)[np.arange(len(target)), target].mean()

    assert loss(found) <= min(loss(found * 0.98), loss(found * 1.02))


def example() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    positive = rng.random(300) < 0.4
    return np.round(np.clip(rng.normal(0.4 + 0.2 * positive, 0.2), 0, 1), 2), positive


def rates(score: np.ndarray, positive: np.ndarray, threshold: float) -> tuple[float, float]:
    call = score >= threshold
    return call[positive].mean(), (~call[~positive]).mean()


def test_youden_beats_every_other_threshold() -> None:
    score, positive = example()
    best = sum(rates(score, positive, fit_threshold(score, positive)))
    assert best == pytest.approx(max(sum(rates(score, positive, t)) for t in np.unique(score)))


@pytest.mark.parametrize("wanted", [0.5, 0.9, 1.0])
def test_asked_for_sensitivity_and_specificity_are_reached_and_no_more_is_given_away(wanted: float) -> None:
    score, positive = example()
    at = fit_threshold(score, positive, f"sensitivity:{wanted}")
    assert rates(score, positive, at)[0] >= wanted
    assert rates(score, positive, np.nextafter(at, 2))[0] < wanted
    at = fit_threshold(score, positive, f"specificity:{wanted}")
    curve = roc_curve(positive, score, drop_intermediate=False)
    assert rates(score, positive, at)[1] >= wanted
    assert rates(score, positive, at)[0] == pytest.approx(curve[1][1 - curve[0] >= wanted].max())


def test_one_class_and_unknown_points_are_sentences() -> None:
    with pytest.raises(ValueError, match="films of both classes"):
        fit_threshold(np.array([0.1, 0.2]), np.array([True, True]))
    for text in ("f1", "sensitivity", "sensitivity:0", "sensitivity:x", "youden:0.5"):
        with pytest.raises(ValueError, match="give youden"):
            parse_operating_point(text)


def calibrated(factor: float = 1.0, size: int = 4000, each: int = 1) -> FilmColumns:
    """Films whose log odds are `factor` times those of a calibrated score."""
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 1.5, size)
    positive = rng.random(size) < expit(odds)
    names = np.array(["well", "ill"], dtype=object)
    score = expit(factor * odds)
    table = pd.DataFrame(
        {"patient": range(size), "target": names[positive.astype(int)], "score": score, "prediction": "ill"}
    )
    return read_films(pd.concat([table] * each, ignore_index=True), "ill")


def test_slope_and_ratio_of_a_calibrated_score_are_1_and_of_a_sharpened_one_the_slope_falls() -> None:
    groups = {"all": np.arange(4000), "few": np.arange(12)}
    found = calibration_by_group(calibrated(), groups).set_index("group")
    row = found.loc["all"]
    assert row["slope_low"] < 1 < row["slope_high"] and row["ratio_low"] < 1 < row["ratio_high"]
    assert np.isnan(found.loc["few", ["slope", "ratio"]].astype(float)).all()
    sharp = calibration_by_group(calibrated(2.0), groups).iloc[0]
    assert sharp["slope"] == pytest.approx(row["slope"] / 2, rel=1e-4) and sharp["slope_high"] < 1


def test_films_of_a_patient_count_once_in_the_standard_errors_and_separated_scores_have_no_slope() -> None:
    one, three = (calibration_by_group(calibrated(each=n), {"all": np.arange(4000 * n)}).iloc[0] for n in (1, 3))
    assert three["slope_low"] == pytest.approx(one["slope_low"], abs=1e-3)
    assert three["ratio_high"] == pytest.approx(one["ratio_high"], abs=1e-3)
    names = np.repeat(["well", "ill"], 20)
    apart = pd.DataFrame(
        {"patient": range(40), "target": names, "score": np.repeat([0.2, 0.8], 20), "prediction": names}
    )
    row = calibration_by_group(read_films(apart, "ill"), {"all": np.arange(40)}).iloc[0]
    assert np.isnan(row["slope"]) and row["ratio"] == pytest.approx(1)


def test_a_temperature_at_its_bound_is_known() -> None:
    assert at_its_bound(20.0) and at_its_bound(0.05) and not at_its_bound(1.0)
