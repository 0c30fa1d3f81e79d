"""What a sweep keeps of a run: the objectives on validation, at the epoch that was kept, and its metrics on test."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datasets.cohort.films import Cohort
from datasets.sample import Split
from training.bias.questions.leakage import source_leak
from training.parallel.device import choose_device
from training.run.checkpoint import load_checkpoint
from training.run.config import TrainConfig
from training.run.report import RunResult
from training.scoring.predict import infer

ON_TEST = ("accuracy", "auroc", "conflicting_accuracy", "worst_group_accuracy", "leak")


def measures(
    run: RunResult, objectives: Sequence[str], cohort: Callable[[], Cohort], config: TrainConfig
) -> dict[str, Any]:
    """Measure a finished run, at the kept epoch; raises ValueError where an objective is undefined.

    Args:
        cohort: loads the films; called only for the leak, which training does not measure on validation.
    """
    report = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))
    epoch = report["selection"]["epoch"]
    lines = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    kept = next(record["validation"] for record in map(json.loads, reversed(lines)) if record["epoch"] == epoch)
    if "leak" in objectives:
        kept["leak"] = validation_leak(run.folder, cohort(), config)
    for name in objectives:
        if kept[name] is None:
            raise ValueError(f"--objective {name}: undefined on validation, which has too few patients for it")
    test = report["runs"][-1]["metrics"]["test"]
    return {
        "seed": run.seed,
        "run": run.folder.name,
        "epoch": epoch,
        "synthetic": run.synthetic,
        "validation": {name: kept[name] for name in objectives},
        "test": {name: test[name] for name in ON_TEST},
    }


def validation_leak(folder: Path, cohort: Cohort, config: TrainConfig) -> float | None:
    """Leak of the bias from the run's features of the validation films; None where no class can be probed."""
    at, device = cohort.positions(Split.VALIDATION), choose_device(config.device)
    model = load_checkpoint(folder).build().to(device)
    features = infer(model, cohort.samples(), at, device, channels_last=config.channels_last).features
    films = cohort.table.iloc[at]
    source, target, patient = (films[name].to_numpy() for name in ("source", "target_name", "patient"))
    leak = source_leak(features, source, target, patient).leak
    return leak if leak == leak else None
