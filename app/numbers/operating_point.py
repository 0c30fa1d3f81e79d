"""What a threshold does on validation films: sensitivity and specificity with intervals, and what follows at a prevalence."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from training.bias.numbers import usefulness
from training.bias.numbers.calibration import fit_threshold
from training.bias.numbers.groups import ALL_FILMS, group_metrics, group_rows
from training.bias.numbers.interval import NO_INTERVAL, Interval
from training.bias.numbers.metrics import PredictionsError, read_films, shortfall
from training.bias.numbers.weighting import film_weights

RATES = ("sensitivity", "specificity")
RESAMPLES = 300


def validation_films(predictions: pd.DataFrame) -> pd.DataFrame:
    """The run's predictions of validation films that have a label."""
    return predictions[(predictions["split"] == "validation") & predictions["target"].notna()]


def of_source(validation: pd.DataFrame, source: str) -> pd.DataFrame:
    """The films of one source, or of all (`ALL_FILMS`)."""
    return validation if source == ALL_FILMS else validation[validation["source"].astype(str) == source]


def wanted_threshold(films: pd.DataFrame, positive: str, rate: str, share: float) -> float:
    """The threshold with which these films reach a sensitivity or specificity, and the other rate is as high as can be.

    Films weigh as in the rate that is measured (`film_weights`), so that this reaches `share`, too.

    Args:
        rate: `sensitivity` (the highest threshold that reaches it) or `specificity` (the lowest).
        share: above 0, at most 1.

    Raises:
        PredictionsError: fewer than ten effective patients of the class that the rate is about.
    """
    if why := shortfall(films, rate, positive):
        raise PredictionsError(why)
    read = read_films(films.assign(prediction=positive), positive)
    rows = read.is_positive == (rate == "sensitivity")
    score, weight = read.score[rows], film_weights(read.patient, read.target)[rows]
    # Those that must be on the right side of the threshold come first.
    order = np.argsort(-score if rate == "sensitivity" else score, kind="stable")
    reached = np.cumsum(weight[order]) >= share * weight.sum() * (1 - 1e-9)
    last = float(score[order][np.argmax(reached)])
    return last if rate == "sensitivity" else float(np.nextafter(last, np.inf))


def youden_threshold(films: pd.DataFrame, positive: str) -> float:
    """The threshold of the largest sensitivity + specificity; raises PredictionsError for films of too few patients."""
    if why := shortfall(films, "auroc", positive):
        raise PredictionsError(why)
    return fit_threshold(films["score"].to_numpy(float), (films["target"] == positive).to_numpy(), "youden")


def operating_point(validation: pd.DataFrame, positive: str, threshold: float) -> pd.DataFrame:
    """What a threshold does to films that all have a target; raises PredictionsError for none, and a score outside [0, 1].

    Returns:
        A row for each group (the first is `all films`) and rate: the columns of `GroupMetrics.values`, ill and well (patients
        of the positive class and of the other), and called and counted: films of the rate's class that are called what they
        are, of how many; counted also where there are too few patients to conclude.
    """
    called = np.where(validation["score"] >= threshold, positive, "not " + positive)
    films = validation.assign(prediction=called, source=validation["source"].astype(str))
    rates = group_metrics(films, positive, ["source"], RESAMPLES, metrics=RATES).values
    for name, rows in group_rows(films, ["source"]).items():
        part, here = films.iloc[rows], rates["group"] == name
        ill = part["target"] == positive
        rates.loc[here, ["ill", "well"]] = part.loc[ill, "patient"].nunique(), part.loc[~ill, "patient"].nunique()
        for rate, of_class, right in (("sensitivity", ill, positive), ("specificity", ~ill, "not " + positive)):
            counts = int((part.loc[of_class, "prediction"] == right).sum()), int(of_class.sum())
            rates.loc[here & (rates["metric"] == rate), ["called", "counted"]] = counts
    return rates.astype(dict.fromkeys(("ill", "well", "called", "counted"), int))


def at_prevalence(rates: pd.DataFrame, prevalence: float) -> pd.DataFrame:
    """A row a group: group, films, patients, ill, well, and sensitivity, specificity, ppv and npv with their bounds.

    Args:
        rates: from `operating_point`.
    """
    counts = rates.drop_duplicates("group")[["group", "ill", "well"]]
    return usefulness.at_prevalence(rates, prevalence).merge(counts, on="group", validate="one_to_one")


def benefit_of(rates: pd.DataFrame, group: str, odds: float, prevalences: Sequence[float]) -> pd.DataFrame:
    """Net benefit per 100 films of a group: columns prevalence (per cent), estimate, low, high.

    Args:
        rates: from `operating_point`.
        odds: positives found that one false alarm is worth.
        prevalences: per cent.
    """
    rows, shares = rates[rates["group"] == group].set_index("metric"), np.asarray(prevalences) / 100
    both = [Interval.of(rows.loc[rate]) if len(rows) else NO_INTERVAL for rate in RATES]
    values = 100 * np.stack(usefulness.net_benefit(both[0], both[1], shares, odds))
    return pd.DataFrame({"prevalence": prevalences, "estimate": values[0], "low": values[1], "high": values[2]})


def benefit_of_calling_all(odds: float, prevalences: Sequence[float]) -> pd.DataFrame:
    """The same where every film is called positive."""
    rates = pd.DataFrame({"group": ALL_FILMS, "metric": RATES, "estimate": [1.0, 0.0]})
    rates = rates.assign(low=rates["estimate"], high=rates["estimate"])
    return benefit_of(rates, ALL_FILMS, odds, prevalences)


def thinned(curve: pd.DataFrame, most: int) -> pd.DataFrame:
    """About so many rows of a curve, evenly spaced, the first and the last among them."""
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, most).round().astype(int))]


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
