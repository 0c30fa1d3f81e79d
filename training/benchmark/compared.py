"""What is compared of a method and ERM: numbers of shared test films over patients and seeds, or numbers of each run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from training.bias.numbers.alignment import alignment, majority_targets
from training.bias.numbers.auroc import mixed_strata
from training.bias.numbers.interval import Interval
from training.bias.numbers.two_level import (
    SeedDifference,
    auroc_difference_over_seeds,
    auroc_over_seeds,
    difference_of_seeds,
    share_difference_over_seeds,
    share_over_seeds,
)
from training.bias.numbers.uncertainty import seed_interval
from training.bias.report.plain import plain
from training.run.report import RunResult

JUDGED = ("test", "external")


@dataclass(frozen=True)
class Row:
    """A number of both methods, `own` by name with its interval, and their difference.

    Attributes:
        part: which films.
        over: `patients and seeds`, or `seeds` alone.
        counts: films and patients, or nothing where each seed has its own.
        by_seed: each run's number by method, where runs were measured one by one.
    """

    part: str
    metric: str
    over: str
    own: dict[str, Interval]
    difference: SeedDifference
    counts: dict[str, int] = field(default_factory=dict)
    by_seed: dict[str, list[float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values; `in_favour` counts the seeds with a gain."""
        values = {"part": self.part, "metric": self.metric, "over": self.over, **self.counts, **plain(self.own)}
        values |= {"difference": plain(self.difference.interval), "p": plain(self.difference.p)}
        if self.by_seed:
            erm, ours = self.by_seed.values()
            gaps = np.subtract(ours, erm)
            values |= {
                "by_seed": self.by_seed,
                "in_favour": int((gaps < 0 if self.metric == "leak" else gaps > 0).sum()),
            }
        return values


def over_seeds(runs: Sequence[tuple[RunResult, RunResult]], method: str, part: str, metric: str) -> Row | None:
    """A metric of each run, compared over seeds alone; None where no pair of runs has it."""
    pairs = np.array([[run.metrics[part].get(metric, np.nan) for run in both] for both in runs], dtype=float)
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    if not len(pairs):
        return None
    by_seed = {"erm": pairs[:, 0].tolist(), method: pairs[:, 1].tolist()}
    own = {name: seed_interval(np.array(values)) for name, values in by_seed.items()}
    return Row(part, metric, "seeds", own, difference_of_seeds(pairs[:, 1] - pairs[:, 0]), by_seed=by_seed)


def over_patients(tables: Sequence[Sequence[pd.DataFrame]], positive: str | None, method: str) -> list[Row]:
    """AUROC of each part of the films, and the accuracy on conflicting test films, over patients and seeds.

    Args:
        tables: predictions of ERM and of the method, for each seed; all hold the same test and external films.
        positive: None where no class is positive: there is no AUROC then.
    """
    judged = [[_judged_films(table) for table in both] for both in tables]
    films = judged[0][0]
    if any(not table["row"].equals(films["row"]) for both in judged for table in both):
        raise ValueError("the runs have other test films: some could not be decoded by one of them; train both anew")
    y, patient = (films["target"] == positive).to_numpy(), films["patient"].to_numpy()
    names = ("erm", method)
    rows = []
    for name, at, stratum in _parts(films, y) if positive is not None else ():
        erm, ours = (np.stack([both[i]["score"].to_numpy(float)[at] for both in judged], axis=1) for i in (0, 1))
        own = {n: auroc_over_seeds(y[at], v, patient[at], stratum) for n, v in zip(names, (erm, ours), strict=True)}
        gap = auroc_difference_over_seeds(y[at], ours, erm, patient[at], stratum)
        rows.append(Row(name, "auroc", "patients and seeds", own, gap, _counts(patient[at])))
    at = _conflicting(tables, films)
    if len(at):
        target, of = films["target"].to_numpy(), patient[at]
        hits = [np.stack([(b[i]["prediction"] == target).to_numpy() for b in judged], axis=1)[at] for i in (0, 1)]
        own = {n: share_over_seeds(hit, of, target[at]) for n, hit in zip(names, hits, strict=True)}
        gap = share_difference_over_seeds(hits[1], hits[0], of, target[at])
        rows.append(Row("test, conflicting films", "accuracy", "patients and seeds", own, gap, _counts(of)))
    return rows


def _judged_films(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["split"].isin(JUDGED)].reset_index(drop=True)


def _parts(films: pd.DataFrame, y: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """Each split, and of several sources its pairs of films of one source, and each source that has both classes."""
    for split in JUDGED:
        rows = np.flatnonzero(films["split"] == split)
        if not len(rows):
            continue
        source = films["source"].to_numpy(str)[rows]
        if len(set(source)) == 1:
            yield f"{split}, {source[0]}", rows, None
            continue
        yield f"{split}, all sources", rows, None
        mixed = mixed_strata(y[rows], source)
        if len(mixed) > 1:
            yield f"{split}, within sources", rows, source
        for at in mixed:
            yield f"{split}, within {source[at[0]]}", rows[at], None


def _conflicting(tables: Sequence[Sequence[pd.DataFrame]], films: pd.DataFrame) -> np.ndarray:
    """Test films whose label is not their source's usual one in the training films of all seeds together."""
    trained_on = pd.concat([both[0][both[0]["split"] == "train"] for both in tables])
    side = alignment(films["target"], films["source"], majority_targets(trained_on["target"], trained_on["source"]))
    return np.flatnonzero((side == "conflicting") & (films["split"] == "test"))


def _counts(patient: np.ndarray) -> dict[str, int]:
    return {"films": len(patient), "patients": len(set(patient))}
