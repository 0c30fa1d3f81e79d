"""The trainings of a cross-validation, and what a line of its record says of one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from datasets.cohort.external import values_of
from datasets.cohort.films import Cohort
from datasets.cohort.parquet_table import read_parquet
from training.bias.report.plain import plain
from training.loop.divergence import DivergenceError
from training.recipe.candidate import Candidate
from training.run.config import TrainConfig
from training.run.existing import WITHOUT_EFFECT
from training.run.films import fingerprint
from training.run.record import require_films, require_settings, settings_in_line
from training.run.report import machine

VARIES = ("external_sources", "external_column", "seed", "paired", "separate_copies", "cache", *WITHOUT_EFFECT)
"""Settings that are no part of a line: they follow from what it holds out, have a place of their own, or change no result."""


@dataclass(frozen=True)
class Job:
    """One training: a candidate on all films but those of a column's value."""

    column: str
    value: str
    candidate: Candidate
    seed: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells the job from any other of a record."""
        return self.column, self.value, self.candidate.name, self.seed


def films_of(whole: Cohort, column: str) -> str:
    """What a line says of the cohort that its fold is of."""
    return fingerprint(whole, values_of(whole.table, column))


def whole_key_of(line: dict[str, Any]) -> tuple[str, str, str, int]:
    """`key_of`; raises KeyError, TypeError or ValueError for a line that lacks what the table is made of."""
    line["machine"], line["synthetic"], line["settings"]["redraw"], line["films"]
    require_films(line["held_out"], ("positive",), ("row", "patient", "score"))
    return key_of(line)


def key_of(line: dict[str, Any]) -> tuple[str, str, str, int]:
    """`Job.key` of the job that a line is of; raises KeyError for a line of another benchmark."""
    line["held_out"]["patient"]
    return Job(line["column"], line["value"], candidate_of(line), line["seed"]).key


def candidate_of(line: dict[str, Any]) -> Candidate:
    """The candidate that a line is of."""
    return Candidate.parse(f"{line['method']}:{line['variant']}" if line["variant"] else line["method"])


def line_of(job: Job, config: TrainConfig, films: Callable[[], Cohort], whole: Cohort) -> dict[str, Any]:
    """Train, or find what was trained; the scores of the films held out, without a name or a place.

    Args:
        config: of the run.
        films: of the fold, drawn for the seed.
        whole: the cohort that the folds are of.

    Raises:
        ValueError: the training ended in numbers that are not finite; the message names the job.
    """
    started = time.perf_counter()
    try:
        run = job.candidate.obtain(config, films)
    except DivergenceError as error:
        raise ValueError(f"{job.candidate.name}, seed {job.seed}: {error}") from error
    scored = read_parquet(run.folder / "predictions.parquet").sort_values("row")
    patients = pd.Series(pd.factorize(whole.table["patient"])[0], index=whole.table["row"].to_numpy())
    seen, held_out = (scored[scored["split"] == split] for split in ("train", "external"))
    return {
        "column": job.column, "value": job.value, "seed": job.seed,
        "method": job.candidate.method, "variant": job.candidate.variant, "settings": settings_in_line(config, *VARIES),
        "films": films_of(whole, job.column),
        "trained": {"films": len(seen), "patients": int(seen["patient"].nunique())},
        "leak": plain(run.metrics["test"].get("leak")),
        "synthetic": run.synthetic,
        "held_out": {
            "row": held_out["row"].astype(int).tolist(),
            "patient": patients[held_out["row"]].astype(int).tolist(),
            "source": held_out["source"].astype(str).tolist() if job.column != "source" else [],
            "positive": "".join(str(int(name == whole.info.positive_name)) for name in held_out["target"]),
            "score": [float(f"{value:.7g}") for value in held_out["score"]],
        },
        "seconds": round(time.perf_counter() - started, 1), "machine": machine(),
    }  # fmt: skip


def require_same(lines: Sequence[dict[str, Any]], jobs: Sequence[Job], given: TrainConfig, whole: Cohort) -> None:
    """Raise ValueError where a record is of other films, or a job was run with other settings; the message says which."""
    columns = {job.column for job in jobs}
    if other := {line["column"] for line in lines} - columns:
        raise ValueError(f"--record has films held out by {', '.join(sorted(other))}: give another --record")
    if {line["films"] for line in lines} - {films_of(whole, column) for column in columns}:
        raise ValueError(
            "--record holds runs on other films: their files, labels, patients or sources are not those of metadata.csv. "
            "Give another --record, or another --output"
        )
    finished = {key_of(line): line for line in lines}
    for job in jobs:
        if job.key in finished:
            config = job.candidate.settings(given.with_settings(seed=job.seed))
            name = f"{job.candidate.name} without {job.value}, seed {job.seed},"
            require_settings(settings_in_line(config, *VARIES), finished[job.key], name)


def scores_of(lines: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row a film that was held out, as `compare_held_out` takes it, over the seeds that every candidate has everywhere.

    A value that some candidate was never trained without is left out.

    Raises:
        ValueError: no seed is finished with all candidates, or lines of one value have other films.
    """
    names = list(dict.fromkeys(candidate_of(line).name for line in lines))
    runs = {(line["value"], candidate_of(line).name, line["seed"]): line["held_out"] for line in lines}
    seeds_of = {
        (value, name): {seed for v, n, seed in runs if (v, n) == (value, name)} for value, name, _ in runs
    }  # fmt: skip
    values = [v for v in dict.fromkeys(value for value, *_ in runs) if all((v, name) in seeds_of for name in names)]
    seeds = sorted(set.intersection(*(seeds_of[value, name] for value in values for name in names))) if values else []
    if not seeds:
        raise ValueError("no seed is finished with every method yet; the same command continues")
    tables = []
    for value in values:
        films = runs[value, names[0], seeds[0]]
        columns = {}
        for name, seed in product(names, seeds):
            own = runs[value, name, seed]
            if any(own[kind] != films[kind] for kind in ("row", "patient", "positive")):
                raise ValueError(f"--record holds other films of {value} in seed {seed}: give another --record")
            columns[f"{name}:{seed}"] = own["score"]
        table = pd.DataFrame({"held_out": value, "row": films["row"], "patient": films["patient"]})
        table["source"], table["is_positive"] = films["source"] or value, np.array(list(films["positive"])) == "1"
        tables.append(table.assign(**columns))
    return pd.concat(tables, ignore_index=True)


def seeds_in(scores: pd.DataFrame) -> list[int]:
    """The seeds that a table of scores is over."""
    return sorted({int(str(name).rpartition(":")[2]) for name in scores if ":" in str(name)})
