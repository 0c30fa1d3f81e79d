"""The strength of a head's penalty, chosen on training films alone by AUROC on sources that the head was not fitted to.

Every source of the training films that has both classes is held out in turn (many sources: ten groups of them), a head is
fitted to the others, and its AUROC is taken within each held-out source, where no difference between sources can help. The
mean over sources decides: the strongest penalty is taken whose mean is at most 0.02 below the highest. With the few sources
and patients that a cohort has, smaller differences are chance, and a weak penalty costs more than a strong one where a head
meets a new source.

Where fewer than two sources can be measured so, five groups of patients are held out in place of sources, and AUROC is
taken within those sources that have both classes, or over all films where none has. Where a class or group is too small
for that too, the strength is fixed.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from training.bias.numbers.weighting import film_weights
from training.recipe.last_layer import LastLayer

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)  # of C: the strongest penalty first
TOLERANCE = 0.02  # of AUROC
FIXED = 0.01
FEWEST = 5  # patients with a class, and without, of a source in which AUROC is measured
MOST_FOLDS, PATIENT_FOLDS = 10, 5

RULES = {
    "held-out sources": "the mean AUROC within {sources} held-out training sources",
    "held-out patients": "the mean AUROC on held-out training patients, for too few training sources have both classes",
    "fixed": "nothing, for the training films are too few: it is fixed",
}


class Films(NamedTuple):
    """Training films: features (films x width), and for each its class, source and patient as indices."""

    features: np.ndarray
    target: np.ndarray
    source: np.ndarray
    patient: np.ndarray

    def at(self, rows: np.ndarray) -> "Films":
        """Some of them."""
        return Films(*(values[rows] for values in self))


class Strength(NamedTuple):
    """A strength C and how it came about.

    Attributes:
        rule: a key of `RULES`.
        auroc: its mean AUROC on what was held out; NaN where it is fixed.
        sources: how many were measured.
    """

    value: float
    rule: str
    auroc: float
    sources: int


Fit = Callable[[Films, float], LastLayer]


def choose_strength(films: Films, fit: Fit) -> Strength:
    """The strength by the rule of this module; `fit` makes a head of films and a strength."""
    mixed = {source for source in np.unique(films.source) if _mixed(films.at(films.source == source), FEWEST)}
    if len(mixed) >= 2:
        folds = GroupKFold(min(len(np.unique(films.source)), MOST_FOLDS)).split(films.target, groups=films.source)
        found = held_out_aurocs(films, folds, fit, films.source, mixed)
        if len(found) >= 2:
            return _best(found, "held-out sources")
    if all(len(set(films.patient[films.target == value])) >= PATIENT_FOLDS for value in np.unique(films.target)):
        stratum = films.source if mixed else np.zeros_like(films.source)
        cutter = StratifiedGroupKFold(PATIENT_FOLDS, shuffle=True, random_state=0)
        folds = cutter.split(films.target, films.target, films.patient)
        found = held_out_aurocs(films, folds, fit, stratum, mixed or {0})
        if len(found):
            return _best(found, "held-out patients")
    return Strength(FIXED, "fixed", float("nan"), 0)


def held_out_aurocs(
    films: Films,
    folds: Iterable[tuple[np.ndarray, np.ndarray]],
    fit: Fit,
    stratum: np.ndarray,
    measured: set[int],
) -> pd.DataFrame:
    """AUROC by stratum (rows: those of `measured` that could be) and strength (columns), the mean over folds.

    A fold whose other films lack a class is left out.
    """
    classes, rows = len(np.unique(films.target)), []
    for kept, held in folds:
        inside = {value: held[stratum[held] == value] for value in measured & set(stratum[held])}
        inside = {value: at for value, at in inside.items() if _mixed(films.at(at), 1)}
        if not inside or len(np.unique(films.target[kept])) < classes:
            continue
        for strength in STRENGTHS:
            layer = fit(films.at(kept), strength)
            for value, at in inside.items():
                rows.append((value, strength, class_auroc(films.at(at), layer.logits(films.features[at]))))
    table = pd.DataFrame(rows, columns=["stratum", "strength", "auroc"])
    return table.groupby(["stratum", "strength"])["auroc"].mean().unstack()


def class_auroc(films: Films, logits: np.ndarray) -> float:
    """AUROC of each class against the rest, averaged over the classes that have films on both sides.

    Args:
        films: weighed so that no patient dominates.
        logits: films x classes.
    """
    weight = film_weights(np.unique(films.patient, return_inverse=True)[1], films.target)
    found = []
    for value in np.unique(films.target):
        margin = logits[:, value] - logsumexp(np.delete(logits, value, axis=1), axis=1)
        found.append(roc_auc_score(films.target == value, margin, sample_weight=weight))
    return float(np.mean(found))


def _mixed(films: Films, fewest: int) -> bool:
    """Whether two classes have so many patients each."""
    patients = [len(set(films.patient[films.target == value])) for value in np.unique(films.target)]
    return sum(count >= fewest for count in patients) >= 2


def _best(found: pd.DataFrame, rule: str) -> Strength:
    means = found.mean().to_numpy()
    first = int((means >= means.max() - TOLERANCE).argmax())
    return Strength(STRENGTHS[first], rule, float(means[first]), len(found))
