"""What a training prints: notices, the cohort, what its sources and labels allow, and the results."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from datasets.cohort.confounding import Confounding
from datasets.cohort.films import Cohort
from datasets.sample import DatasetInfo, Split
from training.console.messages import RESEARCH_ONLY, SYNTHETIC
from training.run.report import HEADLINE, RunResult, difference


def show_notices(console: Console, cohort: Cohort) -> None:
    """Print what must be said before anything else: research use, synthetic films, what the data lacks."""
    console.print(f"[dim]{RESEARCH_ONLY}[/dim]")
    show_notes(console, cohort, cohort.notes)


def show_notes(console: Console, cohort: Cohort, notes: Sequence[str]) -> None:
    """Print some of a cohort's notes."""
    for note in notes:
        style = "bold black on yellow" if cohort.info.synthetic else "yellow"
        console.print(f" {note} ", style=style, markup=False)


def show_cohort(console: Console, cohort: Cohort, check: Confounding) -> None:
    """Print what is trained on, the rows left out and why, and what the table of sources and labels allows."""
    info, table, excluded = cohort.info, cohort.table, cohort.excluded
    sizes = table["split"].value_counts()
    splits = ", ".join(f"{sizes[split]} {split}" for split in map(str, Split) if split in sizes)
    console.print(f"{info.name}: {len(table)} images of {table['patient'].nunique()} patients ({splits})")
    if len(excluded):
        counts = excluded["reason"].value_counts()
        console.print(f"{len(excluded)} row{'s' if len(excluded) > 1 else ''} left out:", style="yellow")
        for reason, count in counts.head(8).items():
            lines = ", ".join(str(int(row) + 2) for row in excluded.loc[excluded["reason"] == reason, "row"].head(5))
            where = f"line {lines}{', …' if count > 5 else ''} of metadata.csv"
            console.print(f"  {count} because {reason} ({where})", markup=False, highlight=False)
    console.print(f"Training images by {info.bias_name} and label:")
    labels = (Column(escape(str(name)), justify="right") for name in check.table.columns)
    grid = Table(info.bias_name, *labels, box=None, header_style="bold")
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
        headings = [*(run.method for run in runs), *["difference"] * bool(gaps)]
        table = Table("", *(Column(heading, justify="right") for heading in headings), header_style="bold")
        for name, heading in HEADLINE:
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
    return split != Split.EXTERNAL or name not in ("aligned_accuracy", "conflicting_accuracy", "conflicting_gap")


def _number(value: float, form: str, undefined: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else undefined
