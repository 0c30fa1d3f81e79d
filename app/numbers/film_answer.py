"""What runs say of one film, side by side: scores, and how far they move when a part of the film is missing."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from training.bias.questions.shortcuts import PARTS

FRAME = ("frame_blanked", "border_blanked", "corners_blanked")  # where hospitals leave their marks
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
    moves: dict[str, float] | None = None  # of the score when each of `PARTS` is missing; None while that is not known


def sentence(answers: Sequence[RunAnswer]) -> str:
    """How much each score depends on border and corners; needs the moves of all.

    The largest move counts without border, corners or both: what one of them adds to a score, the other may take away.
    """
    known = {answer.run: answer.moves for answer in answers if answer.moves is not None}
    moves = {run: max(abs(of_run[part]) for part in FRAME) for run, of_run in known.items()}
    said = ", ".join(f"{run} by up to {move:.2f}" for run, move in moves.items())
    if max(moves.values()) < SMALL:
        return f"Border and corners, {MARKS}, hardly move a score of this film: {said}."
    if len(moves) == 1:
        return f"Border and corners, {MARKS}, move the score of {said}."
    if max(moves.values()) - min(moves.values()) < SMALL:
        return f"The scores depend about equally on border and corners, {MARKS}: they move {said}."
    least, most = min(moves, key=moves.__getitem__), max(moves, key=moves.__getitem__)
    if len(moves) == 2:
        return f"{least} depends less than {most} on border and corners, {MARKS}: they move {said}."
    return f"{least} depends least on border and corners, {MARKS}: they move {said}."


def apart(moves: Sequence[Mapping[str, float]]) -> str | None:
    """The part whose absence moves the scores of several runs most differently; None where no part is worth a word."""
    ranges = {part: max(of_run[part] for of_run in moves) - min(of_run[part] for of_run in moves) for part in PARTS}
    widest = max(ranges, key=ranges.__getitem__)
    return widest if ranges[widest] >= SMALL else None


def why(answers: Sequence[RunAnswer]) -> str:
    """Which part the scores disagree on, in a sentence; needs the moves of all, of two runs or more."""
    known = {answer.run: answer.moves for answer in answers if answer.moves is not None}
    part = apart(list(known.values()))
    if part is None:
        return "No missing part moves their scores much differently."
    moves = ", ".join(f"{run} {signed(of_run[part])}" for run, of_run in known.items())
    return f"Their scores part most without the {PARTS[part]}: {moves}."


def table(answers: Sequence[RunAnswer]) -> pd.DataFrame:
    """A row a question, a column a run, Markdown in the cells; the largest change of each run is bold."""
    rows: dict[str, list[str]] = {}
    rows["Training films"] = [_likeness(answer) for answer in answers]
    rows["Score"] = [f"**{answer.score:.3f}**" for answer in answers]
    rows["Call"] = [f"{answer.called}{answer.threshold}" for answer in answers]
    known = [answer.moves for answer in answers if answer.moves is not None]
    if len(known) == len(answers):
        largest = [_largest(moves) for moves in known]
        for part, name in PARTS.items():
            rows[f"Without {name}"] = [
                f"**{signed(moves[part])}**" if part == most else signed(moves[part])
                for moves, most in zip(known, largest, strict=True)
            ]
    labels = list(dict.fromkeys(near.label for answer in answers for near in answer.nearest))
    for label in sorted(labels):
        of_label = [next((near for near in answer.nearest if near.label == label), None) for answer in answers]
        rows[f"Nearest {label}"] = ["" if near is None else f"{near.source}, {near.distance:.2f}" for near in of_label]
    table = pd.DataFrame(rows, index=[answer.run for answer in answers]).T
    return table.rename_axis("this film")


def signed(change: float) -> str:
    """A change of a score with its sign."""
    text = f"{change:+.2f}".replace("-", "\N{MINUS SIGN}")
    return "0.00" if text[1:] == "0.00" else text


def _largest(moves: Mapping[str, float]) -> str:
    return max(PARTS, key=lambda part: abs(moves[part]))


def _likeness(answer: RunAnswer) -> str:
    how = {True: "**unlike**", False: "like", None: "not known"}[answer.unlike]
    return f"{how} {answer.distance}".strip()
