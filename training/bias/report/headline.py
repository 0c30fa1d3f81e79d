"""What the answers say in a sentence, of one run and of several: the worst finding first."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from training.bias.numbers.interval import Interval
from training.bias.report.answers import BAD, NO, NOT_ASKED, NOT_SHOWN, OPEN, TOO_FEW, YES, Answer, Difference

# Findings of a run in its headline, and sentences after that of several runs.
MOST = 3
# Questions from the worst finding on; `apart` is none, but what `works` and `within` say together.
SEVERITY = ("works", "unseen", "follows", "within", "contradicting", "apart", "cues", "readable", "groups", "alike")


class Clause(NamedTuple):
    """What speaks against a run: `of_one` says it of that run, `of_all` of every run; `full` is `number` with interval."""

    of_one: str
    of_all: str
    measure: str = ""
    number: str = ""
    full: str = ""

    def __str__(self) -> str:
        return f"{self.of_one}: {self.measure} {self.full}".replace(":  ", ": ") if self.full else self.of_one


def short_names(runs: Sequence[str]) -> dict[str, str]:
    """Names of runs without the parts that all of them have; whole where nothing is left to tell them apart."""
    parts = {run: run.split("-") for run in runs}
    shared = set.intersection(*(set(words) for words in parts.values())) if len(parts) > 1 else set()
    short = {run: "-".join(word for word in words if word not in shared) for run, words in parts.items()}
    return short if all(short.values()) and len(set(short.values())) == len(short) else {run: run for run in runs}


def headline(found: Sequence[Answer]) -> str:
    """One run in one sentence: the worst finding first."""
    worst = [str(clause) for clause in findings(found).values()][:MOST]
    if worst:
        return _capital("; ".join(worst)) + "."
    asked = [a for a in found if a.answer != NOT_ASKED]
    if all(a.answer == TOO_FEW for a in asked if a.question != "alike"):
        return "Nothing can be concluded of the model from these films: too few patients."
    counts = f"of {len(asked)} questions could not be answered."
    hidden = [a for a in asked if a.answer in (NOT_SHOWN, TOO_FEW)]
    if not hidden:
        return "The model works, and no question found that it uses the source."
    if any(a.question == "works" and a.answer == TOO_FEW for a in asked):
        return f"Whether the model works can't be told from these films; {len(hidden)} {counts}"
    return f"Nothing was found against the model; {len(hidden)} {counts}"


def headline_of_all(by_run: Mapping[str, Sequence[Answer]]) -> str:
    """The worst finding of several runs in one sentence that says which runs it holds for."""
    sentences = list(_sentences(by_run).values())
    if len(by_run) > 1 and sentences:
        return sentences[0]
    whole = {name: headline(found) for name, found in by_run.items()}
    if len(set(whole.values())) == 1:
        sentence = next(iter(whole.values()))
        return sentence if len(whole) == 1 else sentence.replace("the model", "any").replace("The model", "Every model")
    name = short_names(list(by_run))
    return " ".join(f"{name[run]}: {sentence}" for run, sentence in whole.items())


def after_headline(by_run: Mapping[str, Sequence[Answer]], differences: Sequence[Difference]) -> tuple[str, ...]:
    """Sentences after the headline of several runs: the next findings, runs without one, and what differs demonstrably."""
    if len(by_run) < 2:
        return ()
    name, sentences = short_names(list(by_run)), _sentences(by_run)
    first, *others = sentences or [""]
    # A model that does not work is not shown to work elsewhere either; films unlike the training films are a caution.
    implied = ("unseen", "within", "alike") if first == "works" else ("alike",)
    others = [key for key in others if key not in implied]
    said = [sentences[key] for key in others[: MOST - 1]]
    if sentences:
        said += [f"{name[run]}: {headline(found)}" for run, found in by_run.items() if not findings(found)]
    if differences:
        told = [_difference(gap, name) for gap in differences if gap.tone != OPEN]
        said.append(f"On the same films {'; '.join(told)}." if told else "No difference between the runs is shown.")
    return tuple(said)


def findings(found: Sequence[Answer]) -> dict[str, Clause]:
    """What speaks against the model, by question, the worst first."""
    by = {a.question: a for a in found}
    works, unseen, within = by["works"], by["unseen"], by["within"]
    clauses = dict[str, Clause]()

    def say(key: str, of_one: str, of_all: str, measure: str, found: Answer, form: str = ".2f") -> None:
        full = f"{Interval(found.estimate, found.low, found.high):{form}}"
        clauses[key] = Clause(of_one, of_all, measure, f"{found.estimate:{form}}", full)

    if works.answer == NO:
        why = _lower_first(works.evidence.removeprefix("Films of known sources: ").rstrip("."))
        clauses["works"] = Clause("the model does not work", "no model works", "", why, why)
    elif works.answer == NOT_SHOWN:
        say("works", "the model is not shown to work at all", "no model is shown to work at all", "AUROC", works)
        if works.about:
            clauses["works"] = clauses["works"]._replace(full=f"{clauses['works'].full}, {_reason(works)}")
    drop = ""
    if unseen.answer in (NO, NOT_SHOWN):
        where = "shown to work at a hospital it never saw"
        say("unseen", f"it is not {where}", f"no model is {where}", "AUROC", unseen)
        drop = f"from {works.estimate:.2f} to {unseen.estimate:.2f}"
    elif unseen.answer == YES and unseen.high < works.low:
        where = "is worse at hospitals it never saw"
        say("unseen", f"it {where}", f"every model {where}", "AUROC", unseen)
        drop = f"from {works.estimate:.2f} to {unseen.estimate:.2f}"
    if drop and not math.isnan(works.estimate):
        clauses["unseen"] = clauses["unseen"]._replace(number=drop, full=drop)
    if "unseen" in clauses and unseen.about:  # the reason decides, not the number
        clauses["unseen"] = clauses["unseen"]._replace(full=f"{clauses['unseen'].full}, {_reason(unseen)}")
    if by["follows"].answer == YES:
        follows = "score follows the source"
        say("follows", f"the {follows}", f"every model's {follows}", "AUROC", by["follows"])
    if within.answer == NO:
        of_one, of_all = (
            "it does not tell positive from negative",
            "no model tells positive from negative within one hospital",
        )
        say("within", f"within one hospital {of_one}", of_all, "AUROC", within)
    if by["contradicting"].answer == YES:
        where = "is worse on films that contradict their source"
        say("contradicting", f"it {where}", f"every model {where}", "by", by["contradicting"])
    # Seen together, although no source was unseen: over all films the source may be what is ranked.
    if (
        works.answer == YES
        and within.answer in (YES, NOT_SHOWN)
        and within.high < works.low
        and "unseen" not in clauses
    ):
        told = "positive from negative within one hospital"
        one, every = f"it tells {told} less than over all", f"every model tells {told} less than over all"
        if within.answer == NOT_SHOWN:
            one, every = f"it is not shown to tell {told}", f"no model is shown to tell {told}"
        drop = f"from {works.estimate:.2f} to {within.estimate:.2f}"
        clauses["apart"] = Clause(one, every, "AUROC", drop, drop)
    if by["cues"].answer == YES:
        cue = by["cues"]
        clauses["cues"] = Clause(_lower_first(cue.evidence.rstrip(".")), f"every model's score follows {cue.about}")
    if by["readable"].answer == YES:
        of_one, of_all = (
            "the source can be read from its features",
            "the source can be read from every model's features",
        )
        say("readable", of_one, of_all, "balanced accuracy", by["readable"])
    if by["groups"].answer == YES:
        apart, why = "errors differ between groups", _lower_first(by["groups"].evidence.rstrip("."))
        clauses["groups"] = Clause(f"its {apart}", f"every model's {apart}", "", why, why)
    if by["alike"].tone == BAD:
        share, far = f"{100 * by['alike'].estimate:.0f} %", "many films are unlike"
        of_all = f"{far} the training films of every model"
        clauses["alike"] = Clause(f"{far} its training films", of_all, "", share, share)
    return clauses


def _reason(found: Answer) -> str:
    """Why the number does not decide, after it: "but" a high one is no evidence."""
    return f"{'but' if found.estimate > 0.5 else 'and'} {found.about}"


def _sentences(by_run: Mapping[str, Sequence[Answer]]) -> dict[str, str]:
    """A sentence for each question that speaks against any run, the worst first."""
    name, of_runs = short_names(list(by_run)), {run: findings(found) for run, found in by_run.items()}
    sentences = {}
    for key in SEVERITY:
        clauses = {name[run]: clauses[key] for run, clauses in of_runs.items() if key in clauses}
        words = {clause.of_all for clause in clauses.values()}
        if len(clauses) == len(of_runs) and len(words) == 1:
            sentence = words.pop()
            if len(of_runs) == 2:
                sentence = sentence.replace("no model", "neither model").replace("every model", "each model")
            numbers = [f"{clause.number} ({run})" for run, clause in clauses.items() if clause.number]
            measure = next(iter(clauses.values())).measure
            if numbers:
                sentence += f": {measure} {_and(numbers)}".replace(":  ", ": ")
            sentences[key] = _capital(sentence) + "."
        elif clauses:
            sentences[key] = "; ".join(f"{run}: {clause}" for run, clause in clauses.items()) + "."
    return sentences


# What a run is better or worse at, by question.
_AT = {
    "works": "ranking films of known sources",
    "unseen": "ranking films of sources it never saw",
    "within": "ranking films of one source",
    "follows": "not following the source",
    "contradicting": "films that contradict their source",
    "readable": "hiding the source in its features",
}


def _difference(gap: Difference, name: Mapping[str, str]) -> str:
    size = Interval(gap.estimate, gap.low, gap.high)
    return f"{name[gap.other]} is {gap.verdict} than {name[gap.reference]} at {_AT[gap.question]}, {size:+.2f}"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _lower_first(sentence: str) -> str:
    return sentence if sentence[:2].isupper() else sentence[0].lower() + sentence[1:]


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
