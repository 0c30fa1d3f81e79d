"""A temperature and a threshold for each site, and what they change on films they were not fitted on.

A site's own are fitted where it has ten effective patients of each class; elsewhere the model's own stay. Intervals are
percentiles of a bootstrap over the site's patients. What they change is measured by cross-fitting: the patients of a site are
dealt to folds, and the films of a fold are read with what the other folds give. Two classes only: a score is

    sigmoid(margin / temperature),   margin = positive logit - negative logit
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.model_selection import StratifiedGroupKFold

from training.bias.numbers.calibration import fit_temperature, fit_threshold
from training.bias.numbers.compare import LEVEL, compare, holm
from training.bias.numbers.interval import NO_INTERVAL, Interval
from training.bias.numbers.metrics import LOWER_IS_BETTER
from training.bias.numbers.weighting import MINIMUM_PATIENTS, effective_patients, film_weights

FOLDS = 5
CHANGED = ("sensitivity", "specificity", "ece", "brier")
COLUMNS = (
    "site", "metric", "films", "patients", "before", "after", "difference", "low", "high", "p", "p_holm", "verdict",
)  # fmt: skip
ALL_SITES = "all sites"


class SiteFit(NamedTuple):
    """What reads the logits of a site's films.

    Attributes:
        temperature: 95 % interval over patients; without bounds where it is the model's own.
        threshold: score from which a film is called positive, on the scale of this temperature.
        positives: effective patients of the positive class; `negatives` of the other.
        own: whether both are the site's; else they are the model's, and `reason` says why.
    """

    temperature: Interval
    threshold: Interval
    films: int
    positives: float
    negatives: float
    own: bool
    reason: str = ""


def fit_site(
    margin: np.ndarray,
    positive: np.ndarray,
    patient: np.ndarray,
    fallback: tuple[float, float],
    operating_point: str = "youden",
    resamples: int = 500,
    seed: int = 0,
) -> SiteFit:
    """Temperature and threshold of one site.

    Args:
        margin: positive minus negative logit of each film.
        positive: whether each film is of the positive class.
        patient: of each film, any kind of name.
        fallback: the model's own temperature and threshold, kept where the site has too few patients.
        operating_point: see `calibration.fit_threshold`.
    """
    number = np.unique(patient, return_inverse=True)[1]
    weight = film_weights(number, positive.astype(int))
    ill, well = (effective_patients(number[side], weight[side]) for side in (positive, ~positive))
    if min(ill, well) < MINIMUM_PATIENTS:
        why = f"{ill:.3g} patients with and {well:.3g} without; {MINIMUM_PATIENTS} of each are needed"
        kept = [NO_INTERVAL._replace(estimate=value) for value in fallback]
        return SiteFit(kept[0], kept[1], len(margin), ill, well, own=False, reason=why)
    estimate = _fitted(margin, positive, operating_point)
    films_of = [np.flatnonzero(number == one) for one in range(number.max() + 1)]
    rng, drawn = np.random.default_rng(seed), list[tuple[float, float]]()
    while len(drawn) < resamples:
        rows = np.concatenate([films_of[one] for one in rng.integers(len(films_of), size=len(films_of))])
        if positive[rows].any() and not positive[rows].all():
            drawn.append(_fitted(margin[rows], positive[rows], operating_point))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    found = [Interval(*map(float, bounds)) for bounds in zip(estimate, low, high, strict=True)]
    return SiteFit(found[0], found[1], len(margin), ill, well, own=True)


def cross_fitted(
    margin: np.ndarray, positive: np.ndarray, patient: np.ndarray, operating_point: str = "youden", seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Temperature and threshold for each film of one site, fitted on patients of the other folds alone.

    The films are as for `fit_site`, of enough patients.
    """
    temperature, threshold = np.empty(len(margin)), np.empty(len(margin))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for others, films in folds.split(margin, positive, patient):
        temperature[films], threshold[films] = _fitted(margin[others], positive[others], operating_point)
    return temperature, threshold


def read_again(
    table: pd.DataFrame, temperature: np.ndarray | float, threshold: np.ndarray | float, names: tuple[str, str]
) -> pd.DataFrame:
    """The predictions with the scores and calls that these give.

    Args:
        table: has the column `logit`, the margin.
        temperature, threshold: one for each film, or for all.
        names: of the negative and the positive class.
    """
    score = expit(table["logit"].to_numpy(float) / temperature)
    return table.assign(score=score, prediction=np.where(score >= threshold, names[1], names[0]))


def changes(
    before: pd.DataFrame, after: pd.DataFrame, positive: str, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """What reading the same films in another way changes, for all films and by source.

    Returns:
        `COLUMNS`: metric is of `CHANGED`, p_holm is corrected over all rows.
    """
    parts = {ALL_SITES: before} | {str(name): films for name, films in before.groupby("source", sort=True)}
    found = []
    for name, films in parts.items():
        rows = compare(films, after.loc[films.index], positive, resamples=resamples, permutations=resamples, seed=seed)
        rows = rows[(rows["part"] == "all films") & rows["metric"].isin(CHANGED)]
        found.append(rows.assign(site=name))
    table = pd.concat(found, ignore_index=True)
    table["p_holm"] = holm(table["p"].to_numpy(float))
    significant = (table["p_holm"] < LEVEL) & ~((table["low"] <= 0) & (table["high"] >= 0))
    gain = np.where(table["metric"].isin(LOWER_IS_BETTER), -table["difference"], table["difference"])
    table["verdict"] = np.where(significant, np.where(gain > 0, "better", "worse"), "cannot conclude")
    table = table.rename(columns={"reference": "before", "other": "after"})
    return table[list(COLUMNS)]


def _fitted(margin: np.ndarray, positive: np.ndarray, operating_point: str) -> tuple[float, float]:
    logits = np.stack([np.zeros(len(margin)), margin], axis=1)
    temperature = fit_temperature(logits, positive.astype(int))
    return temperature, fit_threshold(expit(margin / temperature), positive, operating_point)
