"""What an audit needs of the evidence it is given, for who calls it from Python: columns, class names, features that fit."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from datasets.listed import listed
from training.bias.evidence import Evidence
from training.bias.numbers.metrics import PredictionsError, require_columns

NEEDED = ("file", "patient", "source", "target", "prediction")  # columns of the predictions, beside the score


def require_sound(evidence: Evidence) -> None:
    """Raises PredictionsError where predictions and features don't fit together, or targets are no class names."""
    name, positive, table, features = evidence.name, evidence.positive, evidence.predictions, evidence.features
    require_columns(table, (*NEEDED, *(["score"] if positive is not None else [])))
    if nameless := int(table["patient"].isna().sum()):
        raise PredictionsError(f"{name}: {nameless} predictions have no patient")
    if positive is not None and not pd.api.types.is_numeric_dtype(table["score"]):
        raise PredictionsError(f"{name}: scores must be numbers, not {table['score'].dtype}")
    if not isinstance(features, np.ndarray):
        raise PredictionsError(f"{name}: features are {type(features).__name__}: give a numpy array")
    if features.ndim != 2 or len(features) != len(table):
        raise PredictionsError(
            f"{name}: features of shape {features.shape} for {len(table)} predictions: a row of numbers a film is needed"
        )
    if not np.isfinite(features).all():
        raise PredictionsError(f"{name}: features must be numbers, without NaN and infinity")
    for column in ("target", "prediction"):
        strange = [value for value in table[column].dropna() if not isinstance(value, str)]
        if strange:
            raise PredictionsError(
                f"{name}: the column {column} holds {strange[0]!r}: write the names of the classes as text, such as "
                f"{positive or 'covid'}, and None where a film has no label"
            )
    if positive is not None:
        _require_class(name, positive, set(table["target"].dropna()), set(table["prediction"].dropna()))


def require_references(reference: Mapping[str, str], tables: Sequence[pd.DataFrame]) -> None:
    """Raises PredictionsError where no film of any table is in the group that others are to be compared with."""
    for column, group in reference.items():
        found = [table[column].dropna().astype(str).unique() for table in tables if column in table]
        if not found:
            raise PredictionsError(f"reference {column}={group}: the films have no column {column}")
        groups = sorted({str(value) for values in found for value in values})
        if group not in groups:
            known = listed(groups, 10) or "none"
            raise PredictionsError(f"reference {column}={group}: no film has this {column}; they have {known}")


def _require_class(name: str, positive: str, targets: set[str], predicted: set[str]) -> None:
    """Refuse a positive class in another spelling, or targets in other words than predictions; one without films is none."""
    classes = targets | predicted
    meant = next((one for one in classes if one.casefold() == positive.casefold()), positive)
    if positive not in classes and meant != positive:
        raise PredictionsError(f"{name}: no film has or is called {positive!r}: did you mean {meant!r}?")
    if len(targets) > 1 and not targets & {positive, *predicted}:
        raise PredictionsError(
            f"{name}: targets are {', '.join(sorted(targets))}, none of which is predicted or the positive class {positive}: "
            "write both columns in the same class names"
        )
