"""An audit that `training.evaluate` wrote, read back from its report.json: frames and sentences, without torch."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from training.bias.numbers.interval import NO_INTERVAL, Interval
from training.bias.report.answers import Answer, Difference, Question, Verdict
from training.bias.report.first_screen import Cell, FirstScreen
from training.bias.report.headline import after_headline, headline_of_all, short_names
from training.run.index import audit_folder

SCHEMA_VERSION = 1  # as `training.bias.report.values` has it
REPORT, PAGE = "report.json", "report.html"
LONGEST = 1 << 26  # bytes of a report.json that is read
ALL_FILMS = "all films"
FRAMES = ("checks", "cells", "roc", "reliability", "leakage", "shortcuts", "fields")
PLAIN = ("name", "headline", "films", "patients", "within_sources")
METRICS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ece": "ECE ↓",
    "brier": "Brier ↓",
    "equalised_odds": "equalised odds",
}


Value = TypeVar("Value")


class AuditError(ValueError):
    """A file that is no audit of this version; the message is a sentence that names no path."""


@dataclass(frozen=True)
class Grouping:
    """Metrics by group: frames as `training.bias.numbers.groups.GroupMetrics` has them."""

    values: pd.DataFrame
    gaps: pd.DataFrame


@dataclass(frozen=True)
class AuditedRun:
    """The audit of one checkpoint: as `training.bias.report.values.RunAudit`, NaN where nothing can be concluded."""

    name: str
    headline: str
    films: int
    patients: int
    checks: pd.DataFrame
    cells: pd.DataFrame
    groups: dict[str, Grouping]
    within_sources: dict[str, float | None]
    roc: pd.DataFrame
    reliability: pd.DataFrame
    leakage: pd.DataFrame
    shortcuts: pd.DataFrame
    findings: tuple[str, ...]
    fields: pd.DataFrame
    notes: tuple[str, ...]
    attributes: dict[str, tuple[Answer, ...]] = field(default_factory=dict)  # empty where the source alone was asked of


@dataclass(frozen=True)
class Compared:
    """Two checkpoints on the same films: as `training.bias.report.values.Comparison`."""

    reference: str
    other: str
    rows: pd.DataFrame
    leakage: pd.DataFrame
    problem: str
    source_gap: Interval = NO_INTERVAL  # not in reports of earlier versions
    source_gap_p: float = math.nan  # the same
    attributes: dict[str, tuple[Difference, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """The audits of some checkpoints and each one's comparison with the first."""

    about: dict[str, Any]
    runs: tuple[AuditedRun, ...]
    comparisons: tuple[Compared, ...]
    verdict: Verdict | None = None  # where the report has one

    def covers(self, names: Sequence[str]) -> bool:
        """Whether each of these runs was audited."""
        return set(names) <= {run.name for run in self.runs}

    def only(self, names: Sequence[str]) -> "Audit":
        """The part about these runs, in this order; comparisons where both sides are among them."""
        runs = {run.name: run for run in self.runs}
        kept = [c for c in self.comparisons if c.reference in names and c.other in names]
        verdict = self.verdict and _about(self.verdict, names)
        return replace(self, runs=tuple(runs[name] for name in names), comparisons=tuple(kept), verdict=verdict)

    def with_short_names(self) -> "Audit":
        """The same with the names of the report's tables: without the parts that all these runs have."""
        name = short_names([run.name for run in self.runs])

        def of_run(answers: Sequence[Answer]) -> tuple[Answer, ...]:
            return tuple(replace(answer, run=name[answer.run]) for answer in answers)

        def of_pair(gaps: Sequence[Difference]) -> tuple[Difference, ...]:
            return tuple(replace(gap, reference=name[gap.reference], other=name[gap.other]) for gap in gaps)

        runs = tuple(
            replace(run, name=name[run.name], attributes={by: of_run(found) for by, found in run.attributes.items()})
            for run in self.runs
        )
        pairs = tuple(
            replace(
                c, reference=name[c.reference], other=name[c.other],
                attributes={by: of_pair(gaps) for by, gaps in c.attributes.items()},
            )
            for c in self.comparisons
        )  # fmt: skip
        verdict = self.verdict and replace(
            self.verdict, answers=of_run(self.verdict.answers), differences=of_pair(self.verdict.differences)
        )
        return replace(self, runs=runs, comparisons=pairs, verdict=verdict)


def places(folders: Sequence[Path]) -> list[Path]:
    """The files in which an audit of these runs may be, the default one first.

    Others are those of the same folder of runs in which more runs were audited together: names of runs are unique there.
    """
    parent, *elsewhere = {folder.resolve().parent for folder in folders}
    others = [] if elsewhere else sorted(parent.glob(f"audits/*/{REPORT}"))
    return [file for file in dict.fromkeys([audit_folder(folders) / REPORT, *others]) if file.is_file()]


def read_audit(text: str) -> Audit:
    """The audit that report.json holds; raises AuditError."""
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or values.get("schema_version") != SCHEMA_VERSION:
            raise AuditError("it was written by another version of this package")
        about = {
            name: value
            for name, value in values.items()
            if name not in ("runs", "comparisons", "unlabelled", "verdict")
        }
        runs = tuple(_run(run) for run in values["runs"])
        verdict = _verdict(values["verdict"]) if values.get("verdict") else None
        return Audit(about, runs, tuple(_compared(pair) for pair in values["comparisons"]), verdict)
    except AuditError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise AuditError("it is broken, or no audit") from None


def frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Records as a frame in which numbers that are null are NaN."""
    table = pd.DataFrame(records)
    for name in table:
        if all(value is None or (isinstance(value, int | float) and value is not True) for value in table[name]):
            table[name] = pd.to_numeric(table[name])
    return table


def by_group(audit: Audit, by: str, metric: str) -> pd.DataFrame:
    """One metric of every run by group: the columns of `Grouping.values`, and run."""
    parts = [run.groups[by].values.assign(run=run.name) for run in audit.runs if by in run.groups]
    return _stacked([values[values["metric"] == metric] for values in parts])


def gaps_of(audit: Audit, by: str, metric: str) -> pd.DataFrame:
    """How far groups are apart in one metric, a row a run: the columns of `Grouping.gaps`, and run."""
    parts = [run.groups[by].gaps.assign(run=run.name) for run in audit.runs if by in run.groups]
    return _stacked([gaps[gaps["metric"] == metric] for gaps in parts])


def table(screen: FirstScreen) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The verdict as a table of words: a row a question, a column a run and a difference; and its tones alike."""
    columns = [*screen.runs, *(f"{other} minus {reference}" for other, reference in screen.pairs)]
    cells = [[*line.answers, *line.differences] for line in screen.lines]
    words = [[_in_words(cell) for cell in row] for row in cells]
    questions = pd.Index([f"{line.question} {line.measure}" for line in screen.lines], name="question")
    tones = pd.DataFrame([[cell.tone for cell in row] for row in cells], questions, columns)
    return pd.DataFrame(words, questions, columns), tones


def _in_words(cell: Cell) -> str:
    """One line: the interval in brackets, unless it brings its own."""
    if not cell.detail:
        return cell.words
    return f"{cell.words} · {cell.detail}" if "(" in cell.detail else f"{cell.words} ({cell.detail})"


def leaks(audit: Audit) -> pd.DataFrame:
    """How well probes predict attributes from the features, from 0 (no better than guessing) to 1 (without error), all runs.

    Columns run, group (attribute and probe), estimate, low, high on that scale, leak (balanced accuracy), chance, p, note.
    """
    table = _stacked([run.leakage.assign(run=run.name) for run in audit.runs if len(run.leakage)])
    if table.empty:
        return table
    kind = table["kind"].map({"linear": "linear probe", "mlp": "small network"}).fillna(table["kind"])
    span = 1 - table["chance"]
    return table.assign(
        group=table["attribute"].str.replace("_", " ") + ", " + kind,
        estimate=table["normalised"],
        low=(table["low"] - table["chance"]) / span,
        high=(table["high"] - table["chance"]) / span,
    )[["run", "group", "estimate", "low", "high", "leak", "chance", "p", "note"]]


def leak_changes(audit: Audit) -> pd.DataFrame:
    """How the leak of each attribute differs between the first run and the others, balanced accuracy."""
    compared = [c for c in audit.comparisons if len(c.leakage)]
    return _stacked([c.leakage.assign(reference=c.reference, other=c.other) for c in compared])


def differences(audit: Audit) -> pd.DataFrame:
    """Paired differences of all comparisons: the columns of `Compared.rows`, with reference_run and run."""
    return _stacked([c.rows.assign(reference_run=c.reference, run=c.other) for c in audit.comparisons if len(c.rows)])


def _stacked(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _run(values: dict[str, Any]) -> AuditedRun:
    groups = {name: Grouping(frame(group["values"]), frame(group["gaps"])) for name, group in values["groups"].items()}
    fields: dict[str, Any] = {name: values[name] for name in PLAIN}
    fields |= {name: frame(values[name]) for name in FRAMES}
    fields |= {name: tuple(values[name]) for name in ("findings", "notes")}
    attributes = {by: _values(Answer, rows) for by, rows in (values.get("attributes") or {}).items()}
    return AuditedRun(groups=groups, attributes=attributes, **fields)


def _compared(values: dict[str, Any]) -> Compared:
    rows, leakage = frame(values["rows"]), frame(values["leakage"])
    gap = {key: math.nan if one is None else float(one) for key, one in (values.get("source_gap") or {}).items()}
    about = values["reference"], values["other"], rows, leakage, values["problem"]
    p = values.get("source_gap_p")
    attributes = {by: _values(Difference, rows) for by, rows in (values.get("attributes") or {}).items()}
    return Compared(*about, Interval(**gap) if gap else NO_INTERVAL, math.nan if p is None else float(p), attributes)


def _verdict(values: dict[str, Any]) -> Verdict:
    """The value that the report was written from."""
    parts: dict[str, Any] = {"questions": Question, "answers": Answer, "differences": Difference}
    found: dict[str, Any] = {name: _values(kind, values[name]) for name, kind in parts.items()}
    found |= {name: tuple(values[name]) for name in ("cautions", "others", "notes")}
    return Verdict(headline=values["headline"], **found)


def _values(kind: type[Value], rows: list[dict[str, Any]]) -> tuple[Value, ...]:
    """The values that rows of the report were written from: null is NaN again."""
    return tuple(kind(**{key: math.nan if one is None else one for key, one in row.items()}) for row in rows)


def _about(verdict: Verdict, names: Sequence[str]) -> Verdict:
    """The part about these runs, in this order."""
    by_run = {name: [answer for answer in verdict.answers if answer.run == name] for name in names}
    if {answer.run for answer in verdict.answers} == set(names):
        return verdict
    gaps = tuple(gap for gap in verdict.differences if gap.reference in names and gap.other in names)
    return replace(
        verdict, headline=headline_of_all(by_run), others=after_headline(by_run, gaps), differences=gaps,
        answers=tuple(answer for found in by_run.values() for answer in found),
    )  # fmt: skip
