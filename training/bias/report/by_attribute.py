"""The questions on the source, asked of each attribute that a training must not use: fixing one shortcut can open another.

An attribute stands in the place of the source: its usual labels are those of the training films, and films of which it is not
recorded are left out.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from training.bias.evidence import Evidence
from training.bias.numbers.alignment import majority_targets
from training.bias.numbers.compare import holm
from training.bias.report.answers import BY_KEY, Answer, Difference, Question
from training.bias.report.attribute_screen import ASKED, of_it
from training.bias.report.differences import Gap, differences_of, gaps_of
from training.bias.report.verdict import Finding, Measured, answer_of, finding_of


def attributes_of(evidence: Sequence[Evidence], by: Sequence[str]) -> list[str]:
    """What to ask of: the source, what any run was told not to use, and columns that the user groups by.

    Empty where that is the source alone; attributes that the predictions of a run lack are left out.
    """
    told = [name for run in evidence for name in run.about.get("attributes") or ()]
    names = dict.fromkeys(["source", *told, *(name for name in by if "," not in name)])
    known = [name for name in names if all(name in run.predictions for run in evidence)]
    return known if len(known) > 1 else []


def seen_by(evidence: Evidence, attribute: str) -> Evidence:
    """The predictions with an attribute in the place of the source; without training films where these lack it."""
    if attribute == "source":
        return evidence
    tables = [
        None
        if table is None or attribute not in table
        else table[table[attribute].notna()].assign(source=table[attribute])
        for table in (evidence.predictions, evidence.training)
    ]
    assert tables[0] is not None
    return dataclasses.replace(evidence, predictions=tables[0].reset_index(drop=True), training=tables[1])


def usual_of(evidence: Evidence) -> dict[str, str]:
    """The usual label of each source in training; empty where the training films are not known."""
    training = evidence.training
    return {} if training is None else majority_targets(training["target"], training["source"])


def ask_each(measured: Measured, attributes: Sequence[str]) -> dict[str, tuple[Answer, ...]]:
    """A run's answers by attribute, corrected over all of them."""
    found = list[tuple[str, str, Finding]]()
    for name in attributes:
        evidence = seen_by(measured.evidence, name)
        films = evidence.predictions[evidence.predictions["target"].notna()].reset_index(drop=True)
        leakage = _of_attribute(measured.leakage, name)
        asked = measured._replace(evidence=evidence, films=films, usual=usual_of(evidence), leakage=leakage)
        found += [(name, key, finding_of(key, asked)) for key in ASKED]
    corrected = holm(np.array([finding.p for *_, finding in found]))
    run, answers = measured.evidence.name, dict[str, tuple[Answer, ...]]()
    for (name, key, finding), p in zip(found, corrected, strict=True):
        answers[name] = (*answers.get(name, ()), answer_of(key, run, finding, float(p)))
    return {
        name: tuple(dataclasses.replace(one, evidence=of_it(one.evidence, name)) for one in of)
        for name, of in answers.items()
    }


def compare_each(
    first: Evidence, other: Evidence, leakage: pd.DataFrame, attributes: Sequence[str], resamples: int, permutations: int,
    seed: int,
) -> dict[str, tuple[Difference, ...]]:  # fmt: skip
    """Paired differences `other` minus `first` by attribute, corrected over all of them.

    Args:
        leakage: differences in leak by attribute.
    """
    gaps = list[tuple[Question, Gap | None]]()
    for name in attributes:
        one, two = seen_by(first, name), seen_by(other, name)
        leaks = _of_attribute(leakage, name)
        found = gaps_of(one, two, usual_of(one), leaks, resamples, permutations, seed, ASKED)
        gaps += [(BY_KEY[key], found.get(key)) for key in ASKED]
    differences = differences_of(gaps, first.name, other.name)
    count = len(ASKED)
    return {name: differences[count * i : count * (i + 1)] for i, name in enumerate(attributes)}


def _of_attribute(leakage: pd.DataFrame, name: str) -> pd.DataFrame:
    """Leaks of an attribute, in the place of the source's."""
    return leakage[leakage["attribute"] == name].assign(attribute="source") if len(leakage) else leakage
