"""What an audit needs of the evidence it is given, for who calls it from Python: columns, class names, features that fit."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from datasets.listed import listed
from training.bias.evidence import SPLITS, Evidence
from training.bias.numbers.metrics import PredictionsError, require_columns

NEEDED = ("file", "patient", "source", "target", "prediction")  # columns of the predictions, beside the score


def require_sound(evidence: Evidence) -> None:
    """Raises PredictionsError where predictions and features don't fit together, or targets are no class names."""
    name, positive, table, features = evidence.name, evidence.positive, evidence.predictions, evidence.features
    require_columns(table, (*NEEDED, *(["score"] if positive is not None else [])))
    _require_splits(evidence)
    if nameless := int(table["patient"].isna().sum()):
        raise PredictionsError(f"{name}: {nameless} predictions have no patient")
    if len({isinstance(value, str) for value in table["patient"]}) > 1:
        raise PredictionsError(f"{name}: the column patient holds text and numbers: write all as text")
    if twice := int(table["file"].duplicated().sum()):
        raise PredictionsError(f"{name}: {twice} predictions are of a file that has one already: a film counts once")
    _require_lengths(evidence)
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
        strange = [
            value
            for value in table[column].dropna()
            if not isinstance(value, str) or value.strip() != value or not value
        ]
        if strange:
            raise PredictionsError(
                f"{name}: the column {column} holds {strange[0]!r}: write the names of the classes as text without blanks "
                f"around it, such as {positive or 'covid'}, and None where a film has no label"
            )
    _require_classes(evidence, set(table["target"].dropna()), set(table["prediction"].dropna()))
    if positive is not None:
        _require_calls_by_score(name, positive, table)


def _require_lengths(evidence: Evidence) -> None:
    """Refuse what else is known of the films where it is of more or fewer, and training films without their columns."""
    name, count = evidence.name, len(evidence.predictions)
    known = {f"perturbed[{key!r}]": len(values) for key, values in evidence.perturbed.items()}
    known |= {"distances": len(evidence.distances)} if evidence.distances is not None else {}
    for what, length in known.items():
        if length != count:
            raise PredictionsError(f"{name}: {what} has {length} values for {count} predictions")
    if evidence.training is not None and (lacking := {"source", "target"} - set(evidence.training)):
        raise PredictionsError(f"{name}: training has no column {min(lacking)}")


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


def _require_splits(evidence: Evidence) -> None:
    """Refuse training films that no note tells of, and other names of splits than ours.

    'External' would be taken for films of hospitals that the model knows.
    """
    name, splits = evidence.name, list(evidence.predictions.get("split", ()))
    strange = [value for value in splits if not isinstance(value, str) or value not in SPLITS]
    if strange:
        raise PredictionsError(
            f"{name}: the column split holds {strange[0]!r}: write {', '.join(SPLITS[:-1])} or {SPLITS[-1]} for each film, "
            "or leave the column out where no film is of a hospital that the model never saw"
        )
    if (fitted := splits.count("train")) and not evidence.warning:
        raise PredictionsError(
            f"{name}: {fitted} films are of split train: the model was fitted to them, and no number would hold for others. "
            "Leave them out"
        )


def _require_classes(evidence: Evidence, targets: set[str], predicted: set[str]) -> None:
    """Refuse a positive class that is none, or targets in other words than predictions.

    Where the model's classes are not among the facts of the run, a class may be missing on one side: no film may have it, or
    be called it.
    """
    name, positive, classes = evidence.name, evidence.positive, targets | predicted
    own = set(map(str, evidence.about.get("classes") or ()))
    if own and (strange := classes - own):
        raise PredictionsError(f"{name}: {min(strange)!r} is none of the model's classes {', '.join(sorted(own))}")
    if positive is not None and classes and positive not in classes | own:
        meant = next((one for one in classes if one.casefold() == positive.casefold()), None)
        hint = f"did you mean {meant!r}?" if meant else f"they are {', '.join(sorted(classes))}"
        raise PredictionsError(f"{name}: no film has or is called {positive!r}, the positive class: {hint}")
    known = own or ({positive} if positive is not None else set())
    if targets - predicted - known and predicted - targets - known:
        raise PredictionsError(
            f"{name}: targets are {', '.join(sorted(targets))}, predictions {', '.join(sorted(predicted))}: write both in "
            "the same class names, or give all of the model's in about={'classes': [...]}"
        )


def _require_calls_by_score(name: str, positive: str, table: pd.DataFrame) -> None:
    """Refuse calls that contradict the scores: at every source those that are called positive have the lower ones."""
    called = (table["prediction"] == positive).where(table["prediction"].notna())
    means = table.assign(called=called)[called.notna()].groupby(["source", "called"])["score"].mean().unstack()
    both = means.dropna() if len(means.columns) == 2 else means.iloc[:0]
    if len(both) and (both[True] < both[False]).all():
        raise PredictionsError(
            f"{name}: films that are called {positive} have lower scores than the others: scores must be those of "
            f"{positive}, and calls must follow them"
        )
