"""The results of an audit as values: frames, numbers and sentences for the page, the app and a notebook."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from training.bias.numbers.groups import GroupMetrics
from training.bias.numbers.interval import NO_INTERVAL, Interval
from training.bias.questions.unlabelled import Unlabelled
from training.bias.report.answers import Answer, Difference, Verdict
from training.bias.report.plain import plain

SCHEMA_VERSION = 1


class Check(NamedTuple):
    """One question to a checkpoint in words, with its answer as in `answers` and the evidence in a sentence."""

    name: str
    answer: str
    evidence: str


@dataclass(frozen=True)
class RunAudit:
    """The audit of one checkpoint; every frame has NaN where nothing can be concluded.

    Attributes:
        headline: the worst finding first.
        checks: the answers in words, then what the metadata alone say of the label.
        answers: the run's column of the verdict.
        cautions: what a reader must know before any number.
        calibration: by source, see `calibration_by_group`; empty without a positive class.
        predictive: by source, see `usefulness.at_prevalence`; empty where no prevalence was asked for.
        decision: net benefit by threshold, see `usefulness.decision_curve`; empty where a label has too few patients.
        cells: films by source and target.
        attributes: answers by attribute (`by_attribute.ask_each`); empty where the source alone is asked of.
        cohort: who the patients are, by source, see `cohort_table`.
        groups: metrics by group, keyed by the columns that make the groups, joined by ` x `.
        within_sources: AUROC over pairs of films of one source (estimate, low, high).
        roc: columns group, false_positive_rate, sensitivity, threshold; all films and each source of enough patients.
        reliability: columns group, score, share_positive, films; all films and each source of both classes.
        leakage: a row for each attribute, see `leakage.Probe`.
        shortcuts: from `shortcut_table`.
        findings: a sentence on the intact films, then one for each perturbation.
        fields: from `field_risk`, of the training films (of the audited films where those are not known).
        map: columns x, y, source, target: the two main components of the features.
        abstention: share of outliers by source, from `abstention`; empty where the evidence has no distances.
    """

    name: str
    about: dict[str, Any]
    films: int
    patients: int
    headline: str
    checks: tuple[Check, ...]
    answers: tuple[Answer, ...]
    cautions: tuple[str, ...]
    calibration: pd.DataFrame
    predictive: pd.DataFrame
    decision: pd.DataFrame
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
    cohort: pd.DataFrame = field(default_factory=pd.DataFrame)
    attributes: dict[str, tuple[Answer, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Two checkpoints, by name, on the same films; differences are other minus reference.

    Attributes:
        rows: from `training.bias.numbers.compare.compare`; empty where the two can't be compared.
        leakage: difference in leak of each attribute.
        problem: why they can't be compared, else empty.
        source_gap: difference of the equalised odds difference between sources, see `source_gap_difference`.
        source_gap_p: of no such difference, corrected over the questions' differences and itself (Holm).
        attributes: differences by attribute (`by_attribute.compare_each`); empty where the source alone is asked of.
    """

    reference: str
    other: str
    rows: pd.DataFrame
    leakage: pd.DataFrame
    problem: str = ""
    source_gap: Interval = NO_INTERVAL
    source_gap_p: float = math.nan
    attributes: dict[str, tuple[Difference, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class BiasReport:
    """The audits of all checkpoints, each compared with the first; or, of films without labels, `unlabelled` alone.

    Attributes:
        verdict: all runs' answers and their paired differences, for the first screen; None without labels.
    """

    runs: tuple[RunAudit, ...]
    comparisons: tuple[Comparison, ...]
    about: dict[str, Any]
    unlabelled: tuple[Unlabelled, ...] = ()
    verdict: Verdict | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values for report.json; NaN is None."""
        return {
            "schema_version": SCHEMA_VERSION,
            **self.about,
            **({"verdict": plain(self.verdict)} if self.verdict is not None else {}),
            "runs": [plain(run) for run in self.runs],
            "comparisons": [plain(comparison) for comparison in self.comparisons],
            **({"unlabelled": [plain(run) for run in self.unlabelled]} if self.unlabelled else {}),
        }
