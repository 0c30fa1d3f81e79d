"""The checkpoints to evaluate, with the settings of their runs, and the films that each may be evaluated on."""

import argparse
import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from datasets.cohort.external import NAMES, require_groups
from datasets.cohort.films import Cohort
from datasets.film.identity import KEY_FILE, hash_key
from datasets.sample import Split
from training.bias.evidence import Evidence
from training.console.messages import RESEARCH_ONLY
from training.methods import METHODS
from training.parallel.device import choose_device
from training.parallel.memory import keep_freed_memory
from training.run.biases import reads_bias
from training.run.checkpoint import Calibration
from training.run.checkpoint_header import CheckpointError
from training.run.config import TrainConfig, from_settings
from training.run.reference import Reference, load_reference
from training.run.report import versions
from training.run.site_calibration import FilmCalibration, SiteCalibration, read_site_calibration
from training.scoring.own_predictions import read_own_predictions
from training.scoring.predict import Predictor, predictions_table, read_logits
from training.scoring.score import Scored


class EvaluationError(ValueError):
    """An evaluation that can't be made; the message says why and what to change."""


@dataclass(frozen=True)
class Subject:
    """A checkpoint to evaluate, with the settings of its run where they are known.

    Attributes:
        sites: how films of each site are read, where the user asked for that.
        reference: features of the run's training films; None where it kept none.
    """

    folder: Path
    predictor: Predictor
    config: TrainConfig | None
    sites: SiteCalibration | None = None
    reference: Reference | None = None

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.folder.name

    @cached_property
    def own_predictions(self) -> tuple[pd.DataFrame | None, str]:
        """What `training.scoring.own_predictions` makes of its folder: the table, or None and why."""
        checkpoint = self.predictor.checkpoint
        info = checkpoint.info
        return read_own_predictions(self.folder, info.targets, info.positive_name, checkpoint.metrics)

    def predictions(self, splits: tuple[Split, ...]) -> pd.DataFrame | None:
        """The run's own predictions of these splits, made at the end of its training; None where they can't be used."""
        table, _ = self.own_predictions
        return None if table is None else table[table["split"].isin(splits)].reset_index(drop=True)

    def calibration(self, sources: pd.Series) -> Calibration | FilmCalibration:
        """What films of these sources are read with: the checkpoint's, or that of their sites."""
        own = self.predictor.checkpoint.calibration
        if self.sites is None or own.threshold is None:
            return own
        return self.sites.of(sources.to_numpy(), own.temperature, own.threshold)

    def trained_in(self, data_dir: Path) -> bool:
        """Whether the folder is the one that the run's films came from, so that its splits hold."""
        trained_in = self.config.data_dir if self.config else None
        return trained_in is not None and trained_in.resolve() == data_dir.resolve()


def load_subject(run: Path, device: str) -> Subject:
    """Load a checkpoint and, where its folder holds them, what else is needed of its run.

    Raises CheckpointError or ValueError, before any film is scored.
    """
    predictor = Predictor.load(run, device)
    folder = run if run.is_dir() else run.parent
    file = folder / "config.yaml"
    config = from_settings(file) if file.is_file() else None
    try:
        reference = load_reference(folder)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. Or remove it, and films unlike the training films are not told") from None
    return Subject(folder.resolve(), predictor, config, reference=reference)


def load_subjects(runs: Sequence[Path | str], device: str, by_site: bool = False) -> list[Subject]:
    """Load several checkpoints to compare; raises EvaluationError where two bear one name, else as `load_subject`.

    Args:
        by_site: read films with the site calibration of each run folder; raises SiteCalibrationError where it has none.
    """
    chosen = str(choose_device(device))
    if chosen == "cpu":
        keep_freed_memory()
    subjects = [load_subject(Path(run), chosen) for run in runs]
    names = [subject.name for subject in subjects]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise EvaluationError(f"two of the runs are called {min(twice)}: give each its own folder name")
    if by_site:
        subjects = [dataclasses.replace(one, sites=read_site_calibration(one.folder)) for one in subjects]
    return subjects


def run_key(subject: Subject) -> Path:
    """The file with the key under which the run's own predictions were hashed; it may be gone."""
    return (subject.config.hash_key if subject.config else None) or subject.folder.parent / KEY_FILE


def find_key(output: Path, override: Path | None, subjects: Sequence[Subject] = ()) -> bytes:
    """The key of the nearest folder above the output that has one, else that of the first run, else a new one there."""
    if override is not None:
        return hash_key(output, override)
    above = output.resolve()
    root = next((folder for folder in (above, *above.parents) if (folder / KEY_FILE).is_file()), None)
    of_run = run_key(subjects[0]) if subjects else None
    if root is None and of_run is not None and of_run.is_file():  # so that training films are known by their hashes
        return hash_key(output, of_run)
    return hash_key(root or output)


def evidence_of(subject: Subject, cohort: Cohort, scored: Scored, key: bytes, by: tuple[str, ...]) -> Evidence:
    """What one checkpoint's audit is made from; the predictions have the cohort's columns `by` too.

    Raises:
        EvaluationError, CohortError: as `require_group_columns`.
    """
    info, calibration = subject.predictor.info, subject.calibration(cohort.table["source"])
    require_group_columns(cohort, [column for column in by if column not in {named.name for named in info.named}], "by")
    predictions = predictions_table(cohort, scored.logits, calibration, subject.name, key, by)
    perturbed = {}
    if info.positive is not None:
        for name, logits in scored.perturbed.items():
            perturbed[name] = read_logits(logits, info.positive, subject.predictor.checkpoint.calibration).score
    about = about_of(subject, sorted(set(cohort.table["split"])), len(cohort.excluded))
    training, reference = subject.predictions((Split.TRAIN,)), subject.reference
    return Evidence(
        subject.name, about, info.positive_name, predictions, scored.features, perturbed, training,
        distances=reference.distances(scored.features) if reference is not None else None,
        distance_limit=reference.limit if reference is not None else None,
        notes=(*cohort.notes, *notes_of(subject, set(cohort.table["source"]))),
    )  # fmt: skip


def require_group_columns(cohort: Cohort, by: Collection[str], flag: str) -> None:
    """Refuse columns that the films don't have, or that tell who is who.

    Raises:
        EvaluationError: no such column.
        CohortError: its values name films or patients.
    """
    for name in by:
        if name not in cohort.table:
            known = ", ".join(column for column in cohort.table.columns if column not in NAMES)
            raise EvaluationError(f"{flag} {name}: the films have no such column; they have {known}")
        require_groups(flag, name, cohort.table[name], cohort.table["patient"])


def notes_of(subject: Subject, sources: Collection[str]) -> tuple[str, ...]:
    """What is missing or wrong in the run's folder, and how films of these sources are read, as sentences."""
    table, why = subject.own_predictions
    notes = [] if table is not None else [f"{why}: what needs the run's own training films is left out."]
    return (*notes, *([subject.sites.note(sources)] if subject.sites else []))


def about_report(options: argparse.Namespace, subjects: list[Subject], films: str) -> dict[str, Any]:
    """What the report says of the whole, whichever films these are; nothing in it identifies anyone."""
    return {
        "notice": RESEARCH_ONLY,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "films": films,
        "resamples": options.resamples,
        "permutations": options.permutations,
        "seed": options.seed,
        "prevalence": options.prevalence,
        "synthetic": any(subject.predictor.info.synthetic for subject in subjects),
        "versions": versions(),
    }


def about_of(subject: Subject, splits: list[str], left_out: int) -> dict[str, Any]:
    """What an audit says of a checkpoint: how it was made and how its scores are read; plain values.

    Args:
        left_out: number of rows or files without a score.
    """
    checkpoint, info = subject.predictor.checkpoint, subject.predictor.info
    settings = checkpoint.settings
    used_bias = settings.get("recipe_used_bias", False) or reads_bias(settings)
    return {
        "method": settings.get("method"),
        "model": checkpoint.model.name,
        "seed": settings.get("seed"),
        "training_used_source_labels": used_bias if settings.get("method") in METHODS else None,
        "batches": settings.get("sampler"),
        "attributes": [attribute.name for attribute in info.named],
        "positive": info.positive_name,
        "classes": list(info.targets),
        "threshold": checkpoint.threshold,
        "temperature": checkpoint.temperature,
        "operating_point": settings.get("operating_point"),
        "synthetic": info.synthetic,
        "splits": splits,
        "left_out": left_out,
    }
