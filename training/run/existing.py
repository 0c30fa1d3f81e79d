"""Run folders as results: a run that the output folder already holds, with these very settings, is not trained again."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import yaml

from datasets.cohort.parquet_table import TableError, read_parquet
from training.parallel.ranks import broadcast, is_first
from training.run.checkpoint_header import state_files
from training.run.config import TrainConfig, as_settings
from training.run.recipe import Recipe
from training.run.report import RunResult

# What runs of versions without these settings did.
BEFORE = {
    "redraw": 1.0, "external_column": "source", "mix_amplitude": 0.0, "bias": "source", "map": None, "map_file": None,
}  # fmt: skip
FILMS = "films"  # in the attributes of predictions.parquet: the digest of a run's films
WITHOUT_EFFECT = ("tracker", "keep", "save_minutes", "workers")


def find_run(config: TrainConfig, recipe: Recipe | None = None, films: str = "") -> tuple[Path | None, Path | None]:
    """A finished run of these settings, and one that was interrupted; in the output folder, the same for all processes.

    Args:
        films: a finished run must be of the films with this digest, where it has one; empty for any.
    """
    finished = begun = ""
    for folder in folders_of(config, recipe) if is_first() else ():
        if (folder / "report.json").is_file():
            finished = finished or (folder.name if films in ("", _films_of(folder) or films) else "")
        elif state_files(folder):
            begun = begun or folder.name
    finished, begun = broadcast([finished, begun])
    return config.output / finished if finished else None, config.output / begun if begun else None


def _films_of(folder: Path) -> str | None:
    """The digest of the films of a finished run; None for a run of an earlier version, or whose table is gone."""
    try:
        return read_parquet(folder / "predictions.parquet", ["row"]).attrs.get(FILMS)
    except TableError:
        return None


def run_settings(config: TrainConfig, recipe: Recipe | None = None) -> dict[str, Any]:
    """What config.yaml of a run says, which is resumed by itself and without flags."""
    settings = as_settings(dataclasses.replace(config, paired=False, resume=None))
    return settings | (recipe.settings() if recipe else {})


def folders_of(config: TrainConfig, recipe: Recipe | None = None) -> list[Path]:
    """Run folders below the output folder whose config.yaml holds these settings, oldest name first.

    Settings that change nothing of its result (`WITHOUT_EFFECT`) may differ.
    """
    settings = run_settings(config, recipe)
    ignored = {name: settings[name] for name in WITHOUT_EFFECT}
    if config.on_bad_image == "skip":  # up to such a film both settings train alike
        ignored["on_bad_image"] = "skip"
    pattern = f"{recipe.parent}-{recipe.name}*" if recipe else f"*-{config.method}-*-s{config.seed}*"
    folders = sorted(config.output.glob(pattern))
    return [folder for folder in folders if _settings_of(folder) | ignored == settings]


def _settings_of(folder: Path) -> dict[str, Any]:
    """What its config.yaml says; nothing where it has none that can be read."""
    try:
        settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return BEFORE | settings if isinstance(settings, dict) else {}


def read_result(report: Path) -> RunResult:
    """The run that a report.json is of; undefined metrics are NaN again."""
    run = json.loads(report.read_text(encoding="utf-8"))["runs"][-1]
    metrics = {
        split: {name: math.nan if value is None else value for name, value in values.items()}
        for split, values in run["metrics"].items()
    }
    return RunResult(report.parent, run["method"], run["model"], run["seed"], run["synthetic"], metrics)
