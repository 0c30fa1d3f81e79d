"""How much of the source a frozen representation gives away.

A linear probe predicts the source from the features within each target class: source and target are correlated, so a probe
over all films would also read the target. After Tartaglione et al. 2021 and Barbano et al. 2023, who probe the colour of
Biased MNIST; balanced, per class and with folds by patient here.
"""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from training.bias.groups import MINIMUM_PATIENTS


class Leak(NamedTuple):
    """Balanced accuracy of the probe, and what guessing gives.

    Attributes:
        leak: mean over target classes, 0 to 1; NaN where no class has two sources of enough patients.
        chance: mean of 1 / (number of sources) over the same classes.
        normalised: (leak - chance) / (1 - chance): 0 at chance, 1 where the source is read without error.
    """

    leak: float
    chance: float
    normalised: float


def source_leak(
    features: np.ndarray, source: np.ndarray, target: np.ndarray, patient: np.ndarray, folds: int = 5, seed: int = 0
) -> Leak:
    """Probe the source from features, out of fold, within each target class.

    Args:
        features: films x width.
        source: source of each film; within a class, sources of fewer than ten patients are left out.
        target: target of each film.
        patient: patient of each film; folds never divide one.
        folds: of the cross-validation.
        seed: of the folds.
    """
    scores, chances = [], []
    for value in np.unique(target):
        keep = target == value
        for name in np.unique(source[keep]):
            if len(np.unique(patient[keep & (source == name)])) < MINIMUM_PATIENTS:
                keep &= source != name
        names = np.unique(source[keep])
        if len(names) < 2:
            continue
        guess = _out_of_fold(features[keep], source[keep], patient[keep], folds, seed)
        scores.append(balanced_accuracy_score(source[keep], guess))
        chances.append(1 / len(names))
    if not scores:
        return Leak(float("nan"), float("nan"), float("nan"))
    leak, chance = float(np.mean(scores)), float(np.mean(chances))
    return Leak(leak, chance, (leak - chance) / (1 - chance))


def _out_of_fold(features: np.ndarray, source: np.ndarray, patient: np.ndarray, folds: int, seed: int) -> np.ndarray:
    probe = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=300, C=0.1))
    guess = np.empty(len(source), dtype=source.dtype)
    # On problems this small, BLAS threads wait for each other: one is ten times as fast on a busy machine.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a probe that has not converged is a slightly weaker probe
        for fit, held in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(features, source, patient):
            guess[held] = probe.fit(features[fit], source[fit]).predict(features[held])
    return guess
