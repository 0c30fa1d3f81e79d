"""The verdict as a value: questions, each run's answers and the paired differences of runs, for every face to draw.

An answer is `yes` or `no` where the films show it, `not shown` where they could hide either, `too few` below ten effective
patients, and `not asked` where the films can't be asked. `yes` holds at 95 % after Holm's correction over the questions of
the table; `no` says that the whole interval is within what hardly matters.
"""

from dataclasses import dataclass
from typing import NamedTuple

YES, NO, NOT_SHOWN, TOO_FEW, NOT_ASKED = "yes", "no", "not shown", "too few", "not asked"
GOOD, BAD, OPEN = "good", "bad", "open"
NO_DIFFERENCE, NOT_TESTED = "no difference shown", "not tested"


class Question(NamedTuple):
    """A question of the table; `wanted` is the answer of a good model, `measure` says what its number is."""

    key: str
    text: str
    measure: str
    wanted: str
    lower_is_better: bool = False


QUESTIONS = (
    Question("works", "Does it work at all?", "AUROC, films of known sources", YES),
    Question("unseen", "Does it work at a hospital it never saw?", "AUROC, films of sources never seen", YES),
    Question(
        "within", "Does it tell positive from negative within one hospital?", "AUROC, pairs of films of one source", YES
    ),
    Question(
        "follows",
        "Does the score follow the source?",
        "AUROC for the source's usual label, among films of one label; 0.5 = no",
        NO,
        lower_is_better=True,
    ),
    Question(
        "contradicting",
        "Is it worse on films that contradict their source?",
        "accuracy within a label: usual source minus other sources",
        NO,
        lower_is_better=True,
    ),
    Question(
        "cues", "By what?", "AUROC for the source's usual label from one cue alone, or what its loss costs", NO, True
    ),
    Question(
        "readable", "Can the source be read from the features?", "balanced accuracy of a probe within a label", NO, True
    ),
    Question(
        "groups", "Do errors differ between groups of patients?", "largest gap in sensitivity or specificity", NO, True
    ),
    Question("alike", "Are these films like the training films?", "share of outliers; 5 % are expected", YES, True),
)
BY_KEY = {question.key: question for question in QUESTIONS}


@dataclass(frozen=True)
class Answer:
    """One run's answer to a question; numbers are NaN where there are none.

    Attributes:
        question: key of a `Question`.
        answer: see the module.
        low: 95 % bound of the estimate; `high` likewise.
        p: two-sided, of no effect; `p_holm` after the correction over the run's questions.
        patients: effective patients, the fewest of those that the number needs.
        evidence: a sentence.
        about: what the number is of, where the question leaves it open: a cue, two groups; or why the answer is no whatever
            the number.
    """

    question: str
    run: str
    answer: str
    estimate: float
    low: float
    high: float
    p: float
    p_holm: float
    patients: float
    evidence: str
    about: str = ""

    @property
    def tone(self) -> str:
        """`good`, `bad` or `open`."""
        if self.answer not in (YES, NO):
            return OPEN
        return GOOD if self.answer == BY_KEY[self.question].wanted else BAD


@dataclass(frozen=True)
class Difference:
    """A question's number in two runs on the same films, `other` minus `reference`.

    Attributes:
        p_holm: after the correction over the questions of the table.
        detectable: difference that the verdict finds with power 0.8, were it the only one.
        verdict: `better`, `worse`, `no difference shown`, `too few` or `not tested`.
    """

    question: str
    reference: str
    other: str
    estimate: float
    low: float
    high: float
    p: float
    p_holm: float
    detectable: float
    verdict: str

    @property
    def tone(self) -> str:
        """`good`, `bad` or `open`."""
        return {"better": GOOD, "worse": BAD}.get(self.verdict, OPEN)


@dataclass(frozen=True)
class Verdict:
    """The first screen of an audit: one sentence, and a table of questions down and runs across.

    Attributes:
        headline: the worst finding of all runs in one sentence.
        others: what else was found, a sentence for each run.
        cautions: what a reader must know before any number.
        notes: what these films can't tell.
    """

    headline: str
    questions: tuple[Question, ...]
    answers: tuple[Answer, ...]
    differences: tuple[Difference, ...]
    cautions: tuple[str, ...]
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def answer(self, question: str, run: str) -> Answer:
        """A run's answer to a question, by its key."""
        return next(a for a in self.answers if (a.question, a.run) == (question, run))
