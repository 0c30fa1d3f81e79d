"""The trainings of a study, and what a line of its record says of one."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from datasets.cohort.films import Cohort
from datasets.cohort.parquet_table import read_parquet
from datasets.sample import Split
from training.benchmark.planted.draw import TRUTH, Design
from training.bias.report.plain import plain
from training.loop.divergence import DivergenceError
from training.recipe.candidate import Candidate
from training.run.config import TrainConfig
from training.run.record import require_films, require_settings, settings_in_line
from training.run.report import by_attribute, machine

ERM = Candidate("erm")
PARTS = (str(Split.TEST), str(Split.EXTERNAL))
VARIES = ("seed", "paired", "split_seed", "classes")
"""Settings that are no part of a line's: they are the study's, or have a place of their own."""


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        seed: of the draw of patients, the initial weights and the order.
    """

    candidate: Candidate
    rho: float
    seed: int

    @property
    def key(self) -> str:
        """What tells the job from any other of the study."""
        return f"{self.candidate.name} {self.rho} {self.seed}"

    @property
    def name(self) -> str:
        """For the terminal."""
        return f"seed {self.seed}, rho {self.rho:g}, {'truth' if self.rho == TRUTH else self.candidate.name}"


def jobs_of(candidates: Iterable[Candidate], rhos: Sequence[float], seeds: range) -> list[Job]:
    """Seed by seed, so that what is finished is a whole table of fewer seeds; first the truth, then ERM."""
    compared = list(dict.fromkeys([ERM, *candidates]))
    return [
        job
        for seed in seeds
        for job in (Job(ERM, TRUTH, seed), *(Job(candidate, rho, seed) for rho in rhos for candidate in compared))
    ]


def key_of(line: dict[str, Any]) -> str:
    """`Job.key` of the job that a line is of; raises KeyError for a line of another benchmark."""
    line["design"], line["films"]
    return Job(candidate_of(line), line["rho"], line["seed"]).key


def whole_key_of(line: dict[str, Any]) -> str:
    """`key_of`; raises KeyError, TypeError or ValueError for a finished line that lacks what the tables are made of."""
    if "failed" not in line:
        line["targets"], line["own"]
        float(line["leak"] or 0)
        for part in [str(Split.TEST), *(part for part in PARTS if part in line)]:
            require_films(line[part], ("positive", "follows", "right"), ("patient", "source", "logit"))
    return key_of(line)


def candidate_of(line: dict[str, Any]) -> Candidate:
    """The candidate that a line is of."""
    return Candidate.parse(f"{line['method']}:{line['variant']}" if line["variant"] else line["method"])


def settings_of(job: Job, given: TrainConfig) -> TrainConfig:
    """The settings of a job, without its places; raises ValueError for one that doesn't exist or is out of range."""
    return job.candidate.settings(given.with_settings(seed=job.seed))


def recorded(config: TrainConfig) -> dict[str, Any]:
    """The settings that a line has."""
    return settings_in_line(config, *VARIES)


def require_same(lines: list[dict[str, Any]], jobs: list[Job], given: TrainConfig, study: dict[str, Any]) -> None:
    """Raise ValueError where the record is of another study, or a job was run with other settings; the message says which."""
    for line in lines:
        for name, value in study.items():
            if line[name] != value:
                raise ValueError(
                    f"--record holds a study of other {name} ({line[name]}, here {value}): give another --record"
                )
    finished = {key_of(line): line for line in lines}
    for job in jobs:
        if job.key in finished:
            require_settings(recorded(settings_of(job, given)), finished[job.key], job.name)


def run(job: Job, config: TrainConfig, cohort: Callable[[], Cohort], design: Design, positive: str) -> dict[str, Any]:
    """Train, or find what was trained, and measure; a training that diverges is recorded with its reason, without numbers.

    Args:
        positive: name of the positive class.
    """
    started = time.perf_counter()
    line: dict[str, Any] = {
        "rho": job.rho, "seed": job.seed, "method": job.candidate.method, "variant": job.candidate.variant,
        "settings": recorded(config),
    }  # fmt: skip
    try:
        result = job.candidate.obtain(config, cohort)
    except DivergenceError as error:
        return line | {"failed": str(error).replace(f"{config.output}{os.sep}", "")}  # no place on this machine
    scored = read_parquet(result.folder / "predictions.parquet").sort_values("row")
    numbers = {"auroc": result.metrics["test"]["auroc"], "leak": result.metrics["test"]["leak"]}
    numbers |= {"leak_chance": result.metrics["test"]["leak_chance"]}
    numbers |= {name: result.metrics["test"][name] for name in map(leak_of, design.others)}
    numbers["validation_auroc"] = result.metrics["validation"]["auroc"]
    trained = scored[scored["split"] == str(Split.TRAIN)]
    line |= plain(numbers) | {"trained": {"films": len(trained), "patients": trained["patient"].nunique()}}
    for part in PARTS:
        films = scored[scored["split"] == part]
        line |= {part: films_of(films, positive, design.own, design.others)} if len(films) else {}
    return line | {"seconds": round(time.perf_counter() - started, 1), "machine": machine()}


def leak_of(attribute: str) -> str:
    """The entry of a line with the leak of an attribute."""
    return "leak" if attribute == "source" else by_attribute("leak", attribute)


def follows_of(attribute: str) -> str:
    """The entry of a line's films that says whether the label is an attribute's own."""
    return "follows" if attribute == "source" else f"follows_{attribute}"


def films_of(
    scored: pd.DataFrame, positive: str, own: dict[str, int], others: dict[str, dict[str, int]] | None = None
) -> dict[str, Any]:
    """What a line has of films, in the order of metadata.csv: patients by number, no name and no hash.

    `positive`, `follows` (the label is the source's own) and `right` (called right, at the run's threshold) have a digit a
    film; films of external sources, which have no own label, are `2` in `follows`. Each further attribute that is planted has
    an entry like `follows` (`follows_of`).
    """
    is_positive = (scored["target"] == positive).to_numpy()
    source = scored["source"].to_numpy()
    follows = [
        2 if name not in own else int(own[name] == truth) for name, truth in zip(source, is_positive, strict=True)
    ]
    return {
        "patient": pd.factorize(scored["patient"])[0].tolist(),
        "sources": sorted(set(source)),
        "source": pd.factorize(source, sort=True)[0].tolist(),
        "positive": _digits(is_positive),
        "follows": _digits(follows),
        **{
            follows_of(name): _digits(scored[name].map(owns).to_numpy() == is_positive)
            for name, owns in (others or {}).items()
        },
        "right": _digits(scored["target"] == scored["prediction"]),
        "logit": [round(float(value), 3) for value in scored["logit"]],
    }


def _digits(values: Iterable[Any]) -> str:
    return "".join(str(int(value)) for value in np.asarray(list(values)))
