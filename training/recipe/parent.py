"""The finished run that a recipe starts from: its settings, its results, and its films found again in the cohort."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from datasets.cohort.films import Cohort
from datasets.cohort.parquet_table import read_parquet
from datasets.sample import Split
from training.run.checkpoint_header import checkpoint_file
from training.run.config import TrainConfig, from_settings
from training.run.existing import read_result
from training.run.report import RunResult


class RecipeError(ValueError):
    """A run that a recipe can't start from, or options that don't fit it; the message says which and why."""


class Parent(NamedTuple):
    """A run folder as read.

    Attributes:
        config: of its training; `output` is the folder that it lies in.
        selection: which epoch was kept and why, as its report has it.
        uses_bias: whether its training read bias labels.
    """

    folder: Path
    config: TrainConfig
    result: RunResult
    selection: dict[str, Any]
    uses_bias: bool


def read_parent(run: Path, given: dict[str, Any]) -> Parent:
    """Read a run folder; raises ValueError where its checkpoint, settings or report are missing.

    Args:
        given: settings of `TrainConfig` that take the place of the run's own, unless None.
    """
    folder = checkpoint_file(run).parent.resolve()
    file = folder / "report.json"
    if not file.is_file():
        raise RecipeError(f"{folder} holds no report.json: give the folder of a finished run")
    config = dataclasses.replace(from_settings(folder / "config.yaml"), output=folder.parent)
    config = dataclasses.replace(with_given(config, given), config=None, resume=None, paired=False)
    report = json.loads(file.read_text(encoding="utf-8"))
    return Parent(folder, config, read_result(file), report["selection"], report["training_used_bias_labels"])


def with_given(config: TrainConfig, given: dict[str, Any]) -> TrainConfig:
    """The settings with those of `given` that aren't None in place."""
    return dataclasses.replace(config, **{name: value for name, value in given.items() if value is not None})


def own_calls(parent: Parent, cohort: Cohort, split: Split) -> pd.DataFrame:
    """Columns `target` and `prediction` (class names) of the run's films of a split, in the order of the cohort.

    Raises:
        RecipeError: no predictions, none of this split, or of other films than the cohort has there.
    """
    file = parent.folder / "predictions.parquet"
    if not file.is_file():
        raise RecipeError(f"{parent.folder} holds no predictions.parquet, which says what it called its films")
    table = read_parquet(file, columns=["row", "split", "target", "prediction"])
    calls = table[table["split"] == str(split)].set_index("row")
    if not len(calls):
        raise RecipeError(f"{file} has no rows of split {split}")
    films = cohort.table.iloc[cohort.positions(split)]
    target = np.array(cohort.info.targets, dtype=object)[films["target"].to_numpy()]
    ordered = calls.reindex(films["row"])
    if len(calls) != len(films) or not (ordered["target"].to_numpy() == target).all():
        raise RecipeError(f"the films of split {split} are not those that {parent.folder.name} was trained on")
    return ordered[["target", "prediction"]].reset_index(drop=True)
