"""A linear probe of frozen features within a target class, in closed form, with folds and permutations by patient.

The probe is ridge linear discriminant analysis with equal priors. In a fold, the training films' total covariance plus the
ridge is made the identity once. A class mean is then a discriminant, but for a matrix of values x values (Woodbury's identity
takes the covariance between the values' means out of the total). So probes of a thousand permuted or reweighted values are a
few matrix products. `training.bias.questions.leakage` explains what the guesses mean.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from training.bias.numbers.metrics import MINIMUM_PATIENTS
from training.bias.numbers.uncertainty import one_thread

FOLDS = 5
# Of the standardised features: leading principal components that are kept, and the ridge in units of their mean variance.
COMPONENTS, RIDGE = 128, 3.0
# Numbers that one block of probes holds at a time.
BLOCK = 2**24


class ProbedClass(NamedTuple):
    """A target class with two values or more of enough patients: its films of those values, and their folds.

    Attributes:
        films: positions among all films.
        value: of the attribute, of each of `films`.
        patient: of each of `films`.
        fold: of each of `films`, from 0; a patient is in one fold, and every fold has patients of every value.
    """

    name: object
    films: np.ndarray
    value: np.ndarray
    patient: np.ndarray
    fold: np.ndarray


class Units(NamedTuple):
    """What keeps its value whole: a patient of one value, or a film of a patient with several.

    Attributes:
        of_film: index of each film's unit.
        code: index of each unit's value among the sorted values.
        group: of each unit: units exchange values within it. Patients of one value do so within their fold, the films of a
            patient with several values among themselves.
        fold: of each unit.
        patient: index of each unit's patient.
    """

    of_film: np.ndarray
    code: np.ndarray
    group: np.ndarray
    fold: np.ndarray
    patient: np.ndarray


class Probes(NamedTuple):
    """Many probes of one class at once, one for each row of values or weights that was asked for.

    Attributes:
        right: whether the first probe calls each film right, out of fold.
        recall: probes x values, out of fold; NaN where a value has no weight.
        distance: probes; how much higher the discriminant of a held-out film's own value is than the mean over values, as a
            mean over values and folds: 0 by chance (the cross-validated Mahalanobis distance of the values' means, Walther
            et al., NeuroImage 2016, divided by twice their number).
    """

    right: np.ndarray
    recall: np.ndarray
    distance: np.ndarray


def probed_classes(
    value: np.ndarray, target: np.ndarray, patient: np.ndarray, seed: int = 0, folds: int = FOLDS
) -> list[ProbedClass]:
    """Target classes that can be probed, folds by patient; within a class, values of fewer than ten patients are left out.

    The folds depend on the seed and on names alone, so that all runs of an audit have the same.
    """
    classes = []
    for name in np.unique(target):
        keep = target == name
        for candidate in np.unique(value[keep]):
            if len(np.unique(patient[keep & (value == candidate)])) < MINIMUM_PATIENTS:
                keep &= value != candidate
        if len(np.unique(value[keep])) < 2:
            continue
        films = np.flatnonzero(keep)
        fold = dealt_folds(value[films], patient[films], folds, seed)
        classes.append(ProbedClass(name, films, value[films], patient[films], fold))
    return classes


def dealt_folds(value: np.ndarray, patient: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each film: patients with the same values are dealt round, those with the most films first.

    So folds differ by at most one patient of each set of values, and little in films. Every second round is dealt backwards.
    """
    value_code = np.unique(value, return_inverse=True)[1]
    names, index, films = np.unique(patient, return_inverse=True, return_counts=True)
    pairs = np.unique(np.stack([index, value_code], axis=1), axis=0)
    # A patient's set of values as one number; beyond 62 values, sets that share their last values would fall together.
    values = np.bincount(pairs[:, 0], weights=2.0 ** (pairs[:, 1] % 52), minlength=len(names))
    order = np.lexsort((np.random.default_rng(seed).random(len(names)), -films, values))
    place = np.arange(len(names))
    hand, seat = divmod(place, folds)
    fold = np.empty(len(names), dtype=np.int64)
    fold[order] = np.where(hand % 2, folds - 1 - seat, seat)
    return fold[index]


def units_of(probed: ProbedClass) -> Units:
    """The units whose values are permuted, see `Units`."""
    code = np.unique(probed.value, return_inverse=True)[1]
    names, first, index = np.unique(probed.patient, return_index=True, return_inverse=True)
    several = np.zeros(len(names), dtype=bool)
    several[index[code != code[first][index]]] = True
    own = np.where(several[index], len(names) + np.arange(len(index)), index)
    _, film, of_film = np.unique(own, return_index=True, return_inverse=True)
    patient, fold = index[film], probed.fold[film]
    group = np.where(several[patient], FOLDS + fold.max() + patient, fold)
    return Units(of_film, code[film], group, fold, patient)


def permuted(units: Units, permutations: int, seed: int) -> np.ndarray:
    """Codes of the units, permutations + 1 x units; the first row is as they are."""
    rng = np.random.default_rng(seed)
    result = np.empty((permutations + 1, len(units.code)), dtype=np.int16)
    result[0] = units.code
    places = np.argsort(units.group, kind="stable")
    rank = np.unique(units.group, return_inverse=True)[1]
    for row in result[1:]:
        row[places] = units.code[np.argsort(rank + rng.random(len(rank)))]
    return result


def whitened(features: np.ndarray, probed: ProbedClass) -> list[np.ndarray]:
    """The class's films as the probes of each fold read them, films x components: whitened by the fold's training films.

    Args:
        features: films x width, of all films.
    """
    x = np.asarray(features[probed.films], dtype=np.float32)
    with one_thread():
        return [_whitened(x, probed.fold != fold) for fold in np.unique(probed.fold)]


def probes(
    by_fold: list[np.ndarray], probed: ProbedClass, codes: np.ndarray | None = None, weights: np.ndarray | None = None
) -> Probes:
    """Fit and test a probe in every fold for each row of values, or of weights.

    Args:
        by_fold: from `whitened`.
        codes: rows x units, from `permuted`; None for the true values.
        weights: rows x units, of each unit's films; None for 1.
    """
    units = units_of(probed)
    if codes is None:
        codes = np.broadcast_to(units.code.astype(np.int16), (1 if weights is None else len(weights), len(units.code)))
    rows, values = len(codes), int(units.code.max()) + 1
    films = np.bincount(units.of_film).astype(np.float32)
    right = np.zeros(len(probed.films), dtype=bool)
    hits, total = np.zeros((rows, values)), np.zeros((rows, values))
    distance, folds = np.zeros(rows), np.unique(probed.fold)
    with one_thread():
        for fold, z in zip(folds, by_fold, strict=True):
            held = probed.fold == fold
            sums = _summed(z, units.of_film, len(films))
            fit_units, held_units = units.fold != fold, units.fold == fold
            place = np.cumsum(held_units) - 1
            held_z, held_of = np.ascontiguousarray(z[held]), place[units.of_film[held]]
            size = max(1, BLOCK // (values * max(int(held.sum()), len(films), z.shape[1])))
            for first in range(0, rows, size):
                block = slice(first, first + size)
                weight = None if weights is None else weights[block].astype(np.float32)
                means, share = _means(
                    codes[block][:, fit_units], _of(weight, fit_units), sums[fit_units], films[fit_units], values
                )
                directions, offsets = _discriminants(means, share)
                held_codes, held_weight = codes[block][:, held_units], _of(weight, held_units)
                held_means, _ = _means(held_codes, held_weight, sums[held_units], films[held_units], values)
                between = held_means @ directions.transpose(0, 2, 1)
                distance[block] += between.trace(axis1=1, axis2=2) - between.sum(axis=(1, 2)) / values
                guess = _guesses(held_z, directions, offsets)
                is_right = guess == held_codes[:, held_of]
                counted = np.ones_like(is_right, dtype=np.float32) if held_weight is None else held_weight[:, held_of]
                for value in range(values):
                    own = counted * (held_codes[:, held_of] == value)
                    hits[block, value] += np.einsum("rf,rf->r", own, is_right)
                    total[block, value] += own.sum(axis=1)
                if first == 0:
                    right[held] = is_right[0]
    recall = np.divide(hits, total, out=np.full_like(hits, np.nan), where=total > 0)
    return Probes(right, recall, distance / (values * len(folds)))


def _whitened(x: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """All films in the leading components of the training films, in which their covariance plus the ridge is the identity."""
    mean, spread = x[fit].mean(axis=0), x[fit].std(axis=0)
    z = (x - mean) / np.where(spread > 0, spread, 1)
    train = z[fit]
    count, width = train.shape
    size = min(COMPONENTS, width, count - 1)
    if width <= count:
        variance, axes = eigh(train.T @ train / count, subset_by_index=(width - size, width - 1))
    else:  # the same by the smaller matrix
        variance, films = eigh(train @ train.T / count, subset_by_index=(count - size, count - 1))
        axes = train.T @ (films / np.sqrt(count * np.maximum(variance, np.finfo(np.float32).eps)))
    variance = np.maximum(variance, 0)
    return z @ (axes / np.sqrt(variance + RIDGE * variance.mean() + np.finfo(np.float32).tiny)).astype(np.float32)


def _summed(z: np.ndarray, unit: np.ndarray, units: int) -> np.ndarray:
    """Units x components."""
    order = np.argsort(unit, kind="stable")
    return np.add.reduceat(z[order], np.searchsorted(unit[order], np.arange(units)), axis=0)


def _of(weight: np.ndarray | None, units: np.ndarray) -> np.ndarray | None:
    return None if weight is None else weight[:, units]


def _means(
    codes: np.ndarray, weight: np.ndarray | None, sums: np.ndarray, films: np.ndarray, values: int
) -> tuple[np.ndarray, np.ndarray]:
    """Means of the values, rows x values x components, and each value's share of the films, rows x values."""
    means = np.empty((len(codes), values, sums.shape[1]), dtype=np.float32)
    count = np.empty((len(codes), values), dtype=np.float32)
    for value in range(values):
        member = (codes == value).astype(np.float32)
        if weight is not None:
            member *= weight
        count[:, value] = member @ films
        means[:, value] = (member @ sums) / np.maximum(count[:, value], 1)[:, None]
    return means, count / np.maximum(count.sum(axis=1, keepdims=True), 1)


def _discriminants(means: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions (rows x values x components) and offsets (rows x values) of linear discriminants with equal priors.

    With total covariance I and values' means M about 0, of shares D, the covariance within is W = I - M' D M, and
    W^-1 M' = M' (I - D M M')^-1.
    """
    gram = means.astype(np.float64) @ means.astype(np.float64).transpose(0, 2, 1)
    mixing = np.linalg.inv(np.eye(means.shape[1]) - share[:, :, None] * gram)
    directions = (mixing.transpose(0, 2, 1) @ means).astype(np.float32)
    # A value without training films, as a resample may have, is never guessed.
    return directions, np.where(share > 0, -np.einsum("rvc,rvc->rv", means, directions) / 2, -np.inf)


def _guesses(z: np.ndarray, directions: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Rows x films: the value with the highest discriminant."""
    best = directions[:, 0] @ z.T + offsets[:, :1]
    guess = np.zeros(best.shape, dtype=np.int16)
    for value in range(1, directions.shape[1]):
        score = directions[:, value] @ z.T + offsets[:, value, None]
        higher = score > best
        guess[higher] = value
        np.maximum(best, score, out=best)
    return guess
