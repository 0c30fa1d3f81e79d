"""Splits by patient: no patient is in two parts, and each part has its share of every (label, source) cell."""

import math

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

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

    Sources named external form the external split whole. The rest is cut as by scikit-learn's StratifiedGroupKFold, grouped
    by patient and stratified by (label, source), into 20 folds of which test and validation take their share; below 100
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
        # Cells smaller than the folds, when all are, can't be stratified: they are one stratum then.
        if max(np.unique(cells, return_counts=True)[1]) < folds:
            cells = np.full(len(inside), "any")
        fold = stratified_folds(cells, groups, folds, seed)
        first, second = max(1, round(test * folds)), max(1, round(validation * folds))
        part[fold < first] = str(Split.TEST)
        part[(fold >= first) & (fold < first + second)] = str(Split.VALIDATION)
    split[inside] = part
    return pd.Series(split, index=label.index)


def stratified_folds(cells: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each film, from 0: a group is in one fold, and the folds have like shares of each cell.

    Groups are shuffled, those with the most unequal cells go first, and each goes where the folds' shares then differ least
    (their standard deviation, averaged over the cells). Equal to the bit to scikit-learn's StratifiedGroupKFold with
    `shuffle=True`, which recomputes every cell of every fold for every fold tried: a minute for 30,000 patients, where this
    takes two seconds.

    Args:
        cells: name of each film's stratum.
        groups: name of each film's group.
        folds: how many, no more than there are groups.
        seed: of the shuffle.
    """
    _, cell, sizes = np.unique(cells, return_inverse=True, return_counts=True)
    names, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(sizes)))
    np.add.at(counts, (group, cell), 1)
    shuffled = np.arange(len(names))
    check_random_state(seed).shuffle(shuffled)
    order = shuffled[np.argsort(-np.std(counts, axis=1)[shuffled], kind="stable")]
    held, spread = np.zeros((folds, len(sizes))), np.zeros(len(sizes))  # films of the folds, deviation of their shares
    home, films, each = np.zeros(len(names), dtype=int), np.zeros(folds), np.arange(folds)
    for number in order:
        mine = np.flatnonzero(counts[number])  # the deviation of other cells stays
        shares = held[:, mine] / sizes[mine]
        tried = np.repeat(shares[:, None], folds, axis=1)  # fold x fold that gets the group x cell
        tried[each, each] = (held[:, mine] + counts[number, mine]) / sizes[mine]
        spreads = np.repeat(spread[None], folds, axis=0)
        spreads[:, mine] = _deviation(tried) if len(sizes) > 1 else _deviation_of_one_cell(tried)
        best, least, fewest = 0, math.inf, math.inf
        for fold, (value, count) in enumerate(zip(spreads.mean(axis=1).tolist(), films.tolist(), strict=True)):
            if value < least or (abs(value - least) <= 1e-8 + 1e-5 * least and count < fewest):
                best, least, fewest = fold, value, count
        held[best] += counts[number]
        films[best] += counts[number].sum()
        home[number], spread = best, spreads[best]
    found: np.ndarray = home[group]
    return found


def _deviation(shares: np.ndarray) -> np.ndarray:
    """Standard deviation over the first axis, in the order of NumPy's sums over rows."""
    apart = shares - np.add.reduce(shares) / len(shares)
    deviation: np.ndarray = np.sqrt(np.add.reduce(apart * apart) / len(shares))
    return deviation


def _deviation_of_one_cell(shares: np.ndarray) -> np.ndarray:
    """The same in the order of NumPy's sum over a single column, which differs in the last bit, and bits decide ties."""
    return np.array([np.std(np.ascontiguousarray(shares[:, fold]), axis=0) for fold in range(shares.shape[1])])


def patients_in_two_splits(patient: pd.Series, split: pd.Series) -> list[str]:
    """Patients whose films are in more than one split."""
    counts = split.groupby(patient).nunique()
    return sorted(counts.index[counts > 1].astype(str))
