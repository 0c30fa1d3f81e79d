"""How often the intervals over patients and seeds hold the true difference of two methods, and those over patients alone.

A film's score is (delta of the method + a normal term of method and seed) x label + normal terms of its patient and of the
film, which are in part shared by all trainings, in part of the method, of the seed (both methods train on one draw) and of
method and seed. So the expected AUROC of a method is Phi(delta / sqrt(2 + variance of the first term)).
"""

import argparse
from typing import NamedTuple

import numpy as np
from rich.table import Table
from scipy.stats import norm

from training.bias.numbers.auroc import aurocs_by_column
from training.bias.numbers.two_level import (
    SeedDifference,
    auroc_difference_over_seeds,
    seed_mean,
    share_difference_over_seeds,
)
from training.bias.simulation.cohorts import contains

SEEDS, PATIENTS = (3, 5, 10), (40, 100, 250)
# Variance of the scores within a label that all trainings share, that a method's, a seed's, and a method and seed's own.
SHARED, OF_METHOD, OF_SEED, OF_BOTH = 0.6, 0.2, 0.1, 0.1
SOURCES = 3


class Setting(NamedTuple):
    """Two methods.

    Attributes:
        reference: expected AUROC of the first; `other` of the second.
        spread: standard deviation over seeds of a method's separation of the classes; 0.15 is 0.03 of AUROC at 0.8.
        accuracy: compare the accuracies of two equal methods in place of AUROC; sources have one level of scores then.
    """

    reference: float
    other: float
    spread: float
    accuracy: bool = False

    def threshold(self) -> float:
        """Half way between the classes of the first method."""
        return _delta(self.reference, self.spread) / 2


SETTINGS = {
    "equal, seeds alike": Setting(0.8, 0.8, 0.0),
    "equal, seeds differ": Setting(0.8, 0.8, 0.15),
    "0.05 better, seeds differ": Setting(0.8, 0.85, 0.15),
    "equal near 1, seeds differ": Setting(0.96, 0.96, 0.15),
    "0.02 better near 1": Setting(0.97, 0.99, 0.15),
    "equal accuracy, seeds differ": Setting(0.8, 0.8, 0.15, accuracy=True),
}


class SimulatedTrainings(NamedTuple):
    """Films scored by two methods with every seed; `scores` are two of films x seeds, the rest has one entry a film."""

    is_positive: np.ndarray
    scores: tuple[np.ndarray, np.ndarray]
    patient: np.ndarray
    source: np.ndarray


def simulate_trainings(
    rng: np.random.Generator, setting: Setting, seeds: int, patients: int, within_patient: float = 0.5
) -> SimulatedTrainings:
    """Draw patients with one to five films each, half of them positive, of one of three sources with its own level of scores.

    Args:
        within_patient: share of each variance that a patient's films have in common.
    """
    patient = np.arange(patients).repeat(rng.integers(1, 6, patients))
    is_positive = rng.permutation(np.arange(patients) % 2 == 0)[patient]
    source = rng.integers(SOURCES, size=patients)[patient]

    def noise(variance: float, columns: int) -> np.ndarray:
        of_patient, of_film = rng.normal(size=(patients, columns)), rng.normal(size=(len(patient), columns))
        mixed = np.sqrt(within_patient) * of_patient[patient] + np.sqrt(1 - within_patient) * of_film
        return np.asarray(np.sqrt(variance) * mixed)

    common = noise(SHARED, 1) + noise(OF_SEED, seeds)
    level = 0.0 if setting.accuracy else source[:, None] * rng.normal()
    scores = []
    for auroc in (setting.reference, setting.other):
        delta = _delta(auroc, setting.spread) + setting.spread * rng.normal(size=seeds)
        own = noise(OF_METHOD, 1) + noise(OF_BOTH, seeds)
        scores.append(common + own + level + delta * is_positive[:, None])
    return SimulatedTrainings(is_positive, (scores[0], scores[1]), patient, source)


def seeds_coverage(setting: Setting, seeds: int, patients: int, simulations: int, seed: int = 0) -> dict[str, float]:
    """Shares of the cohorts in which intervals hold the true difference, and in which the methods are called different.

    `both` is over patients and seeds, `patients` over patients alone, with these trainings taken for all there can be (NaN
    for accuracy). AUROC is over pairs of films of one source.
    """
    counts = dict.fromkeys(("both", "patients", "different", "detected"), 0.0)
    for number in range(simulations):
        films = simulate_trainings(np.random.default_rng([seed, number]), setting, seeds, patients)
        found = _difference(films, setting)
        true = setting.other - setting.reference
        counts["both"] += contains(found.interval, true)
        counts["different"] += found.p < 0.05
        counts["detected"] += found.p < 0.05 and found.interval.estimate * true > 0
        counts["patients"] += _held_over_patients(films, setting, true)
    return {name: count / simulations for name, count in counts.items()}


def _delta(auroc: float, spread: float) -> float:
    return float(np.sqrt(2 + spread**2) * norm.ppf(auroc))


def _difference(films: SimulatedTrainings, setting: Setting) -> SeedDifference:
    reference, other = films.scores
    if setting.accuracy:
        gained, before = ((scores > setting.threshold()) == films.is_positive[:, None] for scores in (other, reference))
        return share_difference_over_seeds(gained, before, films.patient, films.is_positive)
    return auroc_difference_over_seeds(films.is_positive, other, reference, films.patient, films.source)


def _held_over_patients(films: SimulatedTrainings, setting: Setting, true: float) -> float:
    """Whether an interval does that takes the mean over these seeds for a single number of the patients."""
    if setting.accuracy:
        return float("nan")
    reference, other = (aurocs_by_column(films.is_positive, s, films.patient, films.source) for s in films.scores)

    def mean_gap(weights: np.ndarray) -> np.ndarray:
        return (other(weights) - reference(weights)).mean(axis=0, keepdims=True)

    alone = seed_mean(mean_gap, int(films.patient.max()) + 1)
    return float(abs(alone.estimate - true) <= norm.ppf(0.975) * np.sqrt(alone.variance))


def seeds_table(options: argparse.Namespace) -> tuple[str, Table]:
    """Title and table of `seeds_coverage`, of every setting, number of seeds and number of patients."""
    table = Table("methods", "seeds", "patients", "holds", "patients alone", "called different")
    for name, setting in SETTINGS.items():
        for seeds in SEEDS:
            for patients in PATIENTS:
                shares = seeds_coverage(setting, seeds, patients, options.simulations, options.seed)
                cells = [
                    "" if np.isnan(shares[column]) else f"{shares[column]:.1%}"
                    for column in ("both", "patients", "different")
                ]
                table.add_row(name, str(seeds), str(patients), *cells)
    title = (
        f"95 % intervals over patients and seeds, and over patients alone, that hold the true difference: "
        f"{options.simulations} cohorts each"
    )
    return title, table
