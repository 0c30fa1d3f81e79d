"""The answers of an audit as problems that were found, not found, or that nothing can be concluded about."""

import math
import re
from typing import NamedTuple

from training.bias.numbers.interval import Interval
from training.bias.report.answers import BAD, GOOD, NOT_ASKED, Answer, Verdict
from training.bias.report.first_screen import minus
from training.bias.report.headline import SEVERITY

FOUND, NOT_FOUND, CANNOT_CONCLUDE, NOT_MEASURED = "found", "not found", "cannot conclude", "not asked"
# What would speak against a model, by question of the verdict; the number's name where the problem doesn't say it.
PROBLEMS = {
    "works": ("does not tell positive from negative", "AUROC"),
    "unseen": ("fails at hospitals it never saw", "AUROC"),
    "follows": ("score follows the source", "AUROC for its usual label"),
    "within": ("does not tell positive from negative within one hospital", "AUROC"),
    "contradicting": ("worse on films that contradict their source", "accuracy lost"),
    "cues": ("score follows one cue", "AUROC of the cue alone, or what its loss costs"),
    "readable": ("source can be read from the features", "balanced accuracy"),
    "groups": ("errors differ between groups", "largest gap"),
    "alike": ("films are unlike the training films", "share"),
}
ORDER = {FOUND: 0, CANNOT_CONCLUDE: 1, NOT_FOUND: 2}


class Problem(NamedTuple):
    """A problem with its answer for each run, in the order of the runs; `tones` as `Answer.tone`."""

    name: str
    measure: str
    answers: tuple[str, ...]
    tones: tuple[str, ...]


def problems(verdict: Verdict) -> list[Problem]:
    """Those that some run was asked about: found ones first, the worst of them on top, those not found last."""
    runs = list(dict.fromkeys(answer.run for answer in verdict.answers))
    found = []
    for key in (key for key in SEVERITY if key in PROBLEMS):  # a headline says more than what is asked
        answers = [verdict.answer(key, run) for run in runs]
        if any(answer.answer != NOT_ASKED for answer in answers):
            words = [_word(answer) for answer in answers]
            lines = tuple(f"{word}{_number(answer)}" for word, answer in zip(words, answers, strict=True))
            place = min(ORDER.get(word, len(ORDER)) for word in words)
            found.append((place, Problem(*PROBLEMS[key], lines, tuple(answer.tone for answer in answers))))
    return [problem for _, problem in sorted(found, key=lambda pair: pair[0])]


def _word(answer: Answer) -> str:
    if answer.answer == NOT_ASKED:
        return NOT_MEASURED
    return {BAD: FOUND, GOOD: NOT_FOUND}.get(answer.tone, CANNOT_CONCLUDE)


def _number(answer: Answer) -> str:
    if math.isnan(answer.estimate):
        return ""
    if answer.question == "alike":
        return f" · {100 * answer.estimate:.0f} % ({100 * answer.low:.0f} to {100 * answer.high:.0f})"
    # Without what a cue may be, in brackets.
    cue = f" · {re.sub(r' [(][^)]*[)]', '', answer.about)}" if answer.question == "cues" and answer.about else ""
    return f" · {minus(f'{Interval(answer.estimate, answer.low, answer.high):.2f}')}{cue}"
