"""How often intervals of AUROC contain the true value, and how often equally good models are called different."""

import argparse

import numpy as np
from rich.table import Table

from training.bias.numbers.auroc import auroc_difference, auroc_interval, auroc_permutation_p
from training.bias.simulation.cohorts import TRUE_AUROC, contains, simulate_cohort
from training.bias.simulation.shares import shares_table


def coverage(simulations: int = 2000, resamples: int = 2000, patients: int = 200, seed: int = 0) -> dict[str, int]:
    """In how many simulated cohorts the interval contains the true AUROC."""
    covered = {"Wilson": 0}
    for number in range(simulations):
        films = simulate_cohort(np.random.default_rng([seed, number]), patients)
        interval = auroc_interval(films.is_positive, films.scores, films.patient, resamples, number)
        covered["Wilson"] += contains(interval, TRUE_AUROC)
    return covered


def false_positives(
    simulations: int = 2000, resamples: int = 2000, patients: int = 200, seed: int = 0
) -> dict[str, int]:
    """In how many cohorts two models of the same true AUROC are called different.

    By a `permutation` p below 0.05, by an `interval` of the difference that excludes 0, and by `both`, as `compare` does.
    There are as many permutations as resamples.
    """
    different = {"permutation": 0, "interval": 0, "both": 0}
    for number in range(simulations):
        films = simulate_cohort(np.random.default_rng([seed, number]), patients, models=2)
        pair = films.scores[:, 0], films.scores[:, 1]
        by_p = auroc_permutation_p(films.is_positive, *pair, films.patient, None, resamples, number) < 0.05
        gap, _ = auroc_difference(films.is_positive, *pair, films.patient, resamples, number)
        by_interval = not contains(gap, 0)
        different["permutation"] += by_p
        different["interval"] += by_interval
        different["both"] += by_p and by_interval
    return different


def coverage_table(options: argparse.Namespace) -> tuple[str, Table]:
    """Title and table of `coverage`."""
    counts = coverage(options.simulations, options.resamples, options.patients, options.seed)
    return _titled(f"95 % intervals that contain the true AUROC of {TRUE_AUROC}", counts, options)


def comparison_table(options: argparse.Namespace) -> tuple[str, Table]:
    """Title and table of `false_positives`."""
    counts = false_positives(options.simulations, options.resamples, options.patients, options.seed)
    return _titled(f"Pairs of models of the same true AUROC, {TRUE_AUROC}, called different at 0.05", counts, options)


def _titled(what: str, counts: dict[str, int], options: argparse.Namespace) -> tuple[str, Table]:
    of = f"{options.simulations} cohorts of {options.patients} patients, {options.resamples} resamples"
    return f"{what}: {of}", shares_table(counts, options.simulations)
