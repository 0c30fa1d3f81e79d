"""The verdict as a table of words: cells with numbers, signs and tones; what is not asked is said once."""

import math

import pytest

from training.bias.report.answers import (
    NO,
    NOT_ASKED,
    NOT_SHOWN,
    QUESTIONS,
    TOO_FEW,
    YES,
    Answer,
    Difference,
    Verdict,
)
from training.bias.report.first_screen import Cell, answer_cell, difference_cell, first_screen

NAN = math.nan


def answer(
    question: str, word: str, run: str = "run", number: float = 0.7, patients: float = 50, about: str = ""
) -> Answer:
    low, high = number - 0.1, number + 0.1
    return Answer(question, run, word, number, low, high, 0.01, 0.02, patients, "A sentence.", about)


def verdict(*answers: Answer, differences: tuple[Difference, ...] = ()) -> Verdict:
    keys = {one.question for one in answers}
    questions = tuple(question for question in QUESTIONS if question.key in keys)
    return Verdict("Headline.", questions, answers, differences, ("Caution.",), ("More.",), ("A note.",))


@pytest.mark.parametrize(
    ("found", "cell"),
    [
        (answer("works", YES), Cell("yes · 0.70", "0.60 to 0.80", "good")),
        (answer("follows", YES), Cell("yes · 0.70", "0.60 to 0.80", "bad")),
        (answer("contradicting", NOT_SHOWN, number=-0.05), Cell("not shown · −0.05", "−0.15 to +0.05", "open")),
        (answer("alike", NO, number=0.4), Cell("no · 40 %", "30 % to 50 %", "bad")),
        (answer("cues", YES, about="the corners"), Cell("yes · 0.70", "0.60 to 0.80 · the corners", "bad")),
        (answer("works", TOO_FEW, number=NAN, patients=7), Cell("too few", "A sentence.", "open")),
    ],
)
def test_answers_in_words(found: Answer, cell: Cell) -> None:
    assert answer_cell(found) == cell


def test_patients_are_in_the_cell_where_the_runs_have_other_ones() -> None:
    assert answer_cell(answer("works", YES), with_patients=True).detail == "0.60 to 0.80 · 50 patients"
    assert answer_cell(answer("works", TOO_FEW, number=NAN, patients=7), with_patients=True).detail == "7 patients"
    same = first_screen(verdict(answer("works", YES, "a"), answer("works", NO, "b")))
    assert same.lines[0].measure.endswith("· 50 patients") and "patients" not in same.lines[0].answers[0].detail
    other = first_screen(verdict(answer("works", YES, "a"), answer("works", NO, "b", patients=20)))
    assert "patients" not in other.lines[0].measure and other.lines[0].answers[1].detail.endswith("20 patients")


@pytest.mark.parametrize(
    ("gap", "cell"),
    [
        ((0.07, 0.02, 0.13, 0.01, 0.04, 0.08, "better"), Cell("better", "+0.07 (+0.02 to +0.13) · p 0.040", "good")),
        ((-0.2, -0.3, -0.1, 0.0, 0.0, 0.1, "worse"), Cell("worse", "−0.20 (−0.30 to −0.10) · p < 0.001", "bad")),
        (
            (-0.001, -0.02, 0.004, 0.5, 1.0, 0.03, "no difference shown"),
            Cell("no difference shown", "0.00 (−0.02 to 0.00) · detectable 0.03", "open"),
        ),
        ((NAN, NAN, NAN, NAN, NAN, NAN, "too few"), Cell("too few", "", "open")),
        ((NAN, NAN, NAN, NAN, NAN, NAN, "not tested"), Cell()),
    ],
)
def test_differences_in_words(gap: tuple, cell: Cell) -> None:
    assert difference_cell(Difference("within", "a", "b", *gap)) == cell


def test_what_no_run_was_asked_is_below_the_table_once() -> None:
    silent = [
        Answer(key, run, NOT_ASKED, *[NAN] * 6, "No film was perturbed.") for key in ("cues", "unseen") for run in "ab"
    ]
    gap = Difference("works", "a", "b", 0.0, -0.1, 0.1, 0.5, 1.0, 0.1, "no difference shown")
    screen = first_screen(verdict(answer("works", YES, "a"), answer("works", YES, "b"), *silent, differences=(gap,)))
    assert [line.question for line in screen.lines] == ["Does it work at all?"]
    assert screen.pairs == (("b", "a"),) and len(screen.lines[0].differences) == 1
    asked = [note for note in screen.notes if note.startswith("Not asked")]
    assert asked == ["Not asked: Does it work at a hospital it never saw? By what? No film was perturbed."]
    assert "A note." in screen.notes and screen.others == ("More.",) and screen.cautions == ("Caution.",)
