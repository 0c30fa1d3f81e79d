"""Whether a run depends less on the source than another: the answer, its sentence, and signs that point one way."""

import math

import pandas as pd
import pytest

from app.numbers.audit import Audit, Compared
from app.numbers.dependence import (
    BETWEEN,
    CANNOT_CONCLUDE,
    LESS,
    MEASURES,
    MIXED,
    MORE,
    NO,
    NOT_COMPARED,
    NOT_SHOWN,
    NOT_TESTED,
    OPEN,
    YES,
    dependence,
)
from app.numbers.problems import problems
from training.bias.numbers.interval import NO_INTERVAL, Interval
from training.bias.report.answers import QUESTIONS, Answer, Difference, Verdict

NAN = math.nan
WORDS = {"+": "better", "-": "worse", "0": "no difference shown", "?": "too few"}


def gap(question: str, word: str) -> Difference:
    """`+` better, `-` worse, `0` no difference, `?` too few patients; 0.2 in size."""
    lower = next(q.lower_is_better for q in QUESTIONS if q.key == question)
    sign = -1 if (word == "-") != lower else 1
    values = (NAN,) * 3 if word == "?" else (0.2 * sign, *sorted((0.1 * sign, 0.3 * sign)))
    if word == "0":
        values = (0.01, -0.1, 0.12)
    return Difference(question, "erm", "end", *values, 0.01, 0.04, 0.15, WORDS[word])


def audit(problem: str = "", source_gap: Interval = NO_INTERVAL, p: float = NAN, **found: str) -> Audit:
    gaps = tuple(gap(question, word) for question, word in found.items())
    answers = tuple(
        Answer(q.key, run, q.wanted, 0.8, 0.7, 0.9, 0.1, 0.2, 50, "") for run in ("erm", "end") for q in QUESTIONS
    )
    verdict = Verdict("Headline.", QUESTIONS, answers, gaps, ())
    return Audit({}, (), (Compared("erm", "end", pd.DataFrame(), pd.DataFrame(), problem, source_gap, p),), verdict)


@pytest.mark.parametrize(
    ("found", "answer", "sentence"),
    [
        ({"follows": "+", "readable": "0"}, YES, "Its score follows the source less, by 0.20 (0.10 to 0.30)."),
        ({"within": "-"}, NO, "It ranks films of one source worse, by 0.20 (0.10 to 0.30)."),
        ({"readable": "+", "contradicting": "-"}, MIXED, "Its features leak the source less, by 0.20 (0.10 to 0.30); but "
         "it loses more accuracy on films that contradict their source, by 0.20 (0.10 to 0.30)."),
        ({"readable": "0", "within": "?"}, NOT_SHOWN, "a difference of 0.15 could go unseen"),
        ({"follows": "?"}, CANNOT_CONCLUDE, "Too few patients."),
        ({"works": "0"}, CANNOT_CONCLUDE, "No measure applies"),
        ({"follows": "+", "unseen": "-"}, YES, "At a cost: it ranks films of sources never seen worse, by 0.20"),
    ],
)  # fmt: skip
def test_the_answer_and_what_it_rests_on(found: dict[str, str], answer: str, sentence: str) -> None:
    (one,) = dependence(audit(**found))
    assert (one.other, one.reference, one.answer) == ("end", "erm", answer)
    assert sentence in one.sentence


def test_positive_is_always_less_dependence() -> None:
    (one,) = dependence(
        audit(source_gap=Interval(-0.1, -0.2, 0.05), within="+", follows="+", contradicting="-", readable="0")
    )
    rows = one.rows.set_index("measure")
    assert rows["estimate"].tolist() == [0.2, 0.2, -0.2, -0.01, 0.1]
    assert rows["verdict"].tolist() == [LESS, LESS, MORE, OPEN, NOT_TESTED]
    assert (rows["low"] <= rows["estimate"]).all() and (rows["estimate"] <= rows["high"]).all()
    assert tuple(rows.loc[MEASURES[BETWEEN].name, ["low", "high"]]) == (-0.05, 0.2)


@pytest.mark.parametrize(
    ("gap", "p", "verdict"),
    [((-0.1, -0.2, -0.05), 0.001, LESS), ((0.1, 0.05, 0.2), 0.001, MORE), ((-0.1, -0.2, -0.05), 0.06, OPEN),
     ((-0.1, -0.2, 0.05), 0.001, OPEN), ((-0.1, -0.2, -0.05), NAN, NOT_TESTED)],
)  # fmt: skip
def test_the_gap_between_sources_counts_after_correction(gap: tuple[float, ...], p: float, verdict: str) -> None:
    (one,) = dependence(audit(source_gap=Interval(*gap), p=p, readable="0", within="0"))
    rows = one.rows.set_index("measure")["verdict"]
    assert rows[MEASURES[BETWEEN].name] == verdict
    assert one.answer == {LESS: YES, MORE: NO}.get(verdict, NOT_SHOWN)
    assert ("Its errors differ" in one.sentence) == (verdict in (LESS, MORE))


def test_an_interval_beside_0_that_does_not_count_is_explained() -> None:
    found = audit(contradicting="0")
    near = Difference("contradicting", "erm", "end", -0.21, -0.35, -0.09, 0.03, 0.17, 0.23, "no difference shown")
    assert found.verdict is not None
    (one,) = dependence(Audit({}, (), found.comparisons, Verdict("", QUESTIONS, found.verdict.answers, (near,), ())))
    assert one.answer == NOT_SHOWN
    assert "Nearest to it is accuracy lost on conflicting films: by 0.21 (0.09 to 0.35), p = 0.17" in one.sentence


def test_what_was_not_compared() -> None:
    (one,) = dependence(audit("the tables hold different films"))
    assert one.answer == NOT_COMPARED and one.sentence == "The tables hold different films."
    assert one.rows["estimate"].isna().all() and len(one.rows) == len(MEASURES)
    assert dependence(Audit({}, (), (), None)) == []


def test_problems_are_found_not_found_or_open_and_the_worst_comes_first() -> None:
    words = {
        "follows": ("yes", "not shown"),
        "works": ("yes", "yes"),
        "cues": ("yes", "no"),
        "unseen": ("not asked",) * 2,
    }
    answers = []
    for at, run in enumerate(("erm", "end")):
        for q in QUESTIONS:
            word = words.get(q.key, ("too few",) * 2)[at]
            numbers = (NAN,) * 3 if word in ("too few", "not asked") else (-0.4, -0.5, -0.3)
            answers.append(Answer(q.key, run, word, *numbers, 0.1, 0.2, 50, "", "the corners (text)"))
    listed = problems(Verdict("", QUESTIONS, tuple(answers), (), ()))
    assert listed[0].name == "score follows the source"
    assert listed[0].answers == ("found · −0.40 (−0.50 to −0.30)", "cannot conclude · −0.40 (−0.50 to −0.30)")
    assert listed[1].name == "score follows one cue" and listed[1].answers[0].endswith("· the corners")
    assert listed[-1].name == "does not tell positive from negative" and listed[-1].tones == ("good", "good")
    assert "fails at hospitals it never saw" not in [one.name for one in listed], "no run was asked"
