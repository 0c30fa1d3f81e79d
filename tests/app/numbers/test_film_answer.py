"""What runs say of a film: the sentence names the run that depends less, the table holds every change."""

import pytest

from app.numbers.film_answer import Near, RunAnswer, sentence, table, why
from training.bias.questions.shortcuts import PARTS


def answer(run: str, score: float, **moves: float) -> RunAnswer:
    """A run whose score stays as it is but without the parts that are named."""
    nearest = (Near("covid", "north", 0.2), Near("not covid", "south", 0.4))
    return RunAnswer(run, score, "covid", " at 0.5", False, "", nearest, dict.fromkeys(PARTS, 0.0) | moves)


def test_the_run_that_depends_less_is_named_with_both_numbers() -> None:
    said = sentence(
        [answer("erm", 0.8, frame_blanked=-0.36, border_blanked=0.1), answer("end", 0.6, corners_blanked=0.23)]
    )
    assert said.startswith("end depends less than erm") and said.endswith("erm by up to 0.36, end by up to 0.23."), (
        "also where the other part takes the move back"
    )


@pytest.mark.parametrize(
    ("moves", "words"),
    [
        ([0.3], "move the score of a by up to 0.30"),
        ([0.3, 0.27], "about equally"),
        ([0.05, 0.01], "about equally"),
        ([0.04, 0.0], "hardly move a score of this film: a by up to 0.04, b by up to 0.00."),
        ([0.0], "hardly move a score of this film: a by up to 0.00."),
        ([0.3, 0.2, 0.1], "c depends least"),
    ],
)
def test_other_numbers_of_runs_and_no_difference(moves: list[float], words: str) -> None:
    runs = [answer(name, 0.5, frame_blanked=move) for name, move in zip("abc", moves, strict=False)]
    assert words in sentence(runs)


def test_why_two_scores_differ() -> None:
    runs = [answer("erm", 0.8, corners_blanked=-0.5, lungs_removed=-0.2), answer("end", 0.4, corners_blanked=-0.02)]
    assert why(runs) == "Their scores part most without the corners: erm \N{MINUS SIGN}0.50, end \N{MINUS SIGN}0.02."
    assert why([answer("erm", 0.8), answer("end", 0.4)]) == "No missing part moves their scores much differently."


def test_the_largest_change_of_each_run_is_bold() -> None:
    shown = table([answer("erm", 0.8, border_blanked=0.1, lungs_removed=-0.6), answer("end", 0.6, left_blanked=-0.1)])
    assert (
        shown.loc["Without lungs", "erm"] == "**\N{MINUS SIGN}0.60**" and shown.loc["Without border", "erm"] == "+0.10"
    )
    assert shown.loc["Without patient's left half", "end"] == "**\N{MINUS SIGN}0.10**"
    assert shown.loc["Nearest not covid", "erm"] == "south, 0.40"
    assert list(shown.index[:2]) == ["Training films", "Score"], "what warns of a score stands before it"
