"""Probes of frozen features within a target class: folds by patient, fits, and refits on permuted values.

`training.bias.questions.leakage` explains what the guesses mean.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_limits

from training.bias.numbers.metrics import MINIMUM_PATIENTS

FOLDS = 5
# Of the standardised features, for the probes that are fitted a hundred times.
COMPONENTS = 64
Kind = Literal["linear", "mlp"]


class ProbedClass(NamedTuple):
    """A target class with two values or more of enough patients: its films of those values, and its folds.

    Attributes:
        films: positions among all films.
        value: of the attribute, of each of `films`.
        patient: of each of `films`.
        folds: pairs of positions among `films`: training films, test films.
    """

    name: object
    films: np.ndarray
    value: np.ndarray
    patient: np.ndarray
    folds: list[tuple[np.ndarray, np.ndarray]]


def probed_classes(
    value: np.ndarray, target: np.ndarray, patient: np.ndarray, seed: int = 0, folds: int = FOLDS
) -> list[ProbedClass]:
    """Target classes that can be probed, folds by patient; within a class, values of fewer than ten patients are left out."""
    classes = []
    for name in np.unique(target):
        keep = target == name
        for candidate in np.unique(value[keep]):
            if len(np.unique(patient[keep & (value == candidate)])) < MINIMUM_PATIENTS:
                keep &= value != candidate
        if len(np.unique(value[keep])) < 2:
            continue
        films = np.flatnonzero(keep)
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        pairs = list(splitter.split(films, value[films], patient[films]))
        classes.append(ProbedClass(name, films, value[films], patient[films], pairs))
    return classes


def linear_guesses(features: np.ndarray, probed: ProbedClass) -> np.ndarray:
    """Out-of-fold guesses of the linear probe on all features: the one whose leak is reported."""
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=300, C=0.1))
    x, guess = features[probed.films], np.empty_like(probed.value)
    with _small_problems():
        for fit, test in probed.folds:
            guess[test] = model.fit(x[fit], probed.value[fit]).predict(x[test])
    return guess


def _components(features: np.ndarray, probed: ProbedClass) -> list[np.ndarray]:
    """For each fold, all films of the class in the leading principal components of its training films."""
    x = features[probed.films]
    size = min(COMPONENTS, x.shape[1], *(len(fit) for fit, _ in probed.folds))
    reduction = make_pipeline(StandardScaler(), PCA(size, svd_solver="full"))
    with _small_problems():
        return [reduction.fit(x[fit]).transform(x) for fit, _ in probed.folds]


def _quick_probe(
    components: list[np.ndarray], value: np.ndarray, probed: ProbedClass, kind: Kind, seed: int
) -> np.ndarray:
    """Out-of-fold guesses of `value`, which may be permuted."""
    guess = np.empty_like(value)
    for x, (fit, test) in zip(components, probed.folds, strict=True):
        if kind == "linear":
            model = LogisticRegression(class_weight="balanced", max_iter=300, C=0.1, tol=1e-2).fit(x[fit], value[fit])
        else:
            # lbfgs stopped at so few steps takes half the time of Adam here, and overfits less than at convergence.
            model = MLPClassifier((64,), solver="lbfgs", alpha=1.0, max_iter=15, random_state=seed)
            model.fit(x[fit], value[fit], sample_weight=compute_sample_weight("balanced", value[fit]))
        guess[test] = model.predict(x[test])
    return guess


def right_guesses(features: np.ndarray, classes: list[ProbedClass], kind: Kind, seed: int) -> list[np.ndarray]:
    """Whether the probe calls each film of each class right."""
    if kind == "linear":
        return [linear_guesses(features, c) == c.value for c in classes]
    with _small_problems():
        return [_quick_probe(_components(features, c), c.value, c, kind, seed) == c.value for c in classes]


def refitted_leaks(
    features: np.ndarray, classes: list[ProbedClass], kind: Kind, permutations: int, seed: int
) -> np.ndarray:
    """Leak of the quick probe on the true values, then on permuted ones."""
    rng, scores = np.random.default_rng(seed), []
    for probed in classes:
        components = _components(features, probed)
        values = [probed.value, *(_permuted(probed, rng) for _ in range(permutations))]
        with _small_problems():
            scores.append([balanced_accuracy_score(v, _quick_probe(components, v, probed, kind, seed)) for v in values])
    return np.mean(scores, axis=0)


def _permuted(probed: ProbedClass, rng: np.random.Generator) -> np.ndarray:
    """Values with patients of one value exchanged within a fold, and those of several shuffled within the patient."""
    names, first, index = np.unique(probed.patient, return_index=True, return_inverse=True)
    fold = np.empty(len(probed.films), dtype=np.int64)
    for number, (_, test) in enumerate(probed.folds):
        fold[test] = number
    first_value = probed.value[first]
    several = np.isin(np.arange(len(names)), index[probed.value != first_value[index]])
    # A patient of several values is a group of one, so that only patients of one value are exchanged.
    group = np.where(several, len(probed.folds) + np.arange(len(names)), fold[first])
    exchanged = _shuffled_within(first_value, group, rng)[index]
    return np.where(several[index], _shuffled_within(probed.value, index, rng), exchanged)


def _shuffled_within(value: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    result = np.empty_like(value)
    result[np.argsort(group, kind="stable")] = value[np.lexsort((rng.random(len(value)), group))]
    return result


@contextmanager
def _small_problems() -> Iterator[None]:
    """One BLAS thread, and no warnings of convergence: a probe that has not converged is a slightly weaker probe."""
    # On problems this small, BLAS threads wait for each other: one is ten times as fast on a busy machine.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
