"""What a training run leaves beside its weights: metrics by split, report.json, and the tables on the terminal."""

import json
import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from datasets.cohort import Cohort
from datasets.confounding import Confounding
from datasets.sample import DatasetInfo, Split
from training.checkpoint import write_aside
from training.checkpoint_header import RESUME_PATTERN
from training.interruption import EXIT_SAVED, InterruptedTrainingError

SCHEMA_VERSION = 1
RESEARCH_ONLY = "For research. Not a medical device; scores are model scores, not diagnoses."
SYNTHETIC = " SYNTHETIC images: these numbers say nothing about any patient or hospital. "
ERRORS = Console(stderr=True)
# Name in JSON, and heading on the terminal.
HEADLINE = (
    ("accuracy", "accuracy"),
    ("auroc", "AUROC"),
    ("aligned_accuracy", "aligned acc."),
    ("conflicting_accuracy", "conflicting acc."),
    ("worst_group_accuracy", "worst group acc."),
    ("leak", "leak"),
    ("leak_chance", "leak chance"),
    ("n", "films"),
    ("patients", "patients"),
)


@contextmanager
def mistakes_as_sentences(interrupted: str) -> Iterator[None]:
    """End the program with the sentence of a user's mistake in place of a traceback: exit 2.

    A training that was told to stop and is saved exits with 75 (`EXIT_SAVED`), anything else that is interrupted with 130.

    Args:
        interrupted: what is said after Ctrl-C.
    """
    try:
        yield
    except (ValueError, OSError) as error:  # ours are all ValueErrors; timm's and the system's are sentences too
        ERRORS.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(2) from None
    except InterruptedTrainingError as stopped:
        ERRORS.print(str(stopped), markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(EXIT_SAVED) from None
    except KeyboardInterrupt:
        ERRORS.print(interrupted, markup=False, soft_wrap=True)
        raise SystemExit(130) from None


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Attributes:
        folder: the run folder.
        method: name of the method.
        model: name of the backbone.
        seed: of the training.
        synthetic: whether no film was of a person.
        metrics: by split, then by name; undefined is NaN.
        details: selection, calibration, confounding, rows left out: what report.json adds.
    """

    folder: Path
    method: str
    model: str
    seed: int
    synthetic: bool
    metrics: dict[str, dict[str, float]]
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values; undefined metrics are None."""
        return {
            "folder": str(self.folder),
            "method": self.method,
            "model": self.model,
            "seed": self.seed,
            "synthetic": self.synthetic,
            "metrics": {split: json_numbers(values) for split, values in self.metrics.items()},
        }


def json_numbers(values: dict[str, float]) -> dict[str, float | None]:
    """NaN and infinity have no place in JSON: they become null."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def difference(run: RunResult, reference: RunResult) -> dict[str, dict[str, float]]:
    """`run` minus `reference` for each split and metric (not the counts)."""
    return {
        split: {
            name: values[name] - reference.metrics[split][name]
            for name, _ in HEADLINE
            if name in values and name not in ("n", "patients", "leak_chance")
        }
        for split, values in run.metrics.items()
    }


def result_json(runs: list[RunResult]) -> dict[str, Any]:
    """The object behind `--result`; two runs are compared, the second against the first."""
    return {
        "runs": [run.as_json() for run in runs],
        "difference": {
            split: json_numbers(values) for split, values in difference(runs[1], runs[0]).items()
        } if len(runs) == 2 else {},
    }  # fmt: skip


def write_report(runs: list[RunResult], folder: Path) -> None:
    """Write report.json of the last of the runs; an earlier one is what it is compared with.

    It is the last file of a run, so whatever the run would have been resumed from goes.
    """
    report = {"schema_version": SCHEMA_VERSION, "notice": RESEARCH_ONLY, **result_json(runs), **runs[-1].details}
    text = json.dumps(report, indent=2, allow_nan=False)
    write_aside(folder / "report.json", lambda file: file.write_text(text + "\n", encoding="utf-8"))
    for state in folder.glob(RESUME_PATTERN):
        state.unlink()


def versions() -> dict[str, str]:
    """Versions of Python and of what the numbers depend on."""
    packages = ("end-cxr", "torch", "torchvision", "timm", "monai", "scikit-learn", "pydicom")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def machine() -> str:
    """What numbers were measured on, in words."""
    where = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    if torch.cuda.is_available():
        where += f", {torch.cuda.get_device_name()}"
    return f"{where}, torch {torch.__version__}, Python {platform.python_version()}"


def show_notices(console: Console, cohort: Cohort) -> None:
    """Print what must be said before anything else: research use, synthetic films, what the data lacks."""
    console.print(f"[dim]{RESEARCH_ONLY}[/dim]")
    for note in cohort.notes:
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
    grid = Table(box=None, header_style="bold")
    grid.add_column(info.bias_name)
    for name in check.table.columns:
        grid.add_column(escape(str(name)), justify="right")
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
        table = Table("", *(run.method for run in runs), header_style="bold")
        gaps = difference(runs[1], runs[0])[split] if len(runs) == 2 else {}
        if gaps:
            table.add_column("difference")
        for column in table.columns[1:]:
            column.justify = "right"
        for name, heading in HEADLINE:
            if name in ("n", "patients") or not _applies(name, split, info):
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
    return split != Split.EXTERNAL or name not in ("aligned_accuracy", "conflicting_accuracy")


def _number(value: float, form: str, undefined: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else undefined
