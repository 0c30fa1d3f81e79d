"""How often the probe finds a source that is or is not in the features, and whether its intervals hold."""

import argparse
from typing import NamedTuple

import numpy as np
from rich.table import Table

from training.bias.numbers.interval import Interval
from training.bias.questions.leakage import leak_difference, probe
from training.bias.simulation.cohorts import contains
from training.bias.simulation.shares import shares_table


class SimulatedFeatures(NamedTuple):
    """Features of two models over the same films, and what the probe is asked of them; columns of one entry a film."""

    reference: np.ndarray
    other: np.ndarray
    source: np.ndarray
    target: np.ndarray
    patient: np.ndarray


def simulate_features(
    rng: np.random.Generator,
    strength: float,
    patients: int = 200,
    width: int = 64,
    sources: int = 2,
    within_patient: float = 0.6,
) -> SimulatedFeatures:
    """Draw patients with one to five films each, a label and a source by chance, and features of correlated columns.

    Args:
        strength: how far each source's mean lies from the middle, in a direction of its own; both models leak alike.
        within_patient: share of a feature's variance that a patient's films have in common.
    """
    patient = np.arange(patients).repeat(rng.integers(1, 6, patients))
    target, source = rng.integers(2, size=patients)[patient], rng.integers(sources, size=patients)[patient]
    world = np.random.default_rng(0)  # directions and mixtures are the same in all cohorts, so that the leak is
    directions = world.normal(size=(sources, width))
    directions *= strength / np.linalg.norm(directions, axis=1, keepdims=True)

    def noise() -> np.ndarray:
        shared, separate = rng.normal(size=(patients, width)), rng.normal(size=(len(patient), width))
        return np.sqrt(within_patient) * shared[patient] + np.sqrt(1 - within_patient) * separate

    common = noise()
    models = []
    for _ in range(2):
        mixing = np.eye(width) + 0.3 * world.normal(size=(width, width)) / np.sqrt(width)
        models.append(((common + noise()) / np.sqrt(2) + directions[source]) @ mixing)
    names = np.array([f"source {number}" for number in range(sources)])
    reference, other = models
    return SimulatedFeatures(reference, other, names[source], target, patient)


def leak_calibration(
    simulations: int = 300, permutations: int = 199, patients: int = 200, strength: float = 0.0, seed: int = 0
) -> dict[str, int]:
    """In how many cohorts the probe finds the source (p of 0.05 or less), and in how many its two intervals hold.

    The interval of a leak holds where it contains the mean leak over all cohorts, that of the difference of two models where
    it contains the mean difference.
    """
    leaks, gaps, found = list[Interval](), list[Interval](), 0
    for number in range(simulations):
        films = simulate_features(np.random.default_rng([seed, number]), strength, patients)
        groups = films.source, films.target, films.patient
        one = probe(films.reference, *groups, permutations=permutations, seed=number)
        leaks.append(Interval(one.leak, one.low, one.high))
        gaps.append(leak_difference(one, probe(films.other, *groups, permutations=1, seed=number))[0])
        found += one.p <= 0.05
    true_leak, true_gap = (float(np.mean([interval.estimate for interval in all_of])) for all_of in (leaks, gaps))
    return {
        "source found": found,
        "leak in its interval": sum(contains(interval, true_leak) for interval in leaks),
        "difference in its interval": sum(contains(interval, true_gap) for interval in gaps),
    }


def leak_table(options: argparse.Namespace) -> tuple[str, Table]:
    """Title and table of `leak_calibration`."""
    counts = leak_calibration(
        options.simulations, options.permutations, options.patients, options.strength, options.seed
    )
    title = (
        f"Sources that lie {options.strength:g} from the middle of 64 features: {options.simulations} cohorts of "
        f"{options.patients} patients, {options.permutations} permutations"
    )
    return title, shares_table(counts, options.simulations)
