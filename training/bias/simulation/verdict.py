"""How often the audit's questions are answered yes where nothing is wrong, and where something is."""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.table import Table
from scipy.special import expit
from scipy.stats import norm

from training.bias.evidence import Evidence
from training.bias.numbers.alignment import majority_targets
from training.bias.numbers.auroc import auroc_interval, auroc_permutation_p
from training.bias.numbers.groups import group_metrics
from training.bias.report.answers import BY_KEY, NOT_ASKED, TOO_FEW, YES
from training.bias.report.verdict import Measured, answers
from training.bias.simulation.cohorts import TRUE_AUROC, contains


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
        counts["covered"] += contains(auroc_interval(ill, models[0], patient, resamples, number), TRUE_AUROC)
    return counts


def verdict_table(options: argparse.Namespace) -> tuple[str, Table]:
    """Title and table of `answered_yes`, `calibration_gaps` and `one_patient_with_many`."""
    simulations, resamples = options.simulations, options.resamples
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
    return f"Answers that are yes, of {simulations} cohorts each", table
