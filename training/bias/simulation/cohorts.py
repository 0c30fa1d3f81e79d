"""Films of clustered patients of which the true AUROC is known.

Cohorts are clustered binormal: a film's score is delta x label + a normal term of its patient + a normal term of the film,
with a total variance of 1. Labels belong to patients, who are the sampling unit, and a patient's number of films is
independent of their scores. So every pair of a positive and a negative film is of two independent patients, and the AUROC
over films is Phi(delta / sqrt 2) exactly.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from training.bias.numbers.interval import Interval

TRUE_AUROC = 0.8


class SimulatedCohort(NamedTuple):
    """Films of clustered patients.

    Attributes:
        is_positive: of each film, the same for all of a patient.
        scores: films x models, unbounded.
        patient: index of each film's patient.
    """

    is_positive: np.ndarray
    scores: np.ndarray
    patient: np.ndarray


def simulate_cohort(
    rng: np.random.Generator,
    patients: int = 200,
    auroc: float = TRUE_AUROC,
    models: int = 1,
    within_patient: float = 0.5,
    between_models: float = 0.5,
) -> SimulatedCohort:
    """Draw patients with one to five films each, half of them positive on average.

    Args:
        auroc: true AUROC of every model.
        models: score columns.
        within_patient: correlation of the scores of two films of a patient, beyond the label.
        between_models: correlation of two models' scores of a film, beyond the label.
    """
    patient = np.arange(patients).repeat(rng.integers(1, 6, patients))
    is_positive = (rng.random(patients) < 0.5)[patient]

    def normal(count: int) -> np.ndarray:
        shared, separate = rng.normal(size=(count, 1)), rng.normal(size=(count, models))
        return np.sqrt(between_models) * shared + np.sqrt(1 - between_models) * separate

    noise = np.sqrt(within_patient) * normal(patients)[patient] + np.sqrt(1 - within_patient) * normal(len(patient))
    return SimulatedCohort(is_positive, np.sqrt(2) * norm.ppf(auroc) * is_positive[:, None] + noise, patient)


def contains(interval: Interval, value: float) -> bool:
    """Whether an interval holds a value."""
    return interval.low <= value <= interval.high
