"""Films without labels: the distribution of their scores, the share of outliers, and drift from the run's own films.

An outlier is a film whose features are far from those of all training films. Whether the scores are right takes labels, and
nothing here says it. Intervals resample patients (`uncertainty`); where a share is 0 or 1 no resample differs, and the exact
interval for as many patients is given (Clopper and Pearson, Biometrika 1934).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.stats import beta

from datasets.listed import listed
from training.bias.evidence import Evidence
from training.bias.numbers.drift import DIFFERS, drift, drift_notes
from training.bias.numbers.groups import ALL_FILMS, NOT_RECORDED, group_rows, patients, with_intervals
from training.bias.numbers.metrics import FilmColumns, PredictionsError, ratio, read_films, require_columns, shortfall
from training.bias.numbers.uncertainty import Interval, intervals, resampling_strata

EXPECTED = 0.05  # share of outliers among films like the validation films
QUANTILES = {"p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}
VALIDATION_FILMS = "validation films of the run"
NAMED = 3  # sources named in the headline


@dataclass(frozen=True)
class Unlabelled:
    """What one checkpoint says of films without labels; every frame has NaN where nothing can be concluded.

    Attributes:
        distributions: from `score_distributions`, and last the run's validation films where these are known; empty where
            no class is positive.
        abstention: from `abstention`; empty where the distances to the training films are not known.
        drift: from `training.bias.numbers.drift.drift`; empty where no film of the run is known.
    """

    name: str
    about: dict[str, Any]
    films: int
    patients: int
    headline: str
    distributions: pd.DataFrame
    abstention: pd.DataFrame
    drift: pd.DataFrame
    notes: tuple[str, ...]


def describe_run(evidence: Evidence, resamples: int = 2000, permutations: int = 2000, seed: int = 0) -> Unlabelled:
    """All that one checkpoint says of films without labels; raises as `training.bias.report.audit.describe`."""
    table, positive, validation = evidence.predictions, evidence.positive, evidence.validation
    read_unlabelled(table, positive)  # refuses a bad table before the slow part
    distributions, outliers = pd.DataFrame(), pd.DataFrame()
    if positive is not None:
        distributions = score_distributions(table, positive, resamples=resamples, seed=seed)
        if validation is not None and len(validation):
            beside = score_distributions(validation, positive, (), resamples, seed).assign(group=VALIDATION_FILMS)
            distributions = pd.concat([distributions, beside], ignore_index=True)
    if evidence.distances is not None:
        outliers = abstention(table, evidence.distances, evidence.distance_limit, resamples=resamples, seed=seed)
    drifted = drift(table, evidence.training, validation, positive, permutations, seed)
    return Unlabelled(
        name=evidence.name, about=evidence.about, films=len(table), patients=patients(table),
        headline=_headline(table, outliers, drifted), distributions=distributions, abstention=outliers, drift=drifted,
        notes=(*_notes(evidence), *drift_notes(drifted, permutations)),
    )  # fmt: skip


def score_distributions(
    table: pd.DataFrame, positive: str, by: Sequence[str] = ("source",), resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Distribution of the scores of each group of films, and the share called positive.

    Args:
        table: predictions; targets are not read, and `prediction` (at the run's threshold) says which films are called
            positive.
        by: columns whose values, joined by ` · `, name the groups; empty for all films alone.

    Returns:
        group (the first is `all films`), films, patients; over films mean, p5, p25, median, p75, p95 of the score; estimate,
        low, high (95 % over patients) of the share called positive, method, note (why a row is NaN).

    Raises:
        PredictionsError: no film, a film without a patient, a score outside 0 to 1, a missing column.
    """
    films, groups = read_unlabelled(table, positive), group_rows(table, by)
    frame = _shares(table, films.called_positive, films.patient, groups, resamples, seed)
    measured = {
        number: [films.score[at].mean(), *np.quantile(films.score[at], list(QUANTILES.values()))]
        for number, at in enumerate(groups.values())
        if not frame["note"].iloc[number]
    }
    values = pd.DataFrame.from_dict(measured, orient="index", columns=["mean", *QUANTILES], dtype=float)
    columns = ["group", "films", "patients", "mean", *QUANTILES, *Interval._fields, "method", "note"]
    return frame.join(values)[columns]


def abstention(
    table: pd.DataFrame,
    distances: np.ndarray,
    limit: float | None,
    by: Sequence[str] = ("source",),
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of outliers in each group: films whose distance to the training films is beyond the limit.

    The limit is the 95th percentile of the run's validation films, so 5 % of films like these are outliers.

    Args:
        table: predictions; only patients and `by` are read.
        distances: of each film to its k-th nearest training film, see `training.run.reference`.
        limit: see there; None or NaN where there is none, and then all shares are NaN.
        by: as in `score_distributions`.

    Returns:
        group, films, patients, estimate, low, high, method, note.

    Raises:
        PredictionsError: another number of distances than films, a missing column.
    """
    if len(distances) != len(table):
        raise PredictionsError(f"{len(distances)} distances to the training films for {len(table)} films")
    known = limit is not None and not np.isnan(limit)
    note = "" if known else "cannot conclude: the run had too few validation films to set a limit"
    outlier = distances > limit if known else np.zeros(len(table), bool)  # a distance of NaN is never beyond
    return _shares(table, outlier, pd.factorize(table["patient"])[0], group_rows(table, by), resamples, seed, note)


def read_unlabelled(table: pd.DataFrame, positive: str | None) -> FilmColumns:
    """Columns of a table whose films need no target (the target columns are meaningless); raises as `score_distributions`."""
    require_columns(table, ("source",))
    if table.empty:
        raise PredictionsError("the predictions table has no film: there is nothing to describe")
    return read_films(table.assign(target=NOT_RECORDED), positive)


def _shares(
    table: pd.DataFrame,
    flag: np.ndarray,
    patient: np.ndarray,
    groups: dict[str, np.ndarray],
    resamples: int,
    seed: int,
    problem: str = "",
) -> pd.DataFrame:
    """Share of flagged films of each group, with its interval over patients."""
    without_target = table[["patient"]].assign(target="")
    frame = pd.DataFrame(
        [
            {"group": name, "films": len(at), "patients": len(np.unique(patient[at]))}
            | {"note": problem or shortfall(without_target.iloc[at], "accuracy", None)}
            for name, at in groups.items()
        ]
    )
    known = frame.index[frame["note"] == ""]
    shares, methods = list[Interval](), list[str]()
    if len(known):
        rows = [groups[name] for name in frame["group"].loc[known]]
        films, flagged = _by_group(rows, patient), _by_group([at[flag[at]] for at in rows], patient)
        stratum = resampling_strata(patient, pd.factorize(table["source"])[0], np.zeros(len(table), int))
        shares, methods, _ = intervals(lambda w: ratio(flagged @ w, films @ w), stratum, resamples, seed)
    for number, count in enumerate(frame["patients"].loc[known]):
        if shares[number].estimate in (0, 1):
            shares[number], methods[number] = _exact(shares[number].estimate, count), "exact"
    return with_intervals(frame, known, shares, methods)[
        ["group", "films", "patients", *Interval._fields, "method", "note"]
    ]


def _by_group(rows: list[np.ndarray], patient: np.ndarray) -> csr_array:
    """Number of films, groups x patients, from the rows of each group."""
    group = np.repeat(np.arange(len(rows)), [len(at) for at in rows])
    films = patient[np.concatenate(rows)]
    return csr_array((np.ones(len(films)), (group, films)), shape=(len(rows), int(patient.max()) + 1))


def _exact(share: float, count: int) -> Interval:
    """Interval of a share of 0 or 1 among as many patients."""
    low, high = (0.0, float(beta.ppf(0.975, 1, count))) if share == 0 else (float(beta.ppf(0.025, count, 1)), 1.0)
    return Interval(share, low, high)


def _headline(table: pd.DataFrame, outliers: pd.DataFrame, drifted: pd.DataFrame) -> str:
    labelled = bool(table["target"].notna().any()) if "target" in table else False
    first = "Labels are not read here" if labelled else "No film has a label"
    sentences = [f"{first}, so whether the scores are right is not known."]
    if outliers.empty or outliers["note"].iloc[0]:
        sentences.append("The share of outliers is not known either.")
    else:
        share, low, high = (f"{100 * outliers[name].iloc[0]:.0f}" for name in Interval._fields)
        span = f"{low} to {high} %; {100 * EXPECTED:.0f} % expected"
        sentences.append(f"{share} % of films are outliers, far from all training films ({span}).")
    differs = drifted[drifted["verdict"] == DIFFERS]
    names = [name.replace("_", " ") for name in differs["attribute"][differs["group"] == ALL_FILMS]]
    sources = differs["group"][differs["group"] != ALL_FILMS].tolist()
    if sources and "score" not in names:
        names.append(f"the score at {listed(sources, NAMED)}")
    if names:
        sentences.append(f"Different from the run's own films: {', '.join(names)}.")
    elif drifted["p"].notna().any():
        sentences.append("No difference from the run's own films was shown.")
    else:
        sentences.append("Whether they differ from the run's own films is not known.")
    return " ".join(sentences)


def _notes(evidence: Evidence) -> list[str]:
    notes = []
    if evidence.distances is None:
        notes.append("The run kept no features of its training films, so outliers can't be found.")
    unknown = "The run's {} films are not known here, so {} have nothing to be compared with."
    if evidence.training is None:
        notes.append(unknown.format("training", "view, sex and other attributes"))
    if evidence.validation is None and evidence.positive is not None:
        notes.append(unknown.format("validation", "the scores"))
    return notes
