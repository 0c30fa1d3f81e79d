"""The result of a training: metrics by split, and report.json."""

import json
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from datasets.files import write_text
from training.bias.report.plain import plain
from training.console.messages import RESEARCH_ONLY
from training.run.checkpoint_header import state_files

SCHEMA_VERSION = 1
# Name in JSON, and heading on the terminal.
HEADLINE = (
    ("accuracy", "accuracy"),
    ("auroc", "AUROC"),
    ("aligned_accuracy", "aligned acc."),
    ("conflicting_accuracy", "conflicting acc."),
    ("conflicting_gap", "conflicting gap"),
    ("worst_group_accuracy", "worst group acc."),
    ("leak", "leak"),
    ("leak_chance", "leak chance"),
    ("n", "films"),
    ("patients", "patients"),
)

# Those that have a value for each further attribute that training must not use, named as `by_attribute` says.
BY_ATTRIBUTE = (
    *("aligned_accuracy", "conflicting_accuracy", "conflicting_gap", "worst_group_accuracy"),
    *("leak", "leak_chance", "leak_normalised"),
)


def by_attribute(metric: str, attribute: str) -> str:
    """`leak_by_view`: a metric by another attribute than the source."""
    return f"{metric}_by_{attribute}"


def headings(metrics: Iterable[str]) -> list[tuple[str, str]]:
    """Names and headings of a run's metrics in the order of a table, those by further attributes last."""
    first = by_attribute("conflicting_gap", "")
    further = [name.removeprefix(first) for name in metrics if name.startswith(first)]
    of = [(by_attribute(m, a), f"{heading}, {a}") for a in further for m, heading in HEADLINE if m in BY_ATTRIBUTE]
    return [*HEADLINE, *of]


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Attributes:
        synthetic: whether no film was of a person.
        metrics: by split, then by name; NaN where undefined.
        details: selection, calibration, confounding, rows left out: further entries of report.json.
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
        run = {"folder": str(self.folder), "method": self.method, "model": self.model, "seed": self.seed}
        return run | {"synthetic": self.synthetic, "metrics": plain(self.metrics)}


def difference(run: RunResult, reference: RunResult) -> dict[str, dict[str, float]]:
    """`run` minus `reference` for each split and metric (not the counts)."""
    return {
        split: {
            name: values[name] - reference.metrics[split][name]
            for name, _ in headings(values)
            if name in values
            and name in reference.metrics[split]
            and name not in ("n", "patients")
            and not name.startswith("leak_chance")
        }
        for split, values in run.metrics.items()
    }


def result_json(runs: list[RunResult]) -> dict[str, Any]:
    """The object behind `--result`; two runs are compared, the second against the first."""
    gaps = plain(difference(runs[1], runs[0])) if len(runs) == 2 else {}
    return {"runs": [run.as_json() for run in runs], "difference": gaps}


def write_result(runs: list[RunResult], on_terminal: bool = False) -> None:
    """Write `--result` and one JSON object to standard output, the last lines of a training, for programs.

    Args:
        on_terminal: also where standard output is a terminal, on which a person reads.
    """
    if sys.stdout.isatty() and not on_terminal:
        return
    sys.stdout.write(f"--result\n{json.dumps(result_json(runs), allow_nan=False)}\n")


def write_report(runs: list[RunResult], folder: Path) -> None:
    """Write report.json of the last run, compared with the one before it, if any.

    It is the last file of a run: the states to resume from are deleted.
    """
    report = {"schema_version": SCHEMA_VERSION, "notice": RESEARCH_ONLY, **result_json(runs), **runs[-1].details}
    write_text(folder / "report.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
    for state in state_files(folder):
        state.unlink()


def versions() -> dict[str, str]:
    """Versions of Python and of what the numbers depend on."""
    packages = ("end-cxr", "torch", "torchvision", "timm", "monai", "scikit-learn", "pydicom")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def machine() -> str:
    """The machine that numbers were measured on, in words."""
    where = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    if torch.cuda.is_available():
        where += f", {torch.cuda.get_device_name()}"
    return f"{where}, torch {torch.__version__}, Python {platform.python_version()}"
