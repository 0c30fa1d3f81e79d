"""What the terminal shows of an audit: the table of the verdict as in report.html, in 80 columns."""

import re
from pathlib import Path

import pandas as pd
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from training.bias.questions.unlabelled import Unlabelled
from training.bias.report.answers import BAD, GOOD, OPEN
from training.bias.report.attribute_screen import attribute_screen
from training.bias.report.first_screen import Cell, FirstScreen, first_screen
from training.bias.report.gate import Outcome
from training.bias.report.values import BiasReport
from training.console.messages import SYNTHETIC
from training.console.site_table import site_table

COLOURS = {BAD: "red", GOOD: "green", OPEN: "yellow", "": ""}
WIDEST = 110  # columns of a table
# More runs than this have a table for each comparison.
TOGETHER = 2


def show(report: BiasReport, output: Path, files: list[str], console: Console) -> None:
    """Print the verdict as a sentence and a table, what could not be compared, and which files were written."""
    if report.verdict is not None:
        show_verdict(first_screen(report.verdict), report, console)
    by_attribute = [run.attributes for run in report.runs], [pair.attributes for pair in report.comparisons]
    if (screen := attribute_screen(*by_attribute)) is not None:
        show_attributes(screen, console)
    for films in report.unlabelled:
        show_described(films, console)
    for comparison in report.comparisons:
        if comparison.problem:
            text = f"{comparison.other} and {comparison.reference} are not compared: {comparison.problem}"
            console.print(text, style="yellow", markup=False, highlight=False)
    for name, rows in report.about.get("site_calibration", {}).items():
        console.print(site_table(f"{name}: read by site, on films that it was not fitted on", pd.DataFrame(rows)))
    if report.about["synthetic"]:
        console.print(SYNTHETIC, style="bold black on yellow")
    here = Path.cwd()
    place = output.relative_to(here) if output.is_relative_to(here) else output
    console.print(f"\nwritten to {place}: {', '.join(files)}", markup=False, highlight=False)


def show_verdict(screen: FirstScreen, report: BiasReport, console: Console) -> None:
    """Print a headline with its table."""
    films = dict.fromkeys((run.films, run.patients) for run in report.runs)
    counted = "; ".join(f"{number} films of {people} patient{'s' if people != 1 else ''}" for number, people in films)
    console.print()
    for short, name in zip(screen.runs, screen.full_names, strict=True):
        console.print(f"{short}: {name}" if short != name else name, style="dim", markup=False, highlight=False)
    console.print(counted, style="dim", markup=False, highlight=False)
    console.print(screen.headline, style="bold", markup=False, highlight=False)
    for sentence in screen.others:
        console.print(sentence, markup=False, highlight=False)
    for caution in screen.cautions:
        console.print(f"Caution: {caution}", style="yellow", markup=False, highlight=False)
    for table in tables(screen, min(console.width, WIDEST)):
        console.print()
        console.print(table, highlight=False)
    console.print()
    for note in screen.notes:
        console.print(note, style="dim", markup=False, highlight=False)


def show_attributes(screen: FirstScreen, console: Console) -> None:
    """Print the questions on the source asked of each attribute."""
    console.print()
    console.print(screen.headline, style="bold", markup=False, highlight=False)
    for table in tables(screen, min(console.width, WIDEST)):
        console.print()
        console.print(table, highlight=False)


def tables(screen: FirstScreen, width: int) -> list[Table]:
    """The table of all runs; of more than two, one for each run beside the first."""
    columns = [(name, [line.answers[number] for line in screen.lines]) for number, name in enumerate(screen.runs)]
    gaps = {
        other: (f"{other} minus {reference}", [line.differences[number] for line in screen.lines])
        for number, (other, reference) in enumerate(screen.pairs)
    }
    if len(columns) <= TOGETHER:
        return [table(screen, [*columns, *gaps.values()], width)]
    first, *others = columns
    return [table(screen, [first, one, *([gaps[one[0]]] if one[0] in gaps else [])], width) for one in others]


def table(screen: FirstScreen, columns: list[tuple[str, list[Cell]]], width: int) -> Table:
    """Questions with these columns; a cell that is too long for its column goes on in the next line."""
    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 1, 0), width=width)
    drawn.add_column("Question", ratio=24, overflow="fold")
    for heading, _ in columns:
        narrowest = 19 if " minus " in heading else 17  # `no difference shown`, `not shown · +0.08`
        drawn.add_column(Text(heading), ratio=narrowest, min_width=narrowest, overflow="fold")
    for number, line in enumerate(screen.lines):
        measure = line.measure if width >= WIDEST else in_short(line.measure)
        question = Group(Text(line.question), Text(measure, style="dim"))
        drawn.add_row(question, *(in_colour(cells[number]) for _, cells in columns))
    return drawn


def in_short(measure: str) -> str:
    """`AUROC · 90 patients` of `AUROC, films of known sources · 90 patients`."""
    what, dot, patients = measure.partition(" · ")
    return re.split("[,;:]", what)[0] + dot + patients


def in_colour(cell: Cell) -> Group:
    """A cell's words in the colour of its tone, above the detail."""
    parts = [Text(cell.words, style=COLOURS[cell.tone]), Text(cell.detail, style="dim")]
    return Group(*(part for part in parts if part.plain))


def show_described(films: Unlabelled, console: Console) -> None:
    """Print how many films of how many patients, and what was found in one sentence."""
    people = f"{films.patients} patient{'s' if films.patients != 1 else ''}"
    console.print(f"\n{films.name}: {films.films} films of {people}", style="bold", markup=False, highlight=False)
    console.print(films.headline, style="bold", markup=False, highlight=False)


def show_outcomes(outcomes: list[Outcome], console: Console) -> None:
    """Print what became of each condition of --fail-on."""
    for outcome in outcomes:
        word, style = ("failed", "red") if outcome.failed else ("passed", "green")
        console.print(f"{word}: {outcome.condition} · {outcome.run}: {outcome.sentence}", style=style, markup=False)
