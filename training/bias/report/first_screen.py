"""The verdict as a table of words, which page, terminal, model card and app draw: questions, runs, paired differences.

A line is a question that some run was asked; the others are named once, below the table.
"""

import math
from typing import NamedTuple

from training.bias.report.answers import (
    NOT_ASKED,
    NOT_TESTED,
    OPEN,
    TOO_FEW,
    Answer,
    Difference,
    Verdict,
)
from training.bias.report.headline import short_names

LEGEND = (
    "yes: shown at 95 %, corrected for the questions of this table · no: within what hardly matters · not shown: could be "
    "either, the interval says how much · too few: fewer than 10 effective patients"
)


class Cell(NamedTuple):
    """An answer or a difference: `words` in a few, `detail` below it, and a tone, `good`, `bad`, `open` or none."""

    words: str = ""
    detail: str = ""
    tone: str = ""

    def __str__(self) -> str:
        return "\n".join(part for part in (self.words, self.detail) if part)


class Line(NamedTuple):
    """A question with what its number is, a cell for each run, and one for each paired difference."""

    question: str
    measure: str
    answers: tuple[Cell, ...]
    differences: tuple[Cell, ...]


class FirstScreen(NamedTuple):
    """What a reader sees first.

    Attributes:
        others: sentences after the headline.
        runs: names without the parts that all have; `full_names` are whole.
        pairs: (other, reference) of each column of differences, other minus reference.
        notes: sentences below the table.
    """

    headline: str
    others: tuple[str, ...]
    runs: tuple[str, ...]
    full_names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]
    cautions: tuple[str, ...]
    notes: tuple[str, ...]


def first_screen(verdict: Verdict) -> FirstScreen:
    """The table of a verdict."""
    runs = tuple(dict.fromkeys(answer.run for answer in verdict.answers))
    pairs = tuple(dict.fromkeys((gap.other, gap.reference) for gap in verdict.differences))
    gaps = {(gap.question, gap.other, gap.reference): gap for gap in verdict.differences}
    lines, silent = [], dict[str, list[str]]()
    for question in verdict.questions:
        found = [verdict.answer(question.key, run) for run in runs]
        if all(answer.answer == NOT_ASKED for answer in found):
            silent.setdefault(found[0].evidence, []).append(question.text)
            continue
        patients = {round(answer.patients) for answer in found if not math.isnan(answer.patients)}
        together = len(patients) == 1 and all(answer.answer != TOO_FEW for answer in found)
        measure = f"{question.measure} · {_people(patients.pop())}" if together else question.measure
        cells = tuple(answer_cell(answer, not together) for answer in found)
        tested = tuple(difference_cell(gaps.get((question.key, *pair))) for pair in pairs)
        lines.append(Line(question.text, measure, cells, tested))
    not_asked = tuple(f"Not asked: {' '.join(texts)} {why}" for why, texts in silent.items())
    notes = (LEGEND, *verdict.notes, *not_asked)
    name = short_names(runs)
    columns = tuple((name[other], name[reference]) for other, reference in pairs)
    of_runs = tuple(name[run] for run in runs)
    return FirstScreen(verdict.headline, verdict.others, of_runs, runs, columns, tuple(lines), verdict.cautions, notes)


def _people(count: int) -> str:
    return f"{count} patient{'s' if count != 1 else ''}"


def answer_cell(found: Answer, with_patients: bool = False) -> Cell:
    """`yes · 0.79` above `0.62 to 0.90`; of a gap or a cue also what it is of."""
    worth = [_people(round(found.patients))] if with_patients and not math.isnan(found.patients) else []
    if math.isnan(found.estimate):
        return Cell(found.answer, ", ".join(worth) or found.evidence, found.tone)
    estimate, *bounds = (_number(value, found.question) for value in (found.estimate, found.low, found.high))
    interval = [] if math.isnan(found.low) else [" to ".join(bounds)]
    return Cell(
        f"{found.answer} · {estimate}", " · ".join(interval + worth + [found.about] * bool(found.about)), found.tone
    )


def difference_cell(gap: Difference | None) -> Cell:
    """`better` above `−0.05 (−0.09 to −0.01) · p 0.010`, or the smallest difference that would have been called."""
    if gap is None or gap.verdict == NOT_TESTED:
        return Cell()
    if math.isnan(gap.estimate):
        return Cell(gap.verdict, "", OPEN)
    estimate, low, high = (signed(value) for value in (gap.estimate, gap.low, gap.high))
    detail = f"{estimate} ({low} to {high})"
    if gap.tone != OPEN:
        detail += " · p " + ("< 0.001" if gap.p_holm < 0.001 else f"{gap.p_holm:.3f}")
    elif not math.isnan(gap.detectable):
        detail += f" · detectable {gap.detectable:.2f}"
    return Cell(gap.verdict, detail, gap.tone)


def _number(value: float, question: str) -> str:
    if question == "alike":
        return f"{100 * value:.0f} %"
    return signed(value) if question == "contradicting" else minus(f"{value:.2f}")


def signed(value: float) -> str:
    """Two decimals with a sign, none where they are 0."""
    text = f"{value:+.2f}"
    return "0.00" if text[1:] == "0.00" else minus(text)


def minus(text: str) -> str:
    """Numbers with a minus sign in place of a hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")
