"""What several runs' answers say in a sentence, and how their names are shortened."""

from dataclasses import replace

import pytest

from training.bias.report.answers import NO, NOT_SHOWN, QUESTIONS, YES, Answer, Difference
from training.bias.report.headline import after_headline, headline_of_all, short_names


def run(name: str, shift: float = 0.0, **found: str) -> list[Answer]:
    """Answers of a run, those of a good model but for `found`."""
    return [
        Answer(q.key, name, found.get(q.key, q.wanted), 0.7 + shift, 0.65, 0.75, 0.01, 0.02, 50, "A sentence.")
        for q in QUESTIONS
    ]


def test_a_finding_of_all_runs_is_one_sentence_with_all_numbers() -> None:
    by_run = {"x-erm-s0": run("x-erm-s0", unseen=NO), "x-end-s0": run("x-end-s0", 0.05, unseen=NOT_SHOWN, follows=YES)}
    assert headline_of_all(by_run) == (
        "Neither model is shown to work at a hospital it never saw: "
        "AUROC from 0.70 to 0.70 (erm) and from 0.75 to 0.75 (end)."
    )
    assert after_headline(by_run, []) == ("end: the score follows the source: AUROC 0.75 (0.65 to 0.75).",)
    three = by_run | {"x-two-s0": run("x-two-s0", unseen=NO)}
    assert headline_of_all(three).startswith("No model is shown to work at a hospital it never saw")


def test_a_finding_of_one_run_names_it_and_the_others_are_not_forgotten() -> None:
    by_run = {"fair": run("fair"), "biased": run("biased", follows=YES, readable=YES)}
    assert headline_of_all(by_run).startswith("biased: the score follows the source")
    read, fair = after_headline(by_run, [])
    assert read.startswith("biased: the source can be read") and fair.startswith("fair: The model works")


def test_a_reason_that_decides_is_said_beside_the_number() -> None:
    of_one = [
        replace(a, about="every film is called covid") if a.question == "unseen" else a for a in run("a", unseen=NO)
    ]
    assert headline_of_all({"a": of_one}).startswith(
        "It is not shown to work at a hospital it never saw: AUROC from 0.70 to 0.70, but every film is called covid"
    )


@pytest.mark.parametrize(
    ("answer", "high", "expected"),
    [
        (
            NOT_SHOWN,
            0.64,
            "It is not shown to tell positive from negative within one hospital: AUROC from 0.70 to 0.55.",
        ),
        (YES, 0.64, "It tells positive from negative within one hospital less than over all: AUROC from 0.70 to 0.55."),
        (YES, 0.66, "The model works, and no question found that it uses the source."),
        (NOT_SHOWN, 0.66, "Nothing was found against the model; 1 of 9 questions could not be answered."),
    ],
)
def test_an_auroc_that_is_lower_within_hospitals_than_over_all_is_said(answer: str, high: float, expected: str) -> None:
    found = [
        replace(a, answer=answer, estimate=0.55, low=0.45, high=high) if a.question == "within" else a for a in run("a")
    ]
    assert headline_of_all({"a": found}) == expected
    beside = [replace(a, answer=NOT_SHOWN) if a.question == "unseen" else a for a in found]
    assert "within one hospital" not in headline_of_all({"a": beside})


def test_a_model_that_does_not_work_is_not_called_so_twice() -> None:
    by_run = {name: run(name, works=NOT_SHOWN, unseen=NO, within=NO, alike=NO) for name in "ab"}
    assert headline_of_all(by_run).startswith("Neither model is shown to work at all: AUROC 0.70 (a) and 0.70 (b)")
    assert after_headline(by_run, []) == ()


def test_runs_without_findings() -> None:
    assert headline_of_all({"a": run("a"), "b": run("b")}) == (
        "Every model works, and no question found that it uses the source."
    )
    different = headline_of_all({"a": run("a"), "b": run("b", cues=NOT_SHOWN)})
    assert different.startswith("a: The model works") and "b: Nothing was found" in different


def test_differences_that_hold_are_said() -> None:
    gap = Difference("within", "a", "b", 0.07, 0.02, 0.13, 0.01, 0.04, 0.08, "better")
    by_run = {"a": run("a"), "b": run("b")}
    words = "On the same films b is better than a at ranking films of one source, +0.07 (+0.02 to +0.13)."
    assert after_headline(by_run, [gap]) == (words,)
    none = replace(gap, verdict="no difference shown")
    assert after_headline(by_run, [none]) == ("No difference between the runs is shown.",)
    assert after_headline({"a": run("a")}, []) == ()


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["covid-erm-net-s0", "covid-end-net-s0"], ["erm", "end"]),
        (["a-s0", "a-s1"], ["s0", "s1"]),
        (["one"], ["one"]),
        (["a-b", "a-b-c"], ["a-b", "a-b-c"]),
        (["a-b", "b-a"], ["a-b", "b-a"]),
    ],
)
def test_names_lose_what_all_share(names: list[str], short: list[str]) -> None:
    assert list(short_names(names).values()) == short
