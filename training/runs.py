"""Run folders as results: a run that the output folder already holds, with these very settings, is not trained again."""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from datasets.cohort import Cohort
from datasets.identity import hash_key
from training.checkpoint import RESUME_NAME
from training.config import TrainConfig, as_settings
from training.report import RunResult, write_report
from training.trackers import Listener
from training.train import train


def obtain(
    config: TrainConfig, parameters: Any, cohort: Callable[[], Cohort], listeners: Sequence[Listener] = ()
) -> RunResult:
    """The finished run of these settings: found in the output folder, gone on with where it was interrupted, or trained.

    Args:
        config: of one run (not of a pair).
        parameters: of its method.
        cohort: loads the films; called only when something is to be trained.
        listeners: see `train`.
    """
    for folder in folders_of(config, parameters):
        report = folder / "report.json"
        if report.is_file():
            return read_result(report)
        if (folder / RESUME_NAME).is_file():
            config = dataclasses.replace(config, resume=folder)
            break
    config.output.mkdir(parents=True, exist_ok=True)
    hash_key(config.output, config.hash_key)  # a key that can't be read shows before training, not after
    run = train(config, parameters, cohort(), listeners)
    write_report([run], run.folder)
    return run


def folders_of(config: TrainConfig, parameters: Any) -> list[Path]:
    """Run folders below the output folder whose config.yaml holds these settings, oldest name first.

    A tracker is told of a run and changes nothing of it: any will do.
    """
    wanted = as_settings(dataclasses.replace(config, paired=False, resume=None), parameters)
    folders = sorted(config.output.glob(f"*-{config.method}-*-s{config.seed}*"))
    files = [folder / "config.yaml" for folder in folders]
    found = {f.parent: yaml.safe_load(f.read_text(encoding="utf-8")) for f in files if f.is_file()}
    return [folder for folder, settings in found.items() if settings | {"tracker": config.tracker} == wanted]


def read_result(report: Path) -> RunResult:
    """The run that a report.json is of; undefined metrics are NaN again."""
    run = json.loads(report.read_text(encoding="utf-8"))["runs"][-1]
    metrics = {
        split: {name: math.nan if value is None else value for name, value in values.items()}
        for split, values in run["metrics"].items()
    }
    return RunResult(report.parent, run["method"], run["model"], run["seed"], run["synthetic"], metrics)
