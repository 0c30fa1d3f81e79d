"""Conditions on a bias report that end a pipeline: `gap:sensitivity:source>0.1,leak:source>0.6`.

A condition names what must not be true. Missing evidence fails too: a model isn't fair because nobody measured it.

| condition | fails when |
|---|---|
| `gap:METRIC:COLUMN>X` | best and worst group of COLUMN are further apart than X |
| `worst:METRIC:COLUMN<X` | the worst group of COLUMN is below X |
| `METRIC:SPLIT<X`, `METRIC<X` | the metric on a split, or on all films, is below X |
| `leak:ATTRIBUTE>X` | the probe reads the attribute with a balanced accuracy above X |
| `shortcut:NAME>X` | under that perturbation the score's AUROC for the source's usual label is above X |
| `equalised_odds:COLUMN>X` | the equalised-odds difference between groups of COLUMN is above X |
"""

import math
import operator
import re
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pandas as pd

from training.bias.evidence import SPLITS
from training.bias.numbers.metrics import METRICS, metric_names
from training.bias.numbers.uncertainty import Interval
from training.bias.questions.shortcuts import SHORTCUTS
from training.bias.report.audit import GROUPINGS, PROBED
from training.bias.report.values import BiasReport, RunAudit

_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_CONDITION = re.compile(r"\s*([^<>=]+?)\s*(>=|<=|>|<)\s*([-+.\deE]+)\s*")
_FORMS = (
    "gap:sensitivity:source>0.1, worst:auroc:source<0.7, auroc:external<0.7, leak:source>0.6, shortcut:border_only>0.6"
)


class Condition(NamedTuple):
    """One condition, such as `gap:sensitivity:source` `>` 0.1."""

    measure: tuple[str, ...]
    comparison: str
    bound: float

    def __str__(self) -> str:
        return f"{':'.join(self.measure)}{self.comparison}{self.bound:g}"


class Outcome(NamedTuple):
    """A condition on one checkpoint: it failed if it holds or could not be measured; the sentence has the number, or why."""

    run: str
    condition: Condition
    failed: bool
    sentence: str


def parse_conditions(text: str) -> list[Condition]:
    """Read conditions separated by commas; raises ValueError with the valid forms."""
    conditions = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _CONDITION.fullmatch(part)
        try:
            if match is None:
                raise ValueError
            condition = Condition(tuple(match[1].split(":")), match[2], float(match[3]))
            _require_known(condition.measure)
        except ValueError as error:
            why = f" ({error})" if str(error) else ""
            raise ValueError(f"--fail-on {part!r}: not understood{why}; write for example {_FORMS}") from None
        conditions.append(condition)
    if not conditions:
        raise ValueError(f"--fail-on is empty; write for example {_FORMS}")
    return conditions


def require_measurable(
    conditions: Sequence[Condition],
    infos: Sequence[Any],
    columns: Collection[str],
    by: Sequence[str],
    splits: Collection[str],
    perturbed: bool,
) -> None:
    """Refuse a condition that no result could answer, before films are scored; raises ValueError with what can be asked.

    Args:
        infos: `datasets.sample.DatasetInfo` of each run, which needs torch.
        columns: of the films.
        by: groupings that are asked for, as of `audit`.
        splits: that films may be of.
        perturbed: whether films are scored under perturbations too.
    """
    attributes = [attribute.name for info in infos for attribute in info.named]
    positive = all(info.positive is not None for info in infos)
    alone = [name for name in (*attributes, *by) if "," not in name]
    crossed = dict.fromkeys([*GROUPINGS, *(tuple(name.split(",")) for name in (*by, *attributes))])
    groups = [*(" x ".join(names) for names in crossed if set(names) <= set(columns)), "alignment"]
    probed = [name for name in dict.fromkeys((*PROBED, *alone)) if name in columns]
    for condition in conditions:
        kind, *names = condition.measure
        metric = names[0] if kind in ("gap", "worst") else kind
        why = ""
        if kind in ("gap", "worst", "equalised_odds") and names[-1] not in groups:
            why = _not_asked("grouped by", names[-1], groups, columns)
        elif kind == "leak" and names[0] not in probed:
            why = _not_asked("probed for", names[0], probed, columns)
        elif kind == "shortcut" and not perturbed:
            why = "no film is scored under a perturbation"
        elif kind in METRICS and names and names[0] not in splits:
            why = f"no film of split {names[0]} is audited; films are of {', '.join(splits)}"
        elif kind != "leak" and not positive and metric not in metric_names(None):
            why = "it needs a positive class, which a run does not have"
        if why:
            raise ValueError(f"--fail-on {condition}: can't be measured: {why}")


def check_conditions(report: BiasReport, conditions: Sequence[Condition]) -> list[Outcome]:
    """Check every condition on every checkpoint."""
    return [_outcome(run, condition) for run in report.runs for condition in conditions]


def write_junit(outcomes: Sequence[Outcome], file: Path) -> None:
    """Write the outcomes as JUnit XML: a suite for each run, a case for each condition."""
    root = ElementTree.Element("testsuites")
    for name in dict.fromkeys(outcome.run for outcome in outcomes):
        of_run = [outcome for outcome in outcomes if outcome.run == name]
        counts = {"tests": str(len(of_run)), "failures": str(sum(outcome.failed for outcome in of_run))}
        suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
        for outcome in of_run:
            case = ElementTree.SubElement(suite, "testcase", classname=name, name=str(outcome.condition))
            if outcome.failed:
                ElementTree.SubElement(case, "failure", message=outcome.sentence)
            else:
                ElementTree.SubElement(case, "system-out").text = outcome.sentence
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _not_asked(what: str, name: str, known: Sequence[str], columns: Collection[str]) -> str:
    """Why the films are not grouped by a column, or probed for it."""
    parts = name.split(" x ")
    missing = next((part for part in parts if part not in columns), None)
    if missing is not None:
        return f"the films have no column {missing}; they are {what} {', '.join(known)}"
    return f"the films are {what} {', '.join(known)}; give --by {','.join(parts)} too"


def _require_known(measure: tuple[str, ...]) -> None:
    kind, *rest = measure
    if kind in ("gap", "worst"):
        if len(rest) != 2 or rest[0] not in METRICS:
            raise ValueError(f"{kind} takes a metric and a column; metrics are {', '.join(METRICS)}")
    elif kind in ("leak", "shortcut", "equalised_odds"):
        if len(rest) != 1:
            raise ValueError(f"{kind} takes one name")
        if kind == "shortcut" and rest[0] not in ("intact", *SHORTCUTS):
            raise ValueError(f"shortcuts are intact, {', '.join(SHORTCUTS)}")
    elif kind not in METRICS or len(rest) > 1:
        raise ValueError(f"metrics are {', '.join(METRICS)}")
    elif rest and rest[0] not in SPLITS:
        raise ValueError(f"splits are {', '.join(SPLITS)}")


def _outcome(run: RunAudit, condition: Condition) -> Outcome:
    kind, *names = condition.measure
    value, evidence = _MEASURES[kind](run, *names) if kind in _MEASURES else _metric(run, kind, *names)
    if math.isnan(value):
        return Outcome(run.name, condition, True, f"no evidence: {evidence}")
    failed = _COMPARISONS[condition.comparison](value, condition.bound)
    return Outcome(run.name, condition, bool(failed), evidence)


def _gap(run: RunAudit, metric: str, column: str, worst: bool = False) -> tuple[float, str]:
    if column not in run.groups:
        return math.nan, f"the films are not grouped by {column} (it is not recorded, or has a single value)"
    gaps = run.groups[column].gaps.set_index("metric")
    if metric not in gaps.index:
        return math.nan, f"{metric} is not defined: no class is positive"
    row = gaps.loc[metric]
    measured = f"{row['groups_measured']:.0f} of {row['groups']:.0f} groups measured"
    if pd.isna(row["difference"]):
        return math.nan, row["note"] or f"{measured}, two are needed"
    if worst:
        lowest = Interval(row["worst"], row["worst_low"], row["worst_high"])
        return float(lowest.estimate), f"worst {metric} {lowest:.3f}, {row['worst_group']}; {measured}"
    gap = Interval.of(row, "difference")
    return float(gap.estimate), f"{metric} by {column}: difference {gap:.3f}; {measured}"


def _leak(run: RunAudit, attribute: str) -> tuple[float, str]:
    rows = run.leakage
    rows = rows[rows["attribute"] == attribute] if len(rows) else rows
    if rows.empty:
        return math.nan, f"the features are not probed for {attribute} (it is not recorded, or has a single value)"
    rows = rows[rows["leak"].notna()]
    if rows.empty:
        return math.nan, f"no class has ten patients in each of two values of {attribute}"
    row = rows.iloc[0]
    leak = Interval.of(row, "leak")
    return float(leak.estimate), f"{row['kind']} probe of {attribute}: {leak:.3f}, chance {row['chance']:.3f}"


def _shortcut(run: RunAudit, name: str) -> tuple[float, str]:
    rows = run.shortcuts
    if len(rows):
        rows = rows[(rows["shortcut"] == name) & (rows["against"] == "usual label") & rows["estimate"].notna()]
    if rows.empty:
        return math.nan, f"no AUROC under the perturbation {name}"
    auroc = Interval.of(rows.iloc[0])
    return float(auroc.estimate), f"{name}: AUROC {auroc:.3f}"


def _metric(run: RunAudit, metric: str, split: str | None = None) -> tuple[float, str]:
    group, where = ("all films", "all films") if split is None else (split, f"split {split}")
    if "split" in run.groups:
        values = run.groups["split"].values
    else:
        values = next(iter(run.groups.values())).values
        group = "all films" if set(run.about.get("splits", ())) == {group} else group
    rows = values[(values["group"] == group) & (values["metric"] == metric)]
    if rows.empty:
        return math.nan, f"{metric} on {where} was not measured"
    row = rows.iloc[0]
    if pd.isna(row["estimate"]):
        return math.nan, str(row["note"])
    value = Interval.of(row)
    return float(value.estimate), f"{metric} on {where} {value:.3f}"


# The number of a condition with a sentence on it, or NaN with a sentence on why it is missing.
_MEASURES: dict[str, Callable[..., tuple[float, str]]] = {
    "gap": _gap,
    "worst": partial(_gap, worst=True),
    "equalised_odds": lambda run, column: _gap(run, "equalised_odds", column),
    "leak": _leak,
    "shortcut": _shortcut,
}
