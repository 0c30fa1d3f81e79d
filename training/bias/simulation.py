"""Are the intervals and p-values calibrated? `python -m training.bias.simulation {coverage,comparison,leak,speed}`.

`coverage` counts how often the 95 % intervals of AUROC contain the true value, `comparison` how often two equally good models
are called different, `leak` how often the probe finds a source that is or is not in the features, and whether its intervals
hold, `speed` times all metrics by source. Cohorts are clustered binormal: a film's score is delta x label
+ a normal term of its patient + a normal term of the film, with a total variance of 1. Labels belong to patients, who are the
sampling unit, and a patient's number of films is independent of their scores. So every pair of a positive and a negative
film is of two independent patients, and the AUROC over films is Phi(delta / sqrt 2) exactly.
"""

import argparse
import os
import platform
import resource
import sys
import time
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.special import expit
from scipy.stats import binomtest, norm

from training.bias.numbers.auroc import auroc_difference, auroc_permutation_p, stratified_auroc
from training.bias.numbers.groups import group_metrics
from training.bias.numbers.uncertainty import Interval, intervals, percentile_interval, resampling_strata
from training.bias.questions.leakage import leak_difference, probe
from training.console.commandline import Parser

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


def coverage(simulations: int = 2000, resamples: int = 2000, patients: int = 200, seed: int = 0) -> dict[str, int]:
    """In how many simulated cohorts the interval contains the true AUROC, for `BCa` and for `percentile`."""
    covered = {"BCa": 0, "percentile": 0}
    for number in range(simulations):
        films = simulate_cohort(np.random.default_rng([seed, number]), patients)
        one_source = np.zeros(len(films.patient), int)
        auroc = stratified_auroc(films.is_positive, films.scores, films.patient, one_source)
        stratum = resampling_strata(films.patient, one_source, films.is_positive.astype(int))
        (interval,), _, drawn = intervals(auroc, stratum, resamples, number)
        covered["BCa"] += _contains(interval, TRUE_AUROC)
        covered["percentile"] += _contains(percentile_interval(interval.estimate, drawn[0]), TRUE_AUROC)
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
        by_interval = not _contains(gap, 0)
        different["permutation"] += by_p
        different["interval"] += by_interval
        different["both"] += by_p and by_interval
    return different


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
        gaps.append(leak_difference(films.reference, films.other, *groups, seed=number)[0])
        found += one.p <= 0.05
    true_leak, true_gap = (float(np.mean([interval.estimate for interval in all_of])) for all_of in (leaks, gaps))
    return {
        "source found": found,
        "leak in its interval": sum(_contains(interval, true_leak) for interval in leaks),
        "difference in its interval": sum(_contains(interval, true_gap) for interval in gaps),
    }


def simulated_predictions(rows: int, sources: int = 6, seed: int = 0) -> pd.DataFrame:
    """A predictions table of about `rows` films, two of a patient on average, from sources of equal size."""
    rng = np.random.default_rng(seed)
    count = max(1, rows // 2)
    patient = np.sort(rng.integers(count, size=rows))
    positive = (rng.random(count) < 0.5)[patient]
    score = expit(1.2 * (positive - 0.5) + rng.normal(size=count)[patient] + rng.normal(size=rows))
    names = np.array(["not covid", "covid"], dtype=object)
    return pd.DataFrame(
        {
            "patient": patient,
            "source": np.array([f"source {number}" for number in range(sources)], dtype=object)[patient % sources],
            "target": names[positive.astype(int)],
            "score": score,
            "prediction": names[(score >= 0.5).astype(int)],
        }
    )


def speed(rows: int, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Seconds of all metrics by source over `rows` films, and the peak memory of this process so far in GiB."""
    table = simulated_predictions(rows, seed=seed)
    started = time.perf_counter()
    group_metrics(table, "covid", ["source"], resamples, seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return time.perf_counter() - started, peak / (2**30 if sys.platform == "darwin" else 2**20)


def main(options: argparse.Namespace) -> None:
    """Run one of the commands and print its table."""
    started = time.perf_counter()
    if options.command == "speed":
        title = f"All metrics by 6 sources, {options.resamples} resamples of patients"
        seconds, peak = speed(options.rows, options.resamples, options.seed)
        table = Table("films", "seconds", "peak memory, GiB")
        table.add_row(str(options.rows), f"{seconds:.1f}", f"{peak:.2f}")
    else:
        if options.command == "coverage":
            title = f"95 % intervals that contain the true AUROC of {TRUE_AUROC}"
            counts = coverage(options.simulations, options.resamples, options.patients, options.seed)
        elif options.command == "leak":
            title = f"Sources that lie {options.strength:g} from the middle of 64 features"
            counts = leak_calibration(
                options.simulations, options.permutations, options.patients, options.strength, options.seed
            )
        else:
            title = f"Pairs of models of the same true AUROC, {TRUE_AUROC}, called different at 0.05"
            counts = false_positives(options.simulations, options.resamples, options.patients, options.seed)
        kind = "permutations" if options.command == "leak" else "resamples"
        title += f": {options.simulations} cohorts of {options.patients} patients, {getattr(options, kind)} {kind}"
        table = Table("by", "share", "95 % (Wilson)")
        for name, count in counts.items():
            low, high = binomtest(count, options.simulations).proportion_ci(method="wilson")
            table.add_row(name, f"{count / options.simulations:.1%}", f"{low:.1%} to {high:.1%}")
    console = Console()
    console.print(title, soft_wrap=True)
    console.print(table)
    console.print(
        f"seed {options.seed}; {time.perf_counter() - started:.0f} s on {os.cpu_count()} CPU cores ({platform.machine()}), "
        f"numpy {np.__version__}, Python {platform.python_version()}",
        soft_wrap=True,
    )


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command and its options."""
    parser = Parser(prog="python -m training.bias.simulation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("coverage", "how often the intervals of AUROC contain the true value"),
        ("comparison", "how often equally good models are called different"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--simulations", type=int, default=2000, help="cohorts")
        command.add_argument("--patients", type=int, default=200, help="of each cohort")
    command = commands.add_parser("leak", help="how often the probe finds a source, and whether its intervals hold")
    command.add_argument("--simulations", type=int, default=300, help="cohorts")
    command.add_argument("--patients", type=int, default=200, help="of each cohort")
    command.add_argument("--strength", type=float, default=0.0, help="of the source in the features; 0 for none")
    command.add_argument("--permutations", type=int, default=199, help="of each probe")
    commands.add_parser("speed", help="time and memory of all metrics by source").add_argument(
        "--rows", type=int, default=100_000, help="films"
    )
    for command in commands.choices.values():
        if command is not commands.choices["leak"]:
            command.add_argument("--resamples", type=int, default=2000, help="of the bootstrap, and permutations")
        command.add_argument("--seed", type=int, default=0, help="of the cohorts and the resampling")
    return parser.parse_args(arguments)


def _contains(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high


if __name__ == "__main__":
    main(read_arguments(sys.argv[1:]))
