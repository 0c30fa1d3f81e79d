"""What a run predicted for its own films at the end of its training, and which of other films it was trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from datasets.cohort.parquet_table import TableError, read_parquet

NAME = "predictions.parquet"
COLUMNS = ("row", "file", "patient", "source", "split", "target", "score", "prediction")
TEXTS = ("file", "patient", "source", "split", "target", "prediction")
KEY = "hash_key"  # in the attributes of the table: `key_id` of the key of its hashes
AGREE = 1e-6  # metrics are computed again from the same numbers


def read_own_predictions(
    run: Path, targets: Sequence[str], positive: str | None, metrics: Mapping[str, Any]
) -> tuple[pd.DataFrame | None, str]:
    """The predictions that a run folder keeps, or None and why they can't be used.

    Args:
        targets, positive: names of the classes of the run's checkpoint.
        metrics: of the run's checkpoint: films, accuracy and AUROC of each split tell its predictions from another run's.
    """
    from training.bias.numbers.groups import accuracy, auroc  # scikit-learn, for which no page should wait

    if not (run / NAME).is_file():
        return None, f"{run.name} holds no {NAME}"
    try:
        table = read_parquet(run / NAME)
    except TableError:
        return None, f"{NAME} of {run.name} is damaged"
    if any(not _is_plain(table[name]) for name in TEXTS if name in table):
        return None, f"{NAME} of {run.name} is damaged: what must be words is none"
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        return None, f"{NAME} of {run.name} lacks the column {missing[0]}"
    if not set(table["target"]) | set(table["prediction"]) <= set(targets):
        return None, f"{NAME} of {run.name} is of another run: its classes are not {', '.join(targets)}"
    if positive is not None and not table["score"].between(0, 1).all():
        return None, f"{NAME} of {run.name} is damaged: some of its scores are no probabilities"
    for split, values in metrics.items():
        films = table[table["split"] == split]
        found: dict[str, float] = {"n": len(films)}
        if len(films) and positive is not None:
            found |= {"accuracy": accuracy(films), "auroc": auroc(films, positive)}
        for name, value in found.items():
            right = values.get(name)
            if right is not None and abs(value - right) > AGREE:
                says = f"{name} of its {split} films is {value:g}, in the checkpoint {right:g}"
                return None, f"{NAME} of {run.name} is of another run, or not whole: {says}"
    return table, ""


def _is_plain(column: pd.Series) -> bool:
    """Whether each value is a text or missing: a list in its place can't be compared."""
    return column.dtype == "str" or all(isinstance(value, str | float | None) or value is pd.NA for value in column)
