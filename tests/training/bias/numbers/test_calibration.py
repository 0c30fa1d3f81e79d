"""Temperature and threshold against brute force."""

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import roc_curve

from training.bias.numbers.calibration import fit_temperature, fit_threshold, parse_operating_point


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
