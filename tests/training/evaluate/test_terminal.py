"""The table of the verdict in the terminal: 80 columns, no cell cut, runs beside each other."""

import io

import pytest
from rich.console import Console

from training.bias.report.first_screen import Cell, FirstScreen, Line
from training.evaluate.terminal import in_short, tables

BAD, GAP = Cell("yes · 0.79", "0.62 to 0.90 · what lies outside the lungs", "bad"), Cell("worse", "+0.10", "bad")


def screen(*runs: str, pairs: bool = True) -> FirstScreen:
    gaps = (GAP,) * (len(runs) - 1 if pairs else 0)
    question, measure = "Is it worse on films that contradict their source?", "accuracy, within a label · 41 patients"
    line = Line(question, measure, (BAD,) * len(runs), gaps)
    between = tuple((run, runs[0]) for run in runs[1:]) if pairs else ()
    return FirstScreen("Headline.", (), runs, runs, between, (line, line), (), ())


def drawn(found: FirstScreen, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    for table in tables(found, width):
        console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return text.splitlines()


@pytest.mark.parametrize("runs", [("erm",), ("erm", "end"), ("erm-with-a-very-long-name-of-its-own", "[red]end[/]")])
def test_nothing_is_cut_in_80_columns(runs: tuple[str, ...]) -> None:
    lines = drawn(screen(*runs))
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    words = " ".join(" ".join(lines).split())
    assert words.count("yes · 0.79") == 2 * len(runs)
    assert "41 patients" in words and all(word in words for word in ("contradict", "lungs"))
    text = "".join("".join(lines).split())
    assert "[red]" in text or "[red]end[/]" not in runs, "names are no markup"
    assert text.count("worse+") == 0 and words.count(" worse ") >= 2 * (len(runs) - 1)


def test_more_runs_than_fit_have_a_table_each_beside_the_first() -> None:
    heads = [line for line in drawn(screen("a", "b", "c")) if line.startswith("Question")]
    assert [head.split() for head in heads] == [["Question", "a", x, x, "minus", "a"] for x in "bc"]
    assert len(tables(screen("a", "b", "c", pairs=False), 80)) == 2


def test_the_measure_is_short_in_a_narrow_terminal() -> None:
    assert in_short("AUROC, films of known sources · 90 patients") == "AUROC · 90 patients"
    assert in_short("share of outliers; 5 % are expected") == "share of outliers"
