"""What a threshold does on validation films: sensitivity and specificity with intervals, and what follows at a prevalence."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from training.bias.numbers.calibration import fit_threshold
from training.bias.numbers.groups import ALL_FILMS
from training.bias.numbers.metrics import FilmMetrics, Stacked, read_films, shortfall
from training.bias.numbers.uncertainty import NO_INTERVAL, intervals, percentile_interval, resampling_strata

RATES = ("sensitivity", "specificity")
RESAMPLES = 300
OWN, YOUDEN, SENSITIVE = "the run's own", "Youden's J", "sensitivity 0.9"


@dataclass(frozen=True, eq=False)
class OperatingPoint:
    """What a threshold does, overall and by source.

    `rates` has a row for each group (the first is `all films`) and rate: group, metric, films, patients, ill (those of the
    positive class), well (those of the other), note (why there is no estimate), estimate, low, high.
    """

    rates: pd.DataFrame
    drawn: np.ndarray  # resampled values of the rows that have an estimate, rows x resamples, NaN in the others


def validation_films(predictions: pd.DataFrame) -> pd.DataFrame:
    """The run's predictions of validation films that have a label."""
    return predictions[(predictions["split"] == "validation") & predictions["target"].notna()]


def presets(validation: pd.DataFrame, positive: str, own: float) -> dict[str, float]:
    """Thresholds by name, all in [0, 1], from predictions of validation films of both classes."""
    score, is_positive = validation["score"].to_numpy(float), (validation["target"] == positive).to_numpy()
    fitted = [fit_threshold(score, is_positive, rule) for rule in ("youden", "sensitivity:0.9")]
    values = np.clip([own, *fitted], 0, 1).tolist()
    return dict(zip((OWN, YOUDEN, SENSITIVE), values, strict=True))


def operating_point(
    validation: pd.DataFrame, positive: str, threshold: float, resamples: int = RESAMPLES, seed: int = 0
) -> OperatingPoint:
    """Measure a threshold on films that all have a target; raises PredictionsError for none, and a score outside [0, 1].

    Intervals are over patients, and fewer than ten in the class is "cannot conclude".
    """
    called = np.where(validation["score"] >= threshold, positive, "not " + positive)
    films = read_films(validation.assign(prediction=called), positive)
    source = validation["source"].astype(str).to_numpy()
    rows: dict[str, np.ndarray] = {ALL_FILMS: np.arange(len(source))}
    rows |= {name: np.flatnonzero(source == name) for name in np.unique(source)}
    records: list[dict[str, Any]] = []
    measures = []
    for name, at in rows.items():
        part = validation.iloc[at]
        ill = part["target"] == positive
        counts = {"films": len(part), "patients": part["patient"].nunique()}
        counts |= {"ill": part["patient"][ill].nunique(), "well": part["patient"][~ill].nunique()}
        records += [{"group": str(name), "metric": m, **counts, "note": shortfall(part, m, positive)} for m in RATES]
        measures.append(FilmMetrics(films[at], RATES))
    rates = pd.DataFrame(records)
    stratum = resampling_strata(films.patient, pd.factorize(source)[0], films.target)
    bounds, _, drawn = intervals(Stacked(measures).values, stratum, resamples, seed)
    known = (rates["note"] == "").to_numpy()
    kept = [interval if measured else NO_INTERVAL for interval, measured in zip(bounds, known, strict=True)]
    table = pd.DataFrame(kept, columns=["estimate", "low", "high"], dtype=float)
    return OperatingPoint(rates.join(table), np.where(known[:, None], drawn, np.nan))


def predictive_values(
    sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float
) -> tuple[np.ndarray, np.ndarray]:
    """PPV and NPV by Bayes' rule, all values in [0, 1]; NaN where no film is called so, or a rate is NaN."""
    hits, false_alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    cleared, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits / (hits + false_alarms), cleared / (cleared + missed)


def at_prevalence(point: OperatingPoint, prevalence: float) -> pd.DataFrame:
    """A row a group: group, films, patients, ill, well, and sensitivity, specificity, ppv and npv with their bounds.

    Columns are `sensitivity`, `sensitivity_low`, `sensitivity_high` and so on; the last two metrics need both rates, and
    their bounds are percentiles of the same resamples of patients.
    """
    records = []
    for number in range(0, len(point.rates), 2):  # the two rates of a group
        both = point.rates.iloc[number : number + 2]
        record = {name: both[name].iloc[0] for name in ("group", "films", "patients", "ill", "well")}
        for metric, bounds in zip(RATES, both[["estimate", "low", "high"]].to_numpy(float), strict=True):
            record |= _three(metric, *bounds)
        sensitivity, specificity = both["estimate"].to_numpy(float)
        estimates = predictive_values(np.array(sensitivity), np.array(specificity), prevalence)
        resampled = predictive_values(point.drawn[number], point.drawn[number + 1], prevalence)
        for metric, estimate, drawn in zip(("ppv", "npv"), estimates, resampled, strict=True):
            record |= _three(metric, *percentile_interval(float(estimate), drawn))
        records.append(record)
    return pd.DataFrame(records)


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


def _three(metric: str, estimate: float, low: float, high: float) -> dict[str, float]:
    return {metric: estimate, f"{metric}_low": low, f"{metric}_high": high}
