"""What an audit found, as values: frames, numbers and sentences that the page, the app and a notebook read alike."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from training.bias.numbers.groups import GroupMetrics
from training.bias.questions.unlabelled import Unlabelled

SCHEMA_VERSION = 1
FOUND, NOT_FOUND, UNKNOWN = "found", "not found", "cannot conclude"


class Check(NamedTuple):
    """One question to a checkpoint.

    Attributes:
        name: of the question, such as `conflicting films`.
        answer: `found`, `not found` or `cannot conclude`.
        evidence: the numbers in a sentence.
    """

    name: str
    answer: str
    evidence: str


@dataclass(frozen=True)
class RunAudit:
    """What was found of one checkpoint; every frame has NaN where nothing can be concluded.

    Attributes:
        name: of the run.
        about: see `Evidence`.
        films: number of films audited.
        patients: number of their patients.
        headline: the verdict in one sentence.
        checks: one verdict a question, with its evidence.
        cells: films by source and target.
        groups: metrics by group, keyed by the columns that make the groups, joined by ` x `.
        within_sources: AUROC over pairs of films of one source (estimate, low, high).
        roc: columns group, false_positive_rate, sensitivity, threshold; all films and each source of enough patients.
        reliability: columns group, score, share_positive, films; all films and each source of both classes.
        leakage: a row for each attribute and probe.
        shortcuts: a row for each perturbation.
        findings: what the perturbations say, in words.
        fields: risk of each metadata field in the training films (in the audited films where those are not known).
        map: columns x, y, source, target: the two main components of the features.
        notes: what a reader must know of the numbers.
        abstention: from `training.bias.questions.unlabelled.abstention`, empty where the evidence has no distances.
    """

    name: str
    about: dict[str, Any]
    films: int
    patients: int
    headline: str
    checks: tuple[Check, ...]
    cells: pd.DataFrame
    groups: dict[str, GroupMetrics]
    within_sources: dict[str, float]
    roc: pd.DataFrame
    reliability: pd.DataFrame
    leakage: pd.DataFrame
    shortcuts: pd.DataFrame
    findings: tuple[str, ...]
    fields: pd.DataFrame
    map: pd.DataFrame
    notes: tuple[str, ...]
    abstention: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class Comparison:
    """Two checkpoints on the same films.

    Attributes:
        reference: name of the run compared with.
        other: name of the run compared.
        rows: from `training.bias.numbers.compare.compare`; empty where the two can't be compared.
        leakage: difference in leak of each attribute, other minus reference.
        problem: why they can't be compared, else empty.
    """

    reference: str
    other: str
    rows: pd.DataFrame
    leakage: pd.DataFrame
    problem: str = ""


@dataclass(frozen=True)
class BiasReport:
    """The audits of all checkpoints and each one's comparison with the first, or what each says of films without labels."""

    runs: tuple[RunAudit, ...]
    comparisons: tuple[Comparison, ...]
    about: dict[str, Any]
    unlabelled: tuple[Unlabelled, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values for report.json; NaN is None."""
        return {
            "schema_version": SCHEMA_VERSION,
            **self.about,
            "runs": [plain(run) for run in self.runs],
            "comparisons": [plain(comparison) for comparison in self.comparisons],
            **({"unlabelled": [plain(run) for run in self.unlabelled]} if self.unlabelled else {}),
        }


def plain(value: Any) -> Any:
    """Frames as lists of records, tuples as lists, NaN and infinity as None."""
    if isinstance(value, pd.DataFrame):
        named = value.reset_index() if value.index.name or value.columns.name else value
        return [plain(record) for record in named.to_dict("records")]
    if dataclasses.is_dataclass(value) or hasattr(value, "_asdict"):
        fields = value._asdict() if hasattr(value, "_asdict") else vars(value)
        return {name: plain(entry) for name, entry in fields.items()}
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
