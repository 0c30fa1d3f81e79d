"""What can be said of films without labels: how the scores lie, which films are unlike the training ones, what has drifted.

How right the scores are can't be said, and nothing here says it. Intervals resample patients (`uncertainty`); where all
films of a group are on one side, no resample differs and the exact interval for as many patients is given (Clopper and
Pearson, Biometrika 1934).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.stats import beta

from training.bias.evidence import Evidence
from training.bias.numbers.drift import DIFFERS, drift, drift_notes
from training.bias.numbers.groups import ALL_FILMS, NOT_RECORDED, group_names, patients
from training.bias.numbers.metrics import Films, PredictionsError, ratio, read_films, require_columns, shortfall
from training.bias.numbers.uncertainty import Interval, intervals, resampling_strata

EXPECTED = 0.05  # share beyond the limit among films like the validation ones
QUANTILES = {"p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}
VALIDATION_FILMS = "validation films of the run"
NAMED = 3  # sources named in the headline


@dataclass(frozen=True)
class Unlabelled:
    """What one checkpoint says of films without labels; every frame has NaN where nothing can be concluded.

    Attributes:
        name: of the run.
        about: see `Evidence`.
        films: number of films scored.
        patients: number of their patients.
        headline: what was found, in a sentence or two.
        distributions: from `score_distributions`, and last the run's validation films where these are known; empty where
            no class is positive.
        abstention: from `abstention`; empty where the distances to the training films are not known.
        drift: from `training.bias.numbers.drift.drift`; empty where no film of the run is known.
        notes: what a reader must know of the numbers.
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


def describe_run(one: Evidence, resamples: int = 2000, permutations: int = 2000, seed: int = 0) -> Unlabelled:
    """All that one checkpoint says of films without labels; raises as `training.bias.report.audit.describe`."""
    table, positive = one.predictions, one.positive
    read_unlabelled(table, positive)  # before anything is drawn
    distributions, unlike = pd.DataFrame(), pd.DataFrame()
    if positive is not None:
        distributions = score_distributions(table, positive, resamples=resamples, seed=seed)
        if one.validation is not None and len(one.validation):
            own = score_distributions(one.validation, positive, (), resamples, seed)
            distributions = pd.concat([distributions, own.assign(group=VALIDATION_FILMS)], ignore_index=True)
    if one.distances is not None:
        unlike = abstention(table, one.distances, one.distance_limit, resamples=resamples, seed=seed)
    drifted = drift(table, one.training, one.validation, positive, permutations, seed)
    return Unlabelled(
        name=one.name, about=one.about, films=len(table), patients=patients(table),
        headline=_headline(table, unlike, drifted), distributions=distributions, abstention=unlike, drift=drifted,
        notes=(*_notes(one), *drift_notes(drifted, permutations)),
    )  # fmt: skip


def score_distributions(
    table: pd.DataFrame, positive: str, by: Sequence[str] = ("source",), resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """How the scores of each group of films lie, and how many are called positive.

    Args:
        table: predictions; targets are not read, and `prediction` says which films are called positive (it was read at
            the run's threshold).
        positive: name of the positive class.
        by: columns whose values, joined by ` · `, name the groups; none for all films alone.
        resamples: of the bootstrap over patients.
        seed: of the resampling.

    Returns:
        group (the first is `all films`), films, patients; over films mean, p5, p25, median, p75, p95 of the score; estimate,
        low, high (95 % over patients) of the share called positive, method, note (why a row is NaN).

    Raises:
        PredictionsError: no film, a film without a patient, a score that is no probability, a column that isn't there.
    """
    films = read_unlabelled(table, positive)
    frame = _shares(table, films.called_positive, films.patient, by, resamples, seed)
    measured = {
        number: [films.score[at].mean(), *np.quantile(films.score[at], list(QUANTILES.values()))]
        for number, (_, at) in enumerate(_groups(table, by))
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
    """Share of each group's films that are unlike the training films: whose distance is beyond the limit.

    The limit being the 95th percentile of the run's validation films, 5 % of films like these are beyond it by construction.

    Args:
        table: predictions; only patients and `by` are read.
        distances: of each film to its k-th nearest training film, see `training.run.reference`.
        limit: see there; None or NaN where there is none, which leaves all NaN.
        by: as in `score_distributions`.
        resamples: of the bootstrap over patients.
        seed: of the resampling.

    Returns:
        group, films, patients, estimate, low, high, method, note.

    Raises:
        PredictionsError: not one distance a film, a column that isn't there.
    """
    if len(distances) != len(table):
        raise PredictionsError(f"{len(distances)} distances to the training films for {len(table)} films")
    known = limit is not None and not np.isnan(limit)
    note = "" if known else "cannot conclude: the run had too few validation films to set a limit"
    unlike = distances > limit if known else np.zeros(len(table), bool)  # a distance that is no number is never beyond
    return _shares(table, unlike, pd.factorize(table["patient"])[0], by, resamples, seed, note)


def read_unlabelled(table: pd.DataFrame, positive: str | None) -> Films:
    """Arrays of a table whose films need no target (those of the result say nothing); raises as `score_distributions`."""
    require_columns(table, ("source",))
    if table.empty:
        raise PredictionsError("the predictions table has no film: there is nothing to describe")
    return read_films(table.assign(target=NOT_RECORDED), positive)


def _groups(table: pd.DataFrame, by: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Name and rows of all films, then of each group; what is not recorded comes last."""
    require_columns(table, by)
    everything = [(ALL_FILMS, np.arange(len(table)))]
    if not by:
        return everything
    members = pd.Series(np.arange(len(table))).groupby(group_names(table, by))
    found = [(str(name), at.to_numpy()) for name, at in members]
    return everything + sorted(found, key=lambda group: (NOT_RECORDED in group[0], group[0]))


def _shares(
    table: pd.DataFrame,
    flag: np.ndarray,
    patient: np.ndarray,
    by: Sequence[str],
    resamples: int,
    seed: int,
    problem: str = "",
) -> pd.DataFrame:
    """Share of flagged films of each group, with its interval over patients."""
    groups = _groups(table, by)
    only = table[["patient"]].assign(target="")
    frame = pd.DataFrame(
        [
            {"group": name, "films": len(at), "patients": len(np.unique(patient[at]))}
            | {"note": problem or shortfall(only.iloc[at], "accuracy", None)}
            for name, at in groups
        ]
    )
    known = frame.index[frame["note"] == ""]
    found: list[Interval] = []
    methods: list[str] = []
    if len(known):
        rows = [groups[number][1] for number in known]
        films, flagged = _by_group(rows, patient), _by_group([at[flag[at]] for at in rows], patient)
        stratum = resampling_strata(patient, pd.factorize(table["source"])[0], np.zeros(len(table), int))
        found, methods, _ = intervals(lambda w: ratio(flagged @ w, films @ w), stratum, resamples, seed)
    for number, count in enumerate(frame["patients"].loc[known]):
        if found[number].estimate in (0, 1):
            found[number], methods[number] = _exact(found[number].estimate, count), "exact"
    frame = frame.join(pd.DataFrame(found, index=known, columns=Interval._fields, dtype=float))
    frame["method"] = pd.Series(methods, index=known, dtype=object).reindex(frame.index, fill_value="")
    return frame[["group", "films", "patients", *Interval._fields, "method", "note"]]


def _by_group(rows: list[np.ndarray], patient: np.ndarray) -> csr_array:
    """Number of films, groups x patients, from the rows of each group."""
    group = np.repeat(np.arange(len(rows)), [len(at) for at in rows])
    films = patient[np.concatenate(rows)]
    return csr_array((np.ones(len(films)), (group, films)), shape=(len(rows), int(patient.max()) + 1))


def _exact(share: float, count: int) -> Interval:
    """Interval of a share of 0 or 1 among as many patients."""
    low, high = (0.0, float(beta.ppf(0.975, 1, count))) if share == 0 else (float(beta.ppf(0.025, count, 1)), 1.0)
    return Interval(share, low, high)


def _headline(table: pd.DataFrame, unlike: pd.DataFrame, drifted: pd.DataFrame) -> str:
    labelled = bool(table["target"].notna().any()) if "target" in table else False
    first = "Labels are not read here" if labelled else "No film has a label"
    sentences = [f"{first}: how right the scores are can't be said."]
    if unlike.empty or unlike["note"].iloc[0]:
        sentences.append("How many films are unlike the training films can't be said either.")
    else:
        share, low, high = (f"{100 * unlike[name].iloc[0]:.0f}" for name in Interval._fields)
        span = f"{low} to {high} %; {100 * EXPECTED:.0f} % expected"
        sentences.append(f"{share} % of films are unlike the training films ({span}).")
    differs = drifted[drifted["verdict"] == DIFFERS]
    found = [name.replace("_", " ") for name in differs["attribute"][differs["group"] == ALL_FILMS]]
    sources = differs["group"][differs["group"] != ALL_FILMS].tolist()
    if sources and "score" not in found:
        more = f" and {len(sources) - NAMED} more" if len(sources) > NAMED else ""
        found.append(f"the score at {', '.join(sources[:NAMED])}{more}")
    if found:
        sentences.append(f"Different from the run's own films: {', '.join(found)}.")
    elif drifted["p"].notna().any():
        sentences.append("No difference from the run's own films was shown.")
    else:
        sentences.append("Whether they differ from the run's own films can't be said.")
    return " ".join(sentences)


def _notes(one: Evidence) -> list[str]:
    notes = []
    if one.distances is None:
        notes.append("The run kept no features of its training films: which films are unlike these can't be said.")
    if one.training is None:
        notes.append(
            "The run's training films are not known here: view, sex and the like have nothing to be compared with."
        )
    if one.validation is None and one.positive is not None:
        notes.append("The run's validation films are not known here: the scores have nothing to be compared with.")
    return notes
