"""From films to studies and patients: one score for each, and its AUROC."""

from typing import Literal

import numpy as np
import pandas as pd

from training.bias.numbers.auroc import auroc_interval

How = Literal["max", "mean"]
UNITS = ("study", "patient")


def aggregate(
    predictions: pd.DataFrame, unit: str, how: How, positive: str, negative: str, thresholds: dict[str, float]
) -> pd.DataFrame:
    """One row for each run and study, or patient.

    Args:
        predictions: columns run, study, patient, target and score.
        unit: `study` or `patient`. Films that name no study count as a study each.
        how: `max` or `mean` of the calibrated scores of its films.
        negative: what a unit below the threshold is called.
        thresholds: of each run; fitted to single films, so that a maximum over films calls more units positive.

    Returns:
        Columns run, the unit (a keyed hash), patient, films, score, prediction, target. The target is the positive class
        where any film of the unit has it, the films' common one where not, and None where no film has a label.
    """
    table = predictions
    if unit == "study":
        table = table.assign(study=table["study"].fillna(table["file"]))
    keys = ["run", unit]
    groups = table.groupby(keys, sort=False)
    patient = {"patient": ("patient", "first")} if unit == "study" else {}
    result = groups.agg(**patient, films=("score", "size"), score=("score", how)).reset_index()
    limit = result["run"].map(thresholds).astype(float)
    result["prediction"] = np.where(result["score"] >= limit, positive, negative)
    known = table[table["target"].notna()]
    is_positive = (known["target"] == positive).groupby([known[name] for name in keys], sort=False).any()
    label = is_positive.reindex(pd.MultiIndex.from_frame(result[keys]))
    named = [None if pd.isna(value) else positive if value else negative for value in label]
    result["target"] = np.array(named, dtype=object)
    return result


def summary(units: pd.DataFrame, positive: str, resamples: int, seed: int) -> pd.DataFrame:
    """AUROC of each run over units with a target, with its patient interval; NaN below ten patients of either class.

    Returns:
        Columns run, units, patients, positives, estimate, low, high.
    """
    rows = []
    for run, table in units.groupby("run", sort=False):
        known = table[table["target"].notna()]
        patient = known["patient"].to_numpy()
        is_positive = (known["target"] == positive).to_numpy()
        auroc = auroc_interval(is_positive, known["score"].to_numpy(), patient, resamples, seed)
        counts = {"patients": int(table["patient"].nunique()), "positives": int(is_positive.sum())}
        rows.append({"run": run, "units": len(table)} | counts | auroc._asdict())
    return pd.DataFrame(rows)
