"""What a threshold does on validation films: sensitivity and specificity with intervals, and what follows at a prevalence."""

import numpy as np
import pandas as pd

from training.bias.numbers import usefulness
from training.bias.numbers.calibration import fit_threshold
from training.bias.numbers.groups import ALL_FILMS, group_metrics

RATES = ("sensitivity", "specificity")
RESAMPLES = 300
OWN, YOUDEN, SENSITIVE = "the run's own", "Youden's J", "sensitivity 0.9"


def validation_films(predictions: pd.DataFrame) -> pd.DataFrame:
    """The run's predictions of validation films that have a label."""
    return predictions[(predictions["split"] == "validation") & predictions["target"].notna()]


def presets(validation: pd.DataFrame, positive: str, own: float) -> dict[str, float]:
    """Thresholds by name, all in [0, 1], from predictions of validation films of both classes."""
    score, is_positive = validation["score"].to_numpy(float), (validation["target"] == positive).to_numpy()
    fitted = [fit_threshold(score, is_positive, rule) for rule in ("youden", "sensitivity:0.9")]
    values = np.clip([own, *fitted], 0, 1).tolist()
    return dict(zip((OWN, YOUDEN, SENSITIVE), values, strict=True))


def operating_point(validation: pd.DataFrame, positive: str, threshold: float) -> pd.DataFrame:
    """What a threshold does to films that all have a target; raises PredictionsError for none, and a score outside [0, 1].

    Returns:
        A row for each group (the first is `all films`) and rate: the columns of `GroupMetrics.values`, and ill (patients of
        the positive class) and well (those of the other).
    """
    called = np.where(validation["score"] >= threshold, positive, "not " + positive)
    films = validation.assign(prediction=called, source=validation["source"].astype(str))
    rates = group_metrics(films, positive, ["source"], RESAMPLES, metrics=RATES).values
    ill = films["target"] == positive
    for name, part in (("ill", films[ill]), ("well", films[~ill])):
        by_source = part.groupby("source")["patient"].nunique()
        everything = pd.Series({ALL_FILMS: part["patient"].nunique()})
        rates[name] = rates["group"].map(pd.concat([everything, by_source])).fillna(0).astype(int)
    return rates


def at_prevalence(rates: pd.DataFrame, prevalence: float) -> pd.DataFrame:
    """A row a group: group, films, patients, ill, well, and sensitivity, specificity, ppv and npv with their bounds.

    Args:
        rates: from `operating_point`.
    """
    counts = rates.drop_duplicates("group")[["group", "ill", "well"]]
    return usefulness.at_prevalence(rates, prevalence).merge(counts, on="group", validate="one_to_one")


def in_a_thousand(sensitivity: float, specificity: float, prevalence: float) -> str:
    """What to expect of 1000 films, as a sentence."""
    ill = 1000 * prevalence
    hits, alarms = round(ill * sensitivity), round((1000 - ill) * (1 - specificity))
    return (
        f"Of 1000 films at this prevalence, {round(ill)} would be positive: {hits} called so, {round(ill) - hits} missed; "
        f"of the {1000 - round(ill)} others, {alarms} would be false alarms."
    )


def flag(validation: pd.DataFrame, positive: str, threshold: float) -> str:
    """What to give training so that it sets this threshold, or the nearest that it can set."""
    score, is_positive = validation["score"].to_numpy(float), (validation["target"] == positive).to_numpy()
    if threshold == fit_threshold(score, is_positive, "youden"):
        return "--operating-point youden"
    sensitivity = float((score[is_positive] >= threshold).mean())
    if sensitivity == 0:
        return "--operating-point specificity:1"
    # Rounded down, so that the sensitivity asked for is reached by the same films.
    return f"--operating-point sensitivity:{max(np.floor(sensitivity * 1000) / 1000, 0.001):g}"
