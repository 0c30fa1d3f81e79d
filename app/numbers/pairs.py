"""Films that several checkpoints scored, side by side, and how far apart their scores are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.scoring.own_predictions import KEY

JUDGED = ("test", "external")  # films that no checkpoint was trained or calibrated on
ALL, APART, SOME, EVERY = "all films", "called differently", "some checkpoint is wrong", "all are wrong"
ERRORS = (ALL, APART, SOME, EVERY)
PLACE = ["split", "row"]
ABOUT = ("view", "age_band")


@dataclass(frozen=True)
class RunFilms:
    """A run's predictions of its films; `films` is None where it kept none."""

    name: str
    positive: str
    films: pd.DataFrame | None


@dataclass(frozen=True)
class Pairing:
    """Films of several runs side by side.

    `films` has columns row, split, source, label, view and age_band (None where a run kept none), score_0, called_0, score_1,
    ... in the order of `names`, spread (largest difference of two scores), apart (whether they call it differently) and wrong
    (number of runs that call it wrong; NaN without a label), sorted by spread, the largest first.
    """

    names: tuple[str, ...]  # of the runs that could be paired, the first run first
    films: pd.DataFrame
    problems: tuple[str, ...]  # a sentence for each run that could not be paired, or not in full


def pair(runs: Sequence[RunFilms]) -> Pairing:
    """Pair each run's test and external films with those of the first run.

    By the hash of the file where both runs share some, which they do when both were hashed under one key; else by place in
    the data (split and row), if both have the same films there. Either way source and label must agree on every film.
    """
    first, names, problems = runs[0], [runs[0].name], []
    table = _judged(first)
    if table is None:
        return Pairing((), pd.DataFrame(), (f"{first.name} kept no predictions of its films.",))
    for run in runs[1:]:
        other = _judged(run)
        if other is None:
            problems.append(f"{run.name} is left out: it kept no predictions of its films.")
        elif run.positive != first.positive:
            problems.append(
                f"{run.name} is left out: its score is for {run.positive}, that of {first.name} for {first.positive}."
            )
        elif isinstance(joined := _join(table, other, len(names)), str):
            problems.append(f"{run.name} is left out: {joined}")
        else:
            if len(joined) < max(len(table), len(other)):
                problems.append(
                    f"{run.name} has other test films: {len(joined):,} films that no run was trained on are in both."
                )
            table = joined
            names.append(run.name)
    return Pairing(tuple(names), _measured(table, len(names)), tuple(problems))


@dataclass(frozen=True)
class Unseen:
    """Films that no run was trained or calibrated on: rows of the first run's predictions, None where it kept none."""

    films: pd.DataFrame | None
    rule: str = ""  # which films these are, in a sentence
    problems: tuple[str, ...] = ()  # a sentence for each run of which that can't be told


def never_trained_on(runs: Sequence[RunFilms]) -> Unseen:
    """The first run's test and external films, without those of patients that another run was trained or calibrated on.

    Patients are told by their hashes where both tables were hashed under one key, else by place in the data where both runs
    have the same data.
    """
    first, problems = runs[0].films, []
    if first is None:
        return Unseen(None)
    films = judged = first[first["split"].isin(JUDGED)]
    for run in runs[1:]:
        other = run.films
        if other is None:
            problems.append(f"Whether {run.name} was trained on these films can't be told: it kept no predictions.")
            continue
        taught = other[~other["split"].isin(JUDGED)]
        key = first.attrs.get(KEY)
        if key is not None and key == other.attrs.get(KEY):
            films = films[~films["patient"].isin(taught["patient"])]
        elif _same_data(first, other):
            films = films[~films["row"].isin(taught["row"])]
        else:
            problems.append(
                f"Whether {run.name} was trained on these films can't be told: it was trained on other data, or its table is "
                "hashed under another key."
            )
    whose = "its own" if len(runs) == 1 else "any run's"
    rule = f"{len(films):,} of {len(judged):,} films: those of {whose} training or validation patients are not offered."
    return Unseen(films.reset_index(drop=True), rule, tuple(problems))


def _same_data(first: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two runs have the same films in the same places, as far as source and label tell."""
    columns = ["row", "source", "target"]
    left, right = (table[columns].sort_values("row").reset_index(drop=True) for table in (first, other))
    return left.astype(object).equals(right.astype(object))


def keep(films: pd.DataFrame, sources: Sequence[str], splits: Sequence[str], error: str) -> pd.DataFrame:
    """The films of a `Pairing` that pass all filters; `error` is one of `ERRORS`, a film without a label is never wrong."""
    runs = sum(str(name).startswith("score_") for name in films)
    kept = films["source"].isin(list(sources)) & films["split"].isin(list(splits))
    kept &= films["wrong"].fillna(0) >= {SOME: 1, EVERY: runs}.get(error, 0)
    return films[kept & films["apart"]] if error == APART else films[kept]


def by_source(films: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """A row a source, that of the most disagreements first: films, called differently, called wrong by each run, apart.

    Args:
        films: of a `Pairing` of runs with these names.
    """
    groups = films.groupby("source")
    table = groups.size().rename("films").to_frame()
    table["called differently"] = groups["apart"].sum()
    labelled = films["label"].notna()
    for number, name in enumerate(names):
        wrong = labelled & (films[f"called_{number}"] != films["label"])
        table[f"wrong: {name}"] = wrong.groupby(films["source"]).sum()
    table["mean difference"] = groups["spread"].mean()
    return table.sort_values(["called differently", "films"], ascending=False).reset_index()


def _judged(run: RunFilms) -> pd.DataFrame | None:
    if run.films is None:
        return None
    films = run.films[run.films["split"].isin(JUDGED)]
    columns = {"target": "label", "score": "score_0", "prediction": "called_0"}
    films = films.rename(columns=columns).assign(**{name: None for name in ABOUT if name not in films})
    return films[["row", "split", "source", "label", *ABOUT, "file", "score_0", "called_0"]]


def _join(table: pd.DataFrame, other: pd.DataFrame, number: int) -> pd.DataFrame | str:
    """Both tables side by side, the other's score as number `number`; a sentence where they don't fit."""
    other = other.rename(columns={"score_0": f"score_{number}", "called_0": f"called_{number}"})
    unique = table["file"].is_unique and other["file"].is_unique
    by_file = unique and bool(set(table["file"]) & set(other["file"]))
    key = ["file"] if by_file else PLACE
    if not by_file:
        places = [set(map(tuple, films[PLACE].itertuples(index=False))) for films in (table, other)]
        if places[0] != places[1] or len(places[0]) != len(table) or len(places[1]) != len(other):
            return "no film of it is known to be a film of the first run (other data, or hashed under another key)."
    joined = table.merge(other, on=key, suffixes=("", "_other"))
    for column in ("source", "label"):
        theirs = joined[f"{column}_other"]
        if not ((joined[column] == theirs) | (joined[column].isna() & theirs.isna())).all():
            return f"its films have another {column} than those of the first run, so that they are not the same films."
    return joined[[*table, f"score_{number}", f"called_{number}"]]


def _measured(table: pd.DataFrame, runs: int) -> pd.DataFrame:
    scores = table[[f"score_{i}" for i in range(runs)]].to_numpy(float)
    called = table[[f"called_{i}" for i in range(runs)]].to_numpy(object)
    label = table["label"].to_numpy(object)
    wrong = (called != label[:, None]).sum(axis=1).astype(float)
    films = table.drop(columns="file").assign(
        spread=scores.max(axis=1) - scores.min(axis=1) if len(table) else np.empty(0),
        apart=(called != called[:, :1]).any(axis=1),
        wrong=np.where(table["label"].isna(), np.nan, wrong),
    )
    return films.sort_values("spread", ascending=False, kind="stable", ignore_index=True)
