"""Run folders as results: a run that the output folder already holds, with these very settings, is not trained again."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import yaml

from training.config import TrainConfig, as_settings
from training.ranks import is_first, told_by_first
from training.report import RunResult
from training.resume import state_files

WITHOUT_EFFECT = ("tracker", "keep", "save_minutes", "workers")


def find_run(config: TrainConfig, parameters: Any) -> tuple[Path | None, Path | None]:
    """A finished run of these settings, else one that was interrupted; in the output folder, the same for all processes."""
    finished = begun = ""
    for folder in folders_of(config, parameters) if is_first() else ():
        if (folder / "report.json").is_file():
            finished = folder.name
            break
        if state_files(folder):
            begun = folder.name
            break
    finished, _, begun = told_by_first(f"{finished}/{begun}").partition("/")
    return config.output / finished if finished else None, config.output / begun if begun else None


def folders_of(config: TrainConfig, parameters: Any) -> list[Path]:
    """Run folders below the output folder whose config.yaml holds these settings, oldest name first.

    Settings that change nothing of its result (`WITHOUT_EFFECT`) may differ.
    """
    wanted = as_settings(dataclasses.replace(config, paired=False, resume=None), parameters)
    ours = {name: wanted[name] for name in WITHOUT_EFFECT}
    folders = sorted(config.output.glob(f"*-{config.method}-*-s{config.seed}*"))
    files = [folder / "config.yaml" for folder in folders]
    found = {f.parent: yaml.safe_load(f.read_text(encoding="utf-8")) for f in files if f.is_file()}
    return [folder for folder, settings in found.items() if settings | ours == wanted]


def read_result(report: Path) -> RunResult:
    """The run that a report.json is of; undefined metrics are NaN again."""
    run = json.loads(report.read_text(encoding="utf-8"))["runs"][-1]
    metrics = {
        split: {name: math.nan if value is None else value for name, value in values.items()}
        for split, values in run["metrics"].items()
    }
    return RunResult(report.parent, run["method"], run["model"], run["seed"], run["synthetic"], metrics)
