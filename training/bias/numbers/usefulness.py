"""What a model's calls are worth to a user: predictive values at a prevalence, and net benefit by threshold.

Predictive values follow by Bayes' rule from sensitivity and specificity, so that they can be read at the prevalence of the
place where a model is to work. Their intervals are those of the ratio of two shares by the score test (Miettinen and
Nurminen, Statistics in Medicine 1985). Net benefit: Vickers and Elkin, Medical Decision Making 2006.
"""

import numpy as np
import pandas as pd

from training.bias.numbers.interval import Interval
from training.bias.numbers.metrics import FilmColumns, Statistic, ratio
from training.bias.numbers.proportions import ratio_interval
from training.bias.numbers.uncertainty import intervals, resampling_strata
from training.bias.numbers.weighting import film_weights

PREDICTIVE = ("ppv", "npv")
THRESHOLDS = np.round(np.arange(0.05, 0.951, 0.05), 2)
RESAMPLES = 500


def predictive_values(
    sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float
) -> tuple[np.ndarray, np.ndarray]:
    """PPV and NPV by Bayes' rule, all values in [0, 1]; NaN where no film is called so, or a rate is NaN."""
    hits, false_alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    cleared, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return ratio(hits, hits + false_alarms), ratio(cleared, cleared + missed)


def at_prevalence(values: pd.DataFrame, prevalence: float) -> pd.DataFrame:
    """A row a group: group, films, patients, and sensitivity, specificity, ppv and npv with their bounds, NaN where unknown.

    Columns are `sensitivity`, `sensitivity_low`, `sensitivity_high` and so on.

    Args:
        values: of `GroupMetrics`.
        prevalence: share of positives, above 0 and below 1.
    """
    rates = values[values["metric"].isin(("sensitivity", "specificity"))]
    table = rates.drop_duplicates("group")[["group", "films", "patients"]].reset_index(drop=True)
    found = {}
    for metric, rows in rates.set_index("group").groupby("metric"):
        found[metric] = rows.loc[table["group"], ["estimate", "low", "high", "trials"]].to_numpy(float).T
    for metric, (estimate, low, high, _) in sorted(found.items()):
        table[metric], table[f"{metric}_low"], table[f"{metric}_high"] = estimate, low, high
    sensitivity, specificity = found["sensitivity"], found["specificity"]
    estimates = predictive_values(sensitivity[0], specificity[0], prevalence)
    # PPV has the odds of hits among those called positive; NPV likewise with the two rates' parts exchanged.
    spans = (
        _interval(sensitivity, specificity, prevalence),
        _interval(specificity, sensitivity, 1 - prevalence),
    )
    for name, estimate, (low, high) in zip(PREDICTIVE, estimates, spans, strict=True):
        unknown = np.isnan(estimate)
        table[name] = estimate
        table[f"{name}_low"], table[f"{name}_high"] = np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)
    return table


def net_benefit(
    sensitivity: Interval, specificity: Interval, prevalence: np.ndarray, odds: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Net benefit of an operating point by prevalence: positives found a film, less `odds` for each false alarm.

    Calling every film has the net benefit of a sensitivity of 1 and a specificity of 0, calling none has 0. The bounds join
    the intervals of the two rates (MOVER: Zou and Donner, Statistics in Medicine 2008), which are of different patients.

    Args:
        prevalence: shares of positives, in [0, 1].
        odds: positives found that one false alarm is worth: 0.1 where ten false alarms are worth one found patient.

    Returns:
        estimate, low, high; NaN where a rate is.
    """
    found, clear = prevalence, odds * (1 - prevalence)
    estimate = found * sensitivity.estimate - clear * (1 - specificity.estimate)
    below = (found * (sensitivity.estimate - sensitivity.low), clear * (specificity.estimate - specificity.low))
    above = (found * (sensitivity.high - sensitivity.estimate), clear * (specificity.high - specificity.estimate))
    return estimate, estimate - np.hypot(*below), estimate + np.hypot(*above)


def decision_curve(films: FilmColumns, source: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Net benefit by threshold: right alarms a film, less false alarms times the threshold's odds.

    Someone who acts on a score of 0.2 or more holds that one patient found is worth four false alarms: the odds. `all` is the
    net benefit of calling every film positive; calling none has 0. A model is of use at a threshold where its net benefit is
    above both.

    Args:
        films: scored films; their scores are read as probabilities.
        source: index of each film's source.

    Returns:
        A row for each threshold from 0.05 to 0.95: threshold, model, low, high (95 % over patients), all.
    """
    weight = film_weights(films.patient, films.target)
    odds = THRESHOLDS / (1 - THRESHOLDS)
    called = films.score[:, None] >= THRESHOLDS
    positive = films.is_positive[:, None]
    parts = np.hstack(
        [called * positive - called * ~positive * odds, positive - ~positive * odds, np.ones_like(positive)]
    )
    patients = int(films.patient.max()) + 1
    sums = np.zeros((patients, parts.shape[1]))
    np.add.at(sums, films.patient, parts * weight[:, None])

    def benefit(weights: np.ndarray) -> np.ndarray:
        total = sums.T @ weights
        return ratio(total[:-1], np.broadcast_to(total[-1:], total[:-1].shape))

    statistic: Statistic = benefit
    found, _, _ = intervals(statistic, resampling_strata(films.patient, source, films.target), resamples, seed)
    model, everyone = found[: len(THRESHOLDS)], found[len(THRESHOLDS) :]
    return pd.DataFrame(
        {
            "threshold": THRESHOLDS,
            "model": [interval.estimate for interval in model],
            "low": [interval.low for interval in model],
            "high": [interval.high for interval in model],
            "all": [interval.estimate for interval in everyone],
        }
    )


def _interval(own: np.ndarray, other: np.ndarray, prevalence: float) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of PPV from sensitivity and specificity (each estimate, low, high, trials x groups), or of NPV from the reverse.

    Its odds are those of the prevalence times a ratio of two shares: of right calls among those of this class, and of false
    calls among the others.
    """
    low, high = ratio_interval(own[0], own[3], 1 - other[0], other[3])
    odds = prevalence / (1 - prevalence)
    return low * odds / (1 + low * odds), 1 - 1 / (1 + high * odds)
