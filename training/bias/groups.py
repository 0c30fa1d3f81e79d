"""Metrics of a predictions table, over all and by group; an undefined metric is NaN, never 0.

The table has the columns of predictions.parquet. Fewer than `MINIMUM_PATIENTS` patients (in either class, for metrics that
need both) is too few to conclude from, and NaN.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

MINIMUM_PATIENTS = 10


def accuracy(table: pd.DataFrame) -> float:
    """Share of films whose prediction is their target."""
    return (
        float((table["prediction"] == table["target"]).mean()) if patients(table) >= MINIMUM_PATIENTS else float("nan")
    )


def auroc(table: pd.DataFrame, positive: str) -> float:
    """Area under the ROC curve of `score` for class `positive` against the rest."""
    is_positive = (table["target"] == positive).to_numpy()
    few = min(patients(table[is_positive]), patients(table[~is_positive])) < MINIMUM_PATIENTS
    return float("nan") if few else float(roc_auc_score(is_positive, table["score"]))


def worst_group_accuracy(table: pd.DataFrame) -> float:
    """Accuracy of the target x source cell where it is lowest, among cells of enough patients."""
    cells = [accuracy(cell) for _, cell in table.groupby(["target", "source"])]
    known = [value for value in cells if not np.isnan(value)]
    return min(known) if known else float("nan")


def patients(table: pd.DataFrame) -> int:
    """Number of different patients."""
    return int(table["patient"].nunique())


def majority_targets(target: pd.Series, source: pd.Series) -> dict[str, str]:
    """Each source's most frequent target among training films; sources whose top targets tie are left out."""
    majority = {}
    for name, counts in target.groupby(source).value_counts().groupby(level=0):
        top = counts.droplevel(0)
        if (top == top.max()).sum() == 1:
            majority[str(name)] = str(top.idxmax())
    return majority


def alignment(target: pd.Series, source: pd.Series, majority: dict[str, str]) -> pd.Series:
    """`aligned` where a film's target is its source's majority in training, `conflicting` where not, else empty."""
    usual = source.map(majority)
    side = pd.Series(np.where(usual == target, "aligned", "conflicting"), index=target.index, dtype=object)
    return side.where(usual.notna(), "")


def split_metrics(table: pd.DataFrame, positive: str | None, majority: dict[str, str]) -> dict[str, float]:
    """The headline metrics of one split.

    Args:
        table: its films' predictions.
        positive: name of the positive class, or None where there is none (no AUROC then).
        majority: of the training films, from `majority_targets`.
    """
    side = alignment(table["target"], table["source"], majority)
    return {
        "accuracy": accuracy(table),
        "auroc": auroc(table, positive) if positive is not None else float("nan"),
        "aligned_accuracy": accuracy(table[side == "aligned"]),
        "conflicting_accuracy": accuracy(table[side == "conflicting"]),
        "worst_group_accuracy": worst_group_accuracy(table),
        "n": len(table),
        "patients": patients(table),
    }
