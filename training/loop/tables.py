"""What a training prints: notices, the cohort, what its sources and labels allow, and the results."""

import math
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from datasets.cohort.confounding import Confounding
from datasets.cohort.films import Cohort
from datasets.sample import DatasetInfo, Split
from training.console.messages import RESEARCH_ONLY, SYNTHETIC
from training.run.report import RunResult, difference, headings

REASONS = 8  # why rows are left out that are shown, the most frequent ones


def show_notices(console: Console, cohort: Cohort) -> None:
    """Print what must be said before anything else: research use, synthetic films, what the data lacks."""
    console.print(f"[dim]{RESEARCH_ONLY}[/dim]")
    show_notes(console, cohort, cohort.notes)


def show_notes(console: Console, cohort: Cohort, notes: Sequence[str]) -> None:
    """Print some of a cohort's notes."""
    for note in notes:
        style = "bold black on yellow" if cohort.info.synthetic else "yellow"
        console.print(f" {note} ", style=style, markup=False)


def show_cohort(console: Console, cohort: Cohort, checks: Iterable[Confounding]) -> None:
    """Print what is trained on, the rows left out and why, and what the tables of sources and labels allow."""
    info, table, excluded = cohort.info, cohort.table, cohort.excluded
    sizes = table["split"].value_counts()
    splits = ", ".join(f"{sizes[split]} {split}" for split in map(str, Split) if split in sizes)
    console.print(f"{info.name}: {len(table)} images of {table['patient'].nunique()} patients ({splits})")
    if len(excluded):
        counts = excluded["reason"].value_counts()
        console.print(f"{len(excluded)} row{'s' if len(excluded) > 1 else ''} left out:", style="yellow")
        for reason, count in counts.head(REASONS).items():
            lines = ", ".join(str(int(row) + 2) for row in excluded.loc[excluded["reason"] == reason, "row"].head(5))
            where = f"line {lines}{', …' if count > 5 else ''} of metadata.csv"
            console.print(f"  {count} because {reason} ({where})", markup=False, highlight=False)
        if len(more := counts.iloc[REASONS:]):
            console.print(f"  and {more.sum()} more, for {len(more)} other reasons", highlight=False)
    for check in checks:
        show_confounding(console, check)


def show_confounding(console: Console, check: Confounding) -> None:
    """Print a table of an attribute's values and labels, and what it allows."""
    name = str(check.table.index.name)
    console.print(f"Training images by {name} and label:", markup=False)
    labels = (Column(escape(str(name)), justify="right") for name in check.table.columns)
    grid = Table(escape(name), *labels, box=None, header_style="bold")
    for source, row in check.table.iterrows():
        grid.add_row(escape(str(source)), *(str(value) if value else "[dim]0[/dim]" for value in row))
    console.print(grid)
    colour = {"identifiable": "green", "weak": "yellow", "not identifiable": "red"}[check.verdict]
    verdict = f"[{colour}]{check.verdict}[/{colour}]"
    console.print(f"Cramer's V {check.cramers_v:.2f}: {verdict}. {escape(check.sentence)}\n", highlight=False)


def show_results(console: Console, runs: list[RunResult], info: DatasetInfo) -> None:
    """Print the metrics of test and external side by side, with the differences of a pair."""
    for split in map(str, (Split.TEST, Split.EXTERNAL)):
        counts = runs[0].metrics[split]
        if not counts["n"]:
            continue
        console.print(f"[bold]{split}[/bold]: {counts['n']:.0f} images of {counts['patients']:.0f} patients")
        gaps = difference(runs[1], runs[0])[split] if len(runs) == 2 else {}
        columns = [*(run.method for run in runs), *["difference"] * bool(gaps)]
        table = Table("", *(Column(column, justify="right") for column in columns), header_style="bold")
        for name, heading in headings(counts):
            if name in ("n", "patients") or name not in counts or not _applies(name, split, info):
                continue
            cells = [_number(run.metrics[split][name], ".3f", "cannot conclude") for run in runs]
            table.add_row(heading, *cells, *([_number(gaps.get(name, math.nan), "+.3f", "")] if gaps else []))
        console.print(table)
    if info.synthetic:
        console.print(SYNTHETIC, style="bold black on yellow")
    for run in runs:
        console.print(f"run folder: {run.folder}", highlight=False, markup=False, soft_wrap=True)


def _applies(name: str, split: str, info: DatasetInfo) -> bool:
    """Whether a metric means anything there, however many patients there are."""
    if name == "auroc":
        return info.positive is not None
    # The usual label of a source that the training never saw is not known; that of another attribute's value may be.
    return split != Split.EXTERNAL or name not in ("aligned_accuracy", "conflicting_accuracy", "conflicting_gap")


def _number(value: float, form: str, undefined: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else undefined
