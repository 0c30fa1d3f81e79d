"""Are the intervals and p-values calibrated? `python -m training.bias.simulation COMMAND`.

`coverage` counts how often the 95 % intervals of AUROC contain the true value, `comparison` how often two equally good models
are called different, `speed` times all metrics by source, `small` counts the coverage of shares and AUROC by number of
patients and true value, and `verdict` how often the audit's questions are answered yes where nothing is wrong, and where
something is, and `leak` how often the probe finds a source that is or is not in the features, and whether its intervals hold.

Cohorts are clustered binormal: a film's score is delta x label + a normal term of its patient + a normal term of the film,
with a total variance of 1. Labels belong to patients, who are the sampling unit, and a patient's number of films is
independent of their scores. So every pair of a positive and a negative film is of two independent patients, and the AUROC
over films is Phi(delta / sqrt 2) exactly.
"""

import argparse
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.special import expit
from scipy.stats import binom, binomtest, norm

from training.bias.evidence import Evidence
from training.bias.numbers.alignment import majority_targets
from training.bias.numbers.auroc import auroc_difference, auroc_interval, auroc_permutation_p
from training.bias.numbers.groups import group_metrics
from training.bias.numbers.proportions import Bounds
from training.bias.numbers.uncertainty import Interval
from training.bias.questions.leakage import leak_difference, probe
from training.bias.report.answers import BY_KEY, NOT_ASKED, TOO_FEW, YES
from training.bias.report.verdict import Measured, answers
from training.console.commandline import Parser

TRUE_AUROC = 0.8
COUNTS, TRUTHS = (10, 12, 20, 60, 200), (0.5, 0.8, 0.9, 0.95, 0.98)


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
    """In how many simulated cohorts the interval contains the true AUROC."""
    covered = {"Wilson": 0}
    for number in range(simulations):
        films = simulate_cohort(np.random.default_rng([seed, number]), patients)
        interval = auroc_interval(films.is_positive, films.scores, films.patient, resamples, number)
        covered["Wilson"] += _contains(interval, TRUE_AUROC)
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
        gaps.append(leak_difference(one, probe(films.other, *groups, permutations=1, seed=number))[0])
        found += one.p <= 0.05
    true_leak, true_gap = (float(np.mean([interval.estimate for interval in all_of])) for all_of in (leaks, gaps))
    return {
        "source found": found,
        "leak in its interval": sum(_contains(interval, true_leak) for interval in leaks),
        "difference in its interval": sum(_contains(interval, true_gap) for interval in gaps),
    }


def small_coverage(simulations: int = 1000, resamples: int = 400, seed: int = 0) -> pd.DataFrame:
    """Coverage of the intervals of shares (exact) and of AUROC, a row for each number of patients and true value.

    Of AUROC there are as many patients of each class, one film each.
    """
    records = []
    for count in COUNTS:
        right = np.arange(count + 1)
        trials = np.full(count + 1, float(count))
        low, high = Bounds(right / count, trials, np.full(count + 1, np.nan), wide=True).at()
        for truth in TRUTHS:
            share = binom.pmf(right, count, truth)[(low <= truth) & (truth <= high)].sum()
            held = 0
            for number in range(simulations):
                rng = np.random.default_rng([seed, count, round(100 * truth), number])
                ill = np.arange(2 * count) < count
                score = rng.normal(size=2 * count) + np.sqrt(2) * norm.ppf(truth) * ill
                held += _contains(auroc_interval(ill, score, np.arange(2 * count), resamples, number), truth)
            records.append({"patients": count, "truth": truth, "share": share, "auroc": held / simulations})
    return pd.DataFrame(records)


class Scenario(NamedTuple):
    """Two hospitals of which the model reads, or does not, which one a film is of.

    Attributes:
        prevalence: of each hospital.
        patients: of each hospital.
        shift: added to the log odds of films of the first hospital (half), and taken from those of the other.
    """

    prevalence: tuple[float, float]
    patients: tuple[int, int]
    shift: float = 0.0


SCENARIOS = {
    "blind, 30 % and 30 %": Scenario((0.3, 0.3), (200, 200)),
    "blind, 80 % of 100 and 10 % of 400": Scenario((0.8, 0.1), (100, 400)),
    "blind, 90 % and 10 %": Scenario((0.9, 0.1), (200, 200)),
    "reads the source, 80 % of 100 and 10 % of 400": Scenario((0.8, 0.1), (100, 400), 0.8),
    "reads the source, 90 % and 10 %": Scenario((0.9, 0.1), (200, 200), 0.8),
    "reads the source, 70 % and 30 %": Scenario((0.7, 0.3), (200, 200), 0.8),
}


def two_hospitals(scenario: Scenario, seed: int, many: int = 1) -> pd.DataFrame:
    """Predictions of a model that is as good at both; one patient has `many` films, each other one film.

    Sex, view and age band are drawn at random, so that no group differs.
    """
    rng = np.random.default_rng(seed)
    source = np.repeat(["A", "B"], scenario.patients).astype(object)
    ill = np.concatenate([rng.random(n) < p for p, n in zip(scenario.prevalence, scenario.patients, strict=True)])
    patient = np.arange(len(source)).repeat(np.r_[many, np.ones(len(source) - 1, int)])
    odds = np.sqrt(0.5) * rng.normal(size=len(source))[patient] + np.sqrt(0.5) * rng.normal(size=len(patient))
    odds += 1.5 * ill[patient] - 0.75 + scenario.shift * ((source[patient] == "A") - 0.5)
    score, names = expit(odds), np.array(["not covid", "covid"], dtype=object)
    drawn = {
        "sex": rng.choice(["F", "M"], len(source)),
        "view": rng.choice(["PA", "AP", "LATERAL"], len(source), p=[0.6, 0.25, 0.15]),
        "age_band": rng.choice(
            ["0-19", "20-39", "40-59", "60-79", "80+"], len(source), p=[0.15, 0.2, 0.25, 0.25, 0.15]
        ),
    }
    films = pd.DataFrame({"patient": patient, "source": source[patient], "split": "test", "score": score})
    films["target"] = names[ill[patient].astype(int)]
    films["prediction"] = names[(score >= 0.65).astype(int)]
    return films.assign(**{name: values[patient] for name, values in drawn.items()})


def answered_yes(scenario: Scenario, simulations: int = 200, resamples: int = 300, many: int = 1) -> pd.DataFrame:
    """How often each question of one run is answered yes, and how often it could be asked; features are not simulated."""
    counts: dict[str, list[str]] = {}
    for number in range(simulations):
        films = two_hospitals(scenario, number, many)
        groups = {
            name: group_metrics(films, "covid", [name], resamples, number)
            for name in ("source", "view", "sex", "age_band")
        }
        evidence = Evidence("model", {}, "covid", films, np.zeros((len(films), 0)), training=films)
        usual, none = majority_targets(films["target"], films["source"]), pd.DataFrame()
        found = answers(Measured(evidence, films, usual, groups, none, none, none, (), resamples, number))
        for answer in found:
            counts.setdefault(answer.question, []).append(answer.answer)
    asked = {name: [a for a in found if a not in (NOT_ASKED, TOO_FEW)] for name, found in counts.items()}
    rows = [(name, len(found), sum(a == YES for a in found)) for name, found in asked.items()]
    return pd.DataFrame(rows, columns=["question", "concluded", "yes"])


def calibration_gaps(sizes: Sequence[int], simulations: int = 300, resamples: int = 300, seed: int = 0) -> int:
    """In how many cohorts a perfectly calibrated model's ECE is called different between sources of these sizes."""
    different = 0
    for number in range(simulations):
        rng = np.random.default_rng([seed, number])
        source = np.repeat([f"source {n}" for n in range(len(sizes))], sizes)
        score = rng.random(len(source))
        target = np.where(rng.random(len(source)) < score, "covid", "not covid")
        films = pd.DataFrame({"patient": range(len(source)), "source": source, "target": target, "score": score})
        films["prediction"] = np.where(score >= 0.5, "covid", "not covid")
        gaps = group_metrics(films, "covid", ["source"], resamples, number).gaps.set_index("metric")
        different += bool((gaps.loc[["ece"], "low"] > 0).all())
    return different


def one_patient_with_many(films: int, others: int, simulations: int = 300, resamples: int = 400) -> dict[str, int]:
    """Cohorts in which two equal models are called different and the interval of AUROC covers, with one such patient.

    Half the patients are positive; films of a patient correlate at 0.6.
    """
    counts = {"different": 0, "covered": 0}
    for number in range(simulations):
        rng = np.random.default_rng([21, number])
        patient = np.arange(others + 1).repeat(np.r_[films, np.ones(others, int)])
        ill = rng.permutation(np.arange(others + 1) % 2 == 0)[patient]
        models = [
            np.sqrt(0.6) * rng.normal(size=others + 1)[patient] + np.sqrt(0.4) * rng.normal(size=len(patient))
            + np.sqrt(2) * norm.ppf(TRUE_AUROC) * ill
            for _ in range(2)
        ]  # fmt: skip
        counts["different"] += auroc_permutation_p(ill, models[0], models[1], patient, None, resamples, number) <= 0.05
        counts["covered"] += _contains(auroc_interval(ill, models[0], patient, resamples, number), TRUE_AUROC)
    return counts


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
    elif options.command == "small":
        title = f"95 % intervals that contain the truth: shares exactly, AUROC in {options.simulations} cohorts"
        table = Table("patients (of AUROC: in each class)", "true value", "share", "AUROC")
        for row in small_coverage(options.simulations, options.resamples, options.seed).to_dict("records"):
            table.add_row(f"{row['patients']:.0f}", *(f"{row[name]:.3f}" for name in ("truth", "share", "auroc")))
    elif options.command == "verdict":
        title = f"Answers that are yes, of {options.simulations} cohorts each"
        table = _verdict_table(options.simulations, options.resamples)
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


def _verdict_table(simulations: int, resamples: int) -> Table:
    table = Table("cohorts", "what", "concluded", "yes, of these")

    def add(name: str, what: str, concluded: int, yes: int) -> None:
        table.add_row(name, what, str(concluded), f"{yes / concluded:.3f}" if concluded else "too few patients")

    for name, scenario in SCENARIOS.items():
        for row in answered_yes(scenario, simulations, resamples).to_dict("records"):
            if row["question"] in ("works", "within", "follows", "contradicting", "groups"):
                add(name, BY_KEY[row["question"]].text, row["concluded"], row["yes"])
    for sizes in ((20, 400), (400, 400), (15, 15, 15, 400)):
        different = calibration_gaps(sizes, simulations, resamples)
        add(f"calibrated, sources of {', '.join(map(str, sizes))}", "ECE differs", simulations, different)
    for films, others in ((100, 59), (20, 59), (1, 59)):
        counts, name = (
            one_patient_with_many(films, others, simulations, resamples),
            f"one patient with {films} films, {others} with one",
        )
        add(name, "two equal models differ", simulations, counts["different"])
        add(name, "AUROC covered", simulations, counts["covered"])
    return table


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
    for name, text, cohorts in (
        ("small", "coverage of shares and AUROC by number of patients and true value", 1000),
        ("verdict", "how often the audit's questions are answered yes", 200),
    ):
        commands.add_parser(name, help=text).add_argument("--simulations", type=int, default=cohorts, help="cohorts")
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
