"""What a training run leaves beside its weights: metrics by split, report.json, and the tables on the terminal."""

import json
import math
import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from datasets.files import write_text
from training.console.messages import RESEARCH_ONLY
from training.run.checkpoint_header import RESUME_PATTERN

SCHEMA_VERSION = 1
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
    write_text(folder / "report.json", text + "\n")
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
