"""The temperature that calibrates scores and the threshold from which a film is called positive, both from validation.

And how well scores are calibrated on other films: calibration slope, and observed over expected positives (Van Calster et
al., BMC Medicine 2019), both 1 for a calibrated model. A slope below 1: scores too extreme. A ratio below 1: scores too high.

Temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. Youden's J: Youden, Cancer 1950.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit
from sklearn.metrics import roc_curve

from training.bias.numbers.metrics import FilmColumns, ratio
from training.bias.numbers.weighting import MINIMUM_PATIENTS, effective_patients, film_weights

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0


def fit_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """Temperature in [0.05, 20] with the lowest cross-entropy of `logits / temperature`.

    Args:
        logits: films x classes.
        target: index of each film's class.
    """

    def cross_entropy(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(target)), target].mean())

    best = minimize_scalar(
        cross_entropy, bounds=(np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE)), method="bounded"
    )
    return float(np.exp(best.x))


def fit_threshold(score: np.ndarray, is_positive: np.ndarray, operating_point: str = "youden") -> float:
    """Score from which a film is called positive.

    Args:
        score: calibrated probability of the positive class.
        operating_point: `youden` (largest sensitivity + specificity), `sensitivity:S` (the highest threshold that reaches
            sensitivity S) or `specificity:S` (the lowest that reaches specificity S).

    Raises:
        ValueError: an operating point of another form, or films of one class only.
    """
    name, value = parse_operating_point(operating_point)
    if is_positive.all() or not is_positive.any():
        raise ValueError("a threshold needs validation films of both classes")
    false_positive, sensitivity, threshold = roc_curve(is_positive, score, drop_intermediate=False)
    specificity = 1 - false_positive
    if name == "sensitivity":
        chosen = int(np.argmax(sensitivity >= value))
    elif name == "specificity":
        chosen = int(np.flatnonzero(specificity >= value)[-1])
    else:
        chosen = int(np.argmax(sensitivity + specificity))
    # The curve's first point lies above every score, where nothing is called positive.
    return float(min(threshold[chosen], np.nextafter(score.max(), np.inf)))


def parse_operating_point(text: str) -> tuple[str, float]:
    """`sensitivity:0.9` as its name and number; raises ValueError with the valid forms."""
    name, _, number = text.partition(":")
    if name == "youden" and not number:
        return name, float("nan")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if name not in ("sensitivity", "specificity") or not 0 < value <= 1:
        raise ValueError(f"operating point {text!r}: give youden, sensitivity:0.9 or specificity:0.9")
    return name, value


def at_its_bound(temperature: float) -> bool:
    """Whether the fit of a temperature ended at the limit of its range, so that the scores are not calibrated."""
    return not LOWEST_TEMPERATURE * 1.01 < temperature < HIGHEST_TEMPERATURE / 1.01


def calibration_by_group(films: FilmColumns, groups: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Calibration slope and observed over expected of each group of films, with 95 % intervals over patients.

    Args:
        groups: rows of each group, by name.

    Returns:
        group, films, effective (patients of the rarer class), slope, slope_low, slope_high, ratio, ratio_low, ratio_high; NaN
        below ten effective patients in either class, the slope also where scores separate the classes.
    """
    records = []
    for name, rows in groups.items():
        part = films[rows]
        weight = film_weights(part.patient, part.target)
        sides = (part.is_positive, ~part.is_positive)
        worth = min(effective_patients(part.patient[side], weight[side]) for side in sides)
        numbers = [float("nan")] * 6
        if worth >= MINIMUM_PATIENTS:
            numbers = [*_slope(part, weight), *_observed_over_expected(part, weight)]
        records.append((name, len(rows), worth, *numbers))
    columns = ["group", "films", "effective", "slope", "slope_low", "slope_high", "ratio", "ratio_low", "ratio_high"]
    return pd.DataFrame(records, columns=columns)


def _slope(films: FilmColumns, weight: np.ndarray) -> tuple[float, float, float]:
    """Of a logistic regression of the label on the log odds of the score; standard error by patient (sandwich)."""
    odds = np.clip(logit(np.clip(films.score, 1e-9, 1 - 1e-9)), -20, 20)
    design, label, values = np.stack([np.ones(len(odds)), odds], axis=1), films.is_positive.astype(float), np.zeros(2)
    undefined = (float("nan"),) * 3
    if np.ptp(odds) < 1e-9:
        return undefined
    for _ in range(50):
        mean = expit(design @ values)
        hessian = (design * (weight * mean * (1 - mean))[:, None]).T @ design
        if np.linalg.cond(hessian) > 1e12:
            return undefined
        step = np.linalg.solve(hessian, design.T @ (weight * (label - mean)))
        values = values + step * min(1.0, 5 / np.abs(step).max()) if np.abs(step).max() else values
        if np.abs(step).max() < 1e-9:
            break
    else:
        return undefined
    residual = design * (weight * (label - expit(design @ values)))[:, None]
    by_patient = np.stack([np.bincount(films.patient, column) for column in residual.T], axis=1)
    bread = np.linalg.inv(hessian)
    error = float(np.sqrt((bread @ (by_patient.T @ by_patient) @ bread)[1, 1]))
    return float(values[1]), float(values[1]) - 1.96 * error, float(values[1]) + 1.96 * error


def _observed_over_expected(films: FilmColumns, weight: np.ndarray) -> tuple[float, float, float]:
    observed, expected = (np.bincount(films.patient, weight * column) for column in (films.is_positive, films.score))
    found = float(ratio(observed.sum(), expected.sum()))
    error = float(np.sqrt(((observed - found * expected) ** 2).sum()) / observed.sum())  # of its logarithm
    return found, found * float(np.exp(-1.96 * error)), found * float(np.exp(1.96 * error))
