"""The trainings of a study, one after another, each as `training.train` would do it on the folder of its draw."""

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from datasets.cohort.attributes import check_attributes
from datasets.cohort.films import Cohort
from datasets.cohort.label_words import BINARY
from datasets.film.identity import KEY_FILE
from datasets.listed import quoted
from training.benchmark.planted.draw import TRUTH
from training.benchmark.planted.runs import ERM, Job, run, settings_of
from training.benchmark.planted.study import Study
from training.console.commandline import flag_name
from training.loop.prepare import prepare
from training.loop.tables import show_cohort
from training.recipe.candidate import Candidate
from training.run.config import TrainConfig, parse

ELSEWHERE = {
    "seed": "--seeds says how many seeds there are",
    "paired": "every method is set beside ERM anyway",
    "resume": "the same command continues where it was stopped",
    "classes": "--target names the two labels",
    "redraw": "each seed draws training patients anyway",
    "external_column": "whole sources are kept apart here, not values of another column",
}


class Places(NamedTuple):
    """Where things are below the output folder.

    Attributes:
        given_key: the key file that the user names.
    """

    output: Path
    given_key: Path | None

    @property
    def films(self) -> Path:
        """Planted films."""
        return self.output / "films"

    @property
    def cohorts(self) -> Path:
        """The folder of each draw."""
        return self.output / "cohorts"

    @property
    def key_file(self) -> Path:
        """The key of all hashes, one for all runs."""
        return self.given_key or self.output / KEY_FILE

    def runs(self, rho: float) -> Path:
        """Run folders."""
        return self.output / f"rho-{rho:g}"


def settings_given(
    forwarded: Sequence[str], candidates: list[Candidate], real_sources: bool, bias: str | None = None
) -> TrainConfig:
    """The settings that all trainings share.

    Args:
        bias: what all trainings are measured by, and EnD's terms are of, unless a candidate says otherwise; None: as given.

    Raises:
        ValueError: a setting that has another place here, or a candidate's that doesn't exist or is out of range.
    """
    methods = list(dict.fromkeys([ERM.method, *(candidate.trained_as for candidate in candidates)]))
    given = parse(forwarded, methods)
    for name, why in ELSEWHERE.items():
        if given.given.get(name) is not None:
            raise ValueError(f"{flag_name(name)}: {why}")
    if given.dataset != "covid" or given.data_dir is None:
        raise ValueError("planted needs films to plant into: give --data-dir, a folder with metadata.csv")
    if given.external_sources and not real_sources:
        raise ValueError("--external-sources goes with --real-sources; --sources names those whose films are planted")
    if bias is not None:
        if given.bias != "source":
            raise ValueError(
                f"--bias {given.bias}: --pair has its own, {bias}; a method can differ (end:bias={bias}:0)"
            )
        given = given.with_settings(bias=bias)
    for candidate in candidates:
        settings_of(Job(candidate, TRUTH, 0), given)
    return given


def train_all(
    study: Study, jobs: list[Job], given: TrainConfig, places: Places, console: Console
) -> Iterator[dict[str, Any]]:
    """Each job's line as it finishes; how far it is, and the time left, is printed before each.

    A training that was stopped is resumed, and one that is finished but not recorded is measured again.
    """
    info, shared, shown = study.films.cohort.info, study.line(), set[float]()
    classes = None if info.targets == BINARY else ",".join(map(quoted, info.targets))

    @lru_cache(maxsize=1)  # the methods of one seed and rho follow one another, on the same films
    def films(rho: float, seed: int) -> Cohort:
        cohort = prepare(config, Console(quiet=True))  # its notes tell of the draw, not of the user's films
        if rho not in shown:
            shown.add(rho)
            show_cohort(console, cohort, check_attributes(cohort, config.batch_size).values())
        return cohort

    started = time.monotonic()
    for number, job in enumerate(jobs):
        folder = study.folder(places.cohorts, job.rho, job.seed)
        config = settings_of(job, given).with_settings(
            data_dir=folder, classes=classes, output=places.runs(job.rho), hash_key=places.key_file
        )
        seconds = (time.monotonic() - started) / max(number, 1) * (len(jobs) - number)
        left = f", about {max(1, round(seconds / 60))} min left" if number else ""
        console.print(f"[bold]{job.name}[/bold] ({number + 1} of {len(jobs)}{left})", highlight=False)
        line = shared | run(job, config, partial(films, job.rho, job.seed), study.design, str(info.positive_name))
        console.print(f"  {_result(line)}", markup=False, highlight=False)
        yield line


def _result(line: dict[str, Any]) -> str:
    if "failed" in line:
        return str(line["failed"])
    numbers = {name: line[name] for name in ("auroc", "leak") if line[name] is not None}
    return ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()) + f" ({line['seconds']:.0f} s)"
