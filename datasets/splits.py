"""Splits by patient: no patient is in two parts, and each part has its share of every (label, source) cell."""

import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from datasets.sample import Split


def split_by_patient(
    label: pd.Series,
    source: pd.Series,
    patient: pd.Series,
    seed: int,
    validation: float = 0.15,
    test: float = 0.2,
    external_sources: tuple[str, ...] = (),
) -> pd.Series:
    """Assign each film to a split.

    Sources named external form the external split whole. The rest is cut by scikit-learn's StratifiedGroupKFold, grouped by
    patient and stratified by (label, source), into 20 folds of which test and validation take their share; below 100
    patients into fewer, for folds of one or two patients can't be stratified.

    Args:
        label: class of each film.
        source: source of each film.
        patient: patient of each film.
        seed: of the shuffle before cutting.
        validation: share of validation, rounded to folds.
        test: share of test, rounded to folds.
        external_sources: sources kept for the external split.

    Returns:
        Series of `Split` values on the index of `label`; empty text for the films of a patient who also has films in an
        external source: they can be neither inside nor outside.
    """
    outside = source.isin(external_sources)
    split = np.where(outside, str(Split.EXTERNAL), "").astype(object)
    inside = np.flatnonzero(~outside & ~patient.isin(patient[outside]))
    if not len(inside):
        return pd.Series(split, index=label.index)
    groups = patient.iloc[inside].to_numpy()
    patients = len(set(groups))
    folds = min(patients, max(5, min(20, patients // 5)))
    part = np.full(len(inside), str(Split.TRAIN), dtype=object)
    if folds >= 3:
        cells = (label.iloc[inside].astype(str) + "\x1f" + source.iloc[inside].astype(str)).to_numpy()
        # scikit-learn refuses cells smaller than the folds when all are; small cells are one stratum then.
        if max(np.unique(cells, return_counts=True)[1]) < folds:
            cells = np.full(len(inside), "any")
        cutter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")
            fold = np.empty(len(inside), dtype=int)
            for number, (_, members) in enumerate(cutter.split(cells, cells, groups)):
                fold[members] = number
        first, second = max(1, round(test * folds)), max(1, round(validation * folds))
        part[fold < first] = str(Split.TEST)
        part[(fold >= first) & (fold < first + second)] = str(Split.VALIDATION)
    split[inside] = part
    return pd.Series(split, index=label.index)


def patients_in_two_splits(patient: pd.Series, split: pd.Series) -> list[str]:
    """Patients whose films are in more than one split."""
    counts = split.groupby(patient).nunique()
    return sorted(counts.index[counts > 1].astype(str))
