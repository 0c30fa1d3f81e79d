"""What runs say of one film, side by side: scores, and how far they move when a part of the film is missing."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from training.bias.questions.shortcuts import PARTS

FRAME = "frame_blanked"  # border and corners: hospitals leave their marks there
SMALL = 0.05  # a difference between two moves that is not worth a word
MARKS = "where hospitals leave their marks"


class Near(NamedTuple):
    """The nearest training film of a label."""

    label: str
    source: str
    distance: float  # 0 to 2


class RunAnswer(NamedTuple):
    """A run's answer for a film."""

    run: str  # as pages call it
    score: float
    called: str
    threshold: str  # in words; empty without one
    unlike: bool | None  # its training films; None where that can't be told
    distance: str  # from them, in words
    nearest: tuple[Near, ...] = ()  # of each label, the nearest first
    without: dict[str, float] | None = None  # score without each of `PARTS`; None while it is not known

    def move(self, part: str) -> float:
        """How far the score moves when a part is missing."""
        assert self.without is not None
        return self.without[part] - self.score

    def largest(self) -> str:
        """The part whose absence moves the score most."""
        return max(PARTS, key=lambda part: abs(self.move(part)))


def sentence(answers: Sequence[RunAnswer]) -> str:
    """How much each score depends on border and corners, compared with the first run's; needs `without` of all."""
    moves = {answer.run: abs(answer.move(FRAME)) for answer in answers}
    said = ", ".join(f"{run} by {move:.2f}" for run, move in moves.items())
    if len(moves) == 1:
        return f"Border and corners, {MARKS}, move the score of {said}."
    if max(moves.values()) - min(moves.values()) < SMALL:
        return f"The scores depend about equally on border and corners, {MARKS}: they move {said}."
    least, most = min(moves, key=moves.__getitem__), max(moves, key=moves.__getitem__)
    if len(moves) == 2:
        return f"{least} depends less than {most} on border and corners, {MARKS}: they move {said}."
    return f"{least} depends least on border and corners, {MARKS}: they move {said}."


def apart(answers: Sequence[RunAnswer]) -> str | None:
    """The part whose absence moves two scores most differently: a name of `PARTS`; None for less than `SMALL`."""
    ranges = {}
    for part in PARTS:
        moves = [answer.move(part) for answer in answers]
        ranges[part] = max(moves) - min(moves)
    widest = max(ranges, key=ranges.__getitem__)
    return widest if ranges[widest] >= SMALL else None


def why(answers: Sequence[RunAnswer]) -> str:
    """Which part the scores disagree on, in a sentence; needs `without` of all, of two runs or more."""
    part = apart(answers)
    if part is None:
        return "No missing part moves their scores much differently."
    moves = ", ".join(f"{answer.run} {signed(answer.move(part))}" for answer in answers)
    return f"Their scores part most without the {PARTS[part]}: {moves}."


def table(answers: Sequence[RunAnswer]) -> pd.DataFrame:
    """A row a question, a column a run, Markdown in the cells; the largest change of each run is bold."""
    rows: dict[str, list[str]] = {}
    rows["Training films"] = [_likeness(answer) for answer in answers]
    rows["Score"] = [f"**{answer.score:.3f}**" for answer in answers]
    rows["Call"] = [f"{answer.called}{answer.threshold}" for answer in answers]
    if all(answer.without is not None for answer in answers):
        largest = [answer.largest() for answer in answers]
        for part, name in PARTS.items():
            moves = [signed(answer.move(part)) for answer in answers]
            rows[f"Without {name}"] = [
                f"**{move}**" if part == most else move for move, most in zip(moves, largest, strict=True)
            ]
    labels = list(dict.fromkeys(near.label for answer in answers for near in answer.nearest))
    for label in sorted(labels):
        of_label = [next((near for near in answer.nearest if near.label == label), None) for answer in answers]
        rows[f"Nearest {label}"] = ["" if near is None else f"{near.source}, {near.distance:.2f}" for near in of_label]
    return pd.DataFrame(rows, index=[answer.run for answer in answers]).T


def signed(change: float) -> str:
    """A change of a score with its sign."""
    return f"{change:+.2f}".replace("-", "\N{MINUS SIGN}")


def _likeness(answer: RunAnswer) -> str:
    how = {True: "**unlike**", False: "like", None: "not known"}[answer.unlike]
    return f"{how} {answer.distance}".strip()
