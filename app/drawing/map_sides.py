"""The two maps of the feature space as one table: the films they share, each run's scores and calls, groups of films."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from app.numbers.feature_maps import RIGHT, ProbeFilms, same_films
from training.run.index import RunEntry


class Side(NamedTuple):
    """One of the maps: a run, its films (with `film`, which names a film on both sides) and its features."""

    entry: RunEntry
    label: str  # short name of the run
    run: ProbeFilms
    films: pd.DataFrame


def sides_of(runs: Sequence[tuple[RunEntry, str, ProbeFilms]]) -> tuple[list[Side], bool]:
    """The maps of one or two runs, and whether a film of one is a film of the other."""
    linked = len(runs) < 2 or same_films(runs[0][2], runs[1][2])
    sides = []
    for number, (entry, label, run) in enumerate(runs):
        film = run.films["row"] if linked or not number else -1 - run.films["row"]
        sides.append(Side(entry, label, run, run.films.assign(film=film)))
    return sides, linked


def named(sides: Sequence[Side]) -> list[tuple[str, Side]]:
    """Each map with `, left` or `, right`; alone it needs neither."""
    return list(zip([""] if len(sides) == 1 else [", left", ", right"], sides, strict=True))


def scores_of(sides: Sequence[Side]) -> pd.DataFrame:
    """All films, a row each by `film`: row, split, source, label, and the score and call of each run."""
    known = pd.concat([side.films for side in sides]).drop_duplicates("film").set_index("film")
    table = known[["row", "split", "source", "target"]].rename(columns={"target": "label"})
    for what, title in (("score", "score"), ("prediction", "called")):
        for place, side in named(sides):
            table[title + place] = side.films.set_index("film")[what]
    return table


def named_groups(sides: Sequence[Side], table: pd.DataFrame) -> dict[str, list[int]]:
    """Groups of films worth a look; each name says what the films share and how many they are.

    Args:
        table: from `scores_of`.
    """
    groups = {}
    if len(sides) == 2:
        calls = table[["called, left", "called, right"]].dropna()
        groups["called differently by the two"] = list(calls.index[calls.iloc[:, 0] != calls.iloc[:, 1]])
    for side in sides:
        groups[f"wrong in {side.label}"] = list(side.films.loc[side.films["outcome"] != RIGHT, "film"])
    for source, films in table.groupby("source"):
        groups[f"all from {source}"] = list(films.index)
    return {f"{name} ({len(members)})": [int(film) for film in members] for name, members in groups.items() if members}
