"""What training.train does: one run, or a method beside its ERM twin, and the summary of both."""

import dataclasses
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from datasets.film.identity import hash_key, hashed_by, key_id
from training.console.interruption import stopping_at_once
from training.console.messages import ERRORS, mistakes_as_sentences
from training.loop.archive import from_archive
from training.loop.obtain import conclude, obtain, train
from training.loop.prepare import prepare, try_out
from training.loop.tables import show_results
from training.parallel.ranks import first_goes_first, is_first, process_group
from training.run.archive import Archive
from training.run.config import AUTO, TrainConfig
from training.run.report import RunResult, write_result

OTHER_KEY = (
    "metadata.csv has hashes of patients by another key than this run's: in a folder of DICOM films that is scored later, "
    "patients of this training can't be told. Give the key that datasets.prepare used with --hash-key."
)

BATCHES_DIFFER = (
    "{0.method} was trained on {0.sampler} batches, erm on plain ones. What the batches alone do: train once more with "
    "--method erm --sampler {0.sampler}"
)


def train_and_show(config: TrainConfig, json_on_terminal: bool = False, archive: Archive | None = None) -> None:
    """Train, print the summary and the command that audits the runs, then `--result` and one JSON object for programs.

    The cohort of an archive is made first.
    """
    with mistakes_as_sentences("interrupted"), stopping_at_once(), own_mistakes(), process_group():
        console = Console(quiet=not is_first(), emoji=False)
        ERRORS.quiet = not is_first()
        if archive is not None:
            try_out(config)
            config = from_archive(archive, config)
        cohort = prepare(config, console)
        with first_goes_first():
            config.output.mkdir(parents=True, exist_ok=True)
            key = hash_key(config.output, config.hash_key)  # one that can't be read shows before training, not after
        if {hashed_by(patient) for patient in cohort.table["patient"]} - {None, key_id(key)}:
            console.print(OTHER_KEY, style="yellow", highlight=False, markup=False)
        twin = [config.with_settings(method="erm", paired=False)] if config.paired else []
        runs: list[RunResult] = []
        for training in [*twin, config]:
            if config.resume == AUTO:
                runs.append(obtain(dataclasses.replace(training, resume=None), lambda: cohort, beside=runs))
            else:
                runs.append(train(training, cohort))
                conclude(runs)
        if is_first():
            show_results(console, runs, cohort.info)
            if any(plain.sampler != config.sampler for plain in twin):
                console.print(BATCHES_DIFFER.format(config), highlight=False, markup=False)
            command = shlex.join(["python", "-m", "training.evaluate", *(str(run.folder) for run in runs)])
            console.print(f"next, the audit: {command}", highlight=False, markup=False, soft_wrap=True)
            write_result(runs, json_on_terminal)


@contextmanager
def own_mistakes() -> Iterator[None]:
    """Only the first process prints, but each prints its own mistakes, such as a film that it can't read."""
    try:
        yield
    except (ValueError, OSError):
        ERRORS.quiet = False
        raise
