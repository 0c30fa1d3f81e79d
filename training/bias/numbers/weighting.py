"""How much each film counts, so that no patient dominates, and how many patients the films are worth.

Effective number: Kish, Survey Sampling, 1965, (sum of weights)^2 / sum of squared weights, over patients.
"""

import numpy as np

MINIMUM_PATIENTS = 10
# Films keep their weight of 1 where the patients are worth this share of their number.
SHARE = 0.8


def effective(weight: np.ndarray) -> float:
    """How many patients of equal weight these are worth, to six decimals, so that ten capped to be worth ten are; 0 for none.

    Args:
        weight: of each patient.
    """
    squares = float((weight**2).sum())
    return round(float(weight.sum()) ** 2 / squares, 6) if squares else 0.0


def effective_patients(patient: np.ndarray, weight: np.ndarray) -> float:
    """How many patients of equal weight weighted films are worth.

    Args:
        patient: index of each film's patient.
    """
    return effective(np.bincount(patient, weight)) if len(patient) else 0.0


def film_weights(patient: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weight of each film: 1, but less for films of a patient with so many that few patients would decide a number.

    Within a class all films of a patient weigh together no more than a cap. It is the highest with which the patients are
    worth four fifths of their number, and ten where there are ten. Where patients have one to five films nothing is capped.

    Args:
        patient: index of each film's patient.
        target: index of each film's class.
    """
    weight = np.ones(len(patient))
    for value in range(target.max(initial=-1) + 1):
        rows = np.flatnonzero(target == value)
        if len(rows):
            films = np.bincount(patient[rows])
            weight[rows] = (np.minimum(films, _cap(films[films > 0])) / np.maximum(films, 1))[patient[rows]]
    return weight


def weighted_ranks(score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weight of the films below each film, and half that of its ties: mid-ranks that no patient's films dominate."""
    level, of_film = np.unique(score, return_inverse=True)
    total = np.bincount(of_film, weight, minlength=len(level))
    return (np.cumsum(total) - total / 2)[of_film]


def _cap(films: np.ndarray) -> float:
    """The highest weight of a patient for patients with these numbers of films, at least the lowest number."""
    needed = max(SHARE * len(films), min(len(films), MINIMUM_PATIENTS)) * (1 - 1e-9)
    low, high = float(films.min()), float(films.max())
    if effective(films.astype(float)) >= needed:
        return high
    while high - low > 1e-9 * high:  # the effective number falls as the cap rises
        middle = (low + high) / 2
        low, high = (middle, high) if effective(np.minimum(films, middle)) >= needed else (low, middle)
    return low
