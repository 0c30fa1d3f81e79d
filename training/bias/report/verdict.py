"""The verdict of an audit: questions, answers and evidence in words, from the numbers of one checkpoint.

Answers are `found`, `not found` and `cannot conclude`. A difference between groups is found where its lower bound,
which holds for all pairs of groups at once (see `uncertainty.gap_interval`), is above 0. `not found` does not prove absence;
the intervals show how large an effect is still possible.
"""

import math

import pandas as pd

from training.bias.numbers.uncertainty import Interval
from training.bias.report.values import FOUND, NOT_FOUND, UNKNOWN, Check, RunAudit

METADATA = "label from metadata alone"  # a question to the training films, not to the model
# A leak below this share of the way from chance to certainty is called slight.
SLIGHT_LEAK = 0.2


def check_run(run: RunAudit) -> tuple[Check, ...]:
    """Every question that the audit's numbers can answer, the most important first."""
    checks = [_conflicting(run), _shortcuts(run), _leak(run), _unseen(run), *_groups(run), _fields(run)]
    return tuple(check for check in checks if check is not None)


def headline(checks: tuple[Check, ...]) -> str:
    """The whole in one sentence."""
    answer = {check.name: check.answer for check in checks if check.name != METADATA}
    if all(value == UNKNOWN for value in answer.values()):
        return "Nothing can be concluded of the model from these films: too few patients."
    if FOUND in (answer.get("conflicting films"), answer.get("shortcuts")):
        return "The model uses the source: its scores follow what gives the source away, not the disease alone."
    if answer.get("source in the features") == FOUND:
        return "The source can be read from the model's features; no check shows that its scores use it."
    if answer.get("unseen sources") == FOUND:
        return "The model is worse at sources that it never saw; these films do not show why."
    if FOUND in answer.values():
        return "The model's errors differ between groups; no check shows that its scores use the source."
    return "No check found that the model uses the source; what could not be concluded is listed below."


def _conflicting(run: RunAudit) -> Check | None:
    if "alignment" not in run.groups:
        return None
    values = _by_group(run.groups["alignment"].values, "accuracy")
    name = "conflicting films"
    if not {"aligned", "conflicting"} <= values.keys():
        return Check(name, UNKNOWN, "All films follow their source's usual label, or none does.")
    usual, other = _span(values["aligned"]), _span(values["conflicting"])
    sentence = f"Accuracy is {usual} on films with the usual label of their source and {other} on the others."
    return Check(name, _worse(run, "alignment", "accuracy", "conflicting"), sentence)


def _shortcuts(run: RunAudit) -> Check | None:
    if run.shortcuts.empty:
        return None
    table, (intact, *others) = run.shortcuts, run.findings
    reads = table["found"][(table["against"] == "usual label") & (table["shortcut"] != "intact")].tolist()
    known = [value for value in reads if value is not None]
    answer = FOUND if any(known) else NOT_FOUND if known else UNKNOWN
    named = [sentence for sentence, is_read in zip(others, reads, strict=True) if is_read]
    return Check("shortcuts", answer, " ".join([intact, *named]))


def _leak(run: RunAudit) -> Check | None:
    name = "source in the features"
    if run.leakage.empty:
        return None
    rows = run.leakage[(run.leakage["attribute"] == "source") & run.leakage["leak"].notna()]
    if rows.empty:
        return Check(name, UNKNOWN, "No class has ten patients in each of two sources.")
    row = rows.iloc[0]
    p = f"p = {row['p']:.3f}" if row["p"] >= 0.001 else "p < 0.001"
    sentence = (
        "A linear probe reads the source from the features within a class with balanced accuracy "
        f"{row['leak']:.2f} ({row['low']:.2f} to {row['high']:.2f}; chance {row['chance']:.2f}; {p})."
    )
    if row["p"] >= 0.05:
        return Check(name, NOT_FOUND, sentence)
    slight = row["normalised"] < SLIGHT_LEAK
    return Check(name, NOT_FOUND if slight else FOUND, sentence + (" That is slight." if slight else ""))


def _unseen(run: RunAudit) -> Check | None:
    if "split" not in run.groups:
        return None
    metric, word = ("auroc", "AUROC") if run.about.get("positive") else ("accuracy", "Accuracy")
    values = _by_group(run.groups["split"].values, metric)
    if not {"test", "external"} <= values.keys():
        return None
    known, unseen = _span(values["test"]), _span(values["external"])
    sentence = f"{word} is {known} on test films of known sources and {unseen} at sources never seen."
    within = Interval(**run.within_sources)
    if not math.isnan(within.estimate):
        sentence += f" Over pairs of films of one source it is {within:.2f}."
    return Check("unseen sources", _worse(run, "split", metric, "external"), sentence)


def _groups(run: RunAudit) -> list[Check]:
    checks = []
    for by in ("source", "view", "sex", "age_band"):
        if by not in run.groups:
            continue
        gaps = run.groups[by].gaps.set_index("metric").to_dict("index")
        answers, sentences = [], []
        for metric in ("sensitivity", "specificity") if "sensitivity" in gaps else ("accuracy",):
            gap, values = gaps[metric], _by_group(run.groups[by].values, metric)
            if math.isnan(gap["difference"]):
                answers.append(UNKNOWN)
                sentences.append(f"{metric}: {gap['note'] or 'fewer than two groups of enough patients'}.")
                continue
            best, worst = values[gap["best_group"]], values[gap["worst_group"]]
            answers.append(FOUND if gap["low"] > 0 else NOT_FOUND)
            measured = f"{gap['groups_measured']:.0f} of {gap['groups']:.0f} groups measured"
            sentences.append(
                f"{metric.capitalize()} differs by {gap['difference']:.2f}: {worst:.2f} for {gap['worst_group']}, "
                f"{best:.2f} for {gap['best_group']} ({measured})."
            )
        answer = FOUND if FOUND in answers else NOT_FOUND if NOT_FOUND in answers else UNKNOWN
        checks.append(Check(f"differences by {by.replace('_', ' ')}", answer, " ".join(sentences)))
    return checks


def _fields(run: RunAudit) -> Check | None:
    if run.fields.empty:
        return None
    confounded = run.fields[run.fields["verdict"] == "confounded"]
    if len(confounded):
        return Check(METADATA, FOUND, " ".join(confounded["sentence"]))
    answer = NOT_FOUND if (run.fields["verdict"] != UNKNOWN).any() else UNKNOWN
    return Check(METADATA, answer, " ".join(run.fields["sentence"]))


def _by_group(values: pd.DataFrame, metric: str) -> dict[str, Interval]:
    rows = values[values["metric"] == metric]
    return {row["group"]: Interval.of(row) for _, row in rows.iterrows()}


def _worse(run: RunAudit, by: str, metric: str, group: str) -> str:
    """Whether this group is demonstrably the worst of a grouping."""
    gap = {row["metric"]: row for row in run.groups[by].gaps.to_dict("records")}[metric]
    if math.isnan(gap["difference"]):
        return UNKNOWN
    return FOUND if gap["low"] > 0 and gap["worst_group"] == group else NOT_FOUND


def _span(interval: Interval) -> str:
    return "not known (too few patients)" if math.isnan(interval.estimate) else f"{interval:.2f}"
