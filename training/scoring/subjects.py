"""The checkpoints to evaluate, with the settings of their runs, and the films that each may be evaluated on."""

import argparse
import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datasets.cohort.attributes import as_trained
from datasets.cohort.films import Cohort, CohortError
from datasets.cohort.label_words import LabelMap
from datasets.covid import FilmFolder, load_unseen, resolved
from datasets.film.admission import FLAGS as ADMISSION_FLAGS
from datasets.film.identity import KEY_FILE, hash_key, key_id, keyed_hash
from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.listed import split_names
from datasets.sample import Split
from training.bias.evidence import MAY_BE_TRAINED_ON, Evidence
from training.console.messages import RESEARCH_ONLY
from training.methods import METHODS
from training.parallel.device import choose_device
from training.run.biases import reads_bias
from training.run.checkpoint import Calibration
from training.run.checkpoint_header import CheckpointError
from training.run.config import TrainConfig, from_settings
from training.run.films import cohort_of
from training.run.reference import Reference, load_reference
from training.run.report import versions
from training.run.site_calibration import FilmCalibration, SiteCalibration, read_site_calibration
from training.scoring.own_predictions import KEY, read_own_predictions
from training.scoring.own_predictions import NAME as PREDICTIONS
from training.scoring.predict import Predictor, film_names, predictions_table, read_logits
from training.scoring.score import Scored

# Settings that decide which films a run has, and in which splits.
FILM_SETTINGS = (
    "dataset", "data_dir", "classes", "map", "map_file", "external_sources", "external_column", "rho", "films", "split_seed",
    "separate_copies", "voi", *ADMISSION_FLAGS,
)  # fmt: skip


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


def load_subjects(runs: list[Path], device: str, by_site: bool = False) -> list[Subject]:
    """Load several checkpoints to compare; raises EvaluationError where two bear one name, else as `load_subject`.

    Args:
        by_site: read films with the site calibration of each run folder; raises SiteCalibrationError where it has none.
    """
    chosen = str(choose_device(device))
    subjects = [load_subject(run, chosen) for run in runs]
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


def key_of_training(subject: Subject) -> tuple[bytes, pd.DataFrame]:
    """The key of the run's own predictions, and those of the films that it trained or was calibrated on.

    Raises:
        EvaluationError: which films these are can't be told; the message says why.
    """
    seen, why = subject.predictions((Split.TRAIN, Split.VALIDATION)), subject.own_predictions[1]
    if seen is None:
        raise EvaluationError(why)
    file = run_key(subject)
    if not file.is_file():
        raise EvaluationError(f"the key {file} of the hashes in {PREDICTIONS} of {subject.name} is gone")
    key, known = hash_key(subject.folder.parent, file), seen.attrs.get(KEY)
    if known is not None and known != key_id(key):
        raise EvaluationError(f"{file} is not the key of the hashes in {PREDICTIONS} of {subject.name}")
    return key, seen


def or_allowed(subject: Subject, why: str, allowed: bool) -> str:
    """The note that training films may be among the films; raises EvaluationError unless the user allowed that."""
    if not allowed:
        raise EvaluationError(
            f"{why}, so that films it was trained on can't be left out. Mend that, or pass --allow-training-films if "
            f"you know that {subject.name} saw none of these films"
        )
    return f"{MAY_BE_TRAINED_ON}: {why}, and --allow-training-films was given."


def same_films(subjects: list[Subject], data_dir: Path | None) -> list[list[Subject]]:
    """The runs in sets that are judged on the very same films, so that these are decoded once for all of a set."""
    sets: dict[Any, list[Subject]] = {}
    for subject in subjects:
        info, config = subject.predictor.info, subject.config
        if data_dir is not None and not subject.trained_in(data_dir):
            identity: Any = (info.name, info.targets, subject.predictor.checkpoint.preprocessing.voi)
        elif config is None:
            unknown = f"{subject.folder} has no config.yaml, so its own films are not known: give --data-dir"
            raise EvaluationError(unknown)
        else:
            identity = tuple(getattr(config, name) for name in FILM_SETTINGS)
            if info.name == "biased-mnist":  # its digits come resized
                identity += (subject.predictor.checkpoint.preprocessing,)
        sets.setdefault(identity, []).append(subject)
    return list(sets.values())


def films_of(
    together: list[Subject],
    data_dir: Path | None,
    split: str,
    allow_training_films: bool = False,
    policy: DicomPolicy = DEFAULT,
    words: LabelMap | None = None,
) -> Cohort:
    """The films that a set of `same_films` is judged on.

    Args:
        data_dir: another cohort, of which the films that any of the runs was trained or calibrated on are left out; None, or
            the folder of the runs' own films, for these.
        split: which of the runs' own splits, separated by commas.
        allow_training_films: go on where films that a run was trained on can't be told; the cohort's notes say it then.
        policy: which DICOM films of another cohort are admitted; a run's own are those of its training.
        words: what the words of another cohort's labels mean.

    Raises:
        EvaluationError: no such split, films that can't be loaded, or training films that can't be told or left out.
    """
    first, named = together[0], [a for subject in together for a in subject.predictor.info.named]
    checkpoint, config = first.predictor.checkpoint, first.config
    if data_dir is not None and not first.trained_in(data_dir):
        cohort = load_unseen(data_dir, checkpoint.preprocessing, checkpoint.info, policy, words)
        for subject in together:
            cohort = without_trained_on(cohort, subject, allow_training_films)
        if not len(cohort.table):
            raise EvaluationError(
                f"--data-dir {data_dir}: the runs were trained on all of its films; none is left to audit"
            )
        return as_trained(cohort, named)
    assert config is not None
    splits = split_names(split)
    if not splits or set(splits) - set(Split):
        raise EvaluationError(f"--split {split}: choose from {', '.join(Split)}, separated by commas")
    try:
        cohort = cohort_of(config, checkpoint.preprocessing)
    except CohortError as error:
        raise EvaluationError(f"the films of {first.name} can't be loaded: {error}. --data-dir names others") from None
    cohort = as_trained(cohort, named)
    chosen = cohort.table["split"].isin(splits).to_numpy()
    for subject in together if Split.TRAIN in splits else ():
        chosen = chosen & ((cohort.table["split"] != str(Split.TRAIN)).to_numpy() | _trained_on(subject, cohort))
    kept = np.flatnonzero(chosen)
    if not len(kept):
        raise EvaluationError(f"{first.name}: none of its films is in split {split}")
    cohort = cohort.part(kept.tolist())
    if not set(splits) & {Split.TRAIN, Split.VALIDATION}:
        for subject in together:
            require_unseen(cohort, subject)
    return cohort


def without_trained_on(cohort: Cohort, subject: Subject, allowed: bool = False) -> Cohort:
    """Leave out films that the run trained or was calibrated on, known by the hashes of path and patient in its folder.

    A cohort without patient_id has paths alone, and one that is also a training film's need not be the same film.

    Raises:
        EvaluationError: these films can't be told, unless that is `allowed`; the cohort has a note then.
    """
    try:
        key, seen = key_of_training(subject)
    except EvaluationError as error:
        return with_note(cohort, or_allowed(subject, str(error), allowed))
    shared = shares_films(cohort, key, seen)
    if "patient_id" not in cohort.table:
        named = set(seen["file"])
        alike = sum(keyed_hash(key, path) in named for path in cohort.table["path"])
        if not alike:
            return cohort
        why = f"{alike} of the films have the path of a training film of {subject.name}, and metadata.csv has no patient_id"
        return with_note(cohort, or_allowed(subject, why, allowed))
    reasons = dict.fromkeys(shared, f"{subject.name} was trained on it")
    return cohort.without(reasons) if reasons else cohort


def require_unseen(cohort: Cohort, subject: Subject) -> None:
    """Refuse test films of a run that it was trained on, as they are where metadata.csv was changed since."""
    try:
        key, seen = key_of_training(subject)
    except EvaluationError:
        return  # the splits are those of the run's own settings; nothing says that they have changed
    if shared := shares_films(cohort, key, seen):
        raise EvaluationError(
            f"{subject.name} was trained on {len(shared)} of the {len(cohort.table)} films that are now in its test splits: "
            "its films have changed since; train it again, or give the films that it never saw as --data-dir"
        )


def shares_films(cohort: Cohort, key: bytes, seen: pd.DataFrame) -> list[int]:
    """Positions of the films whose hashes of both file and patient are among those seen."""
    pairs, table = set(zip(seen["file"], seen["patient"], strict=True)), cohort.table
    return [
        position
        for position, (name, patient) in enumerate(zip(film_names(cohort), table["patient"], strict=True))
        if (keyed_hash(key, name), keyed_hash(key, patient)) in pairs
    ]


def _trained_on(subject: Subject, cohort: Cohort) -> np.ndarray:
    """Which training films of the run's own cohort it drew, from its predictions: all, unless --redraw left some out."""
    if subject.config is None or subject.config.redraw == 1:
        return np.ones(len(cohort.table), bool)
    seen = subject.predictions((Split.TRAIN,))
    if seen is None:
        raise EvaluationError(f"which training films {subject.name} drew can't be told: {subject.own_predictions[1]}")
    return cohort.table["row"].isin(seen["row"]).to_numpy()


def with_note(cohort: Cohort, note: str) -> Cohort:
    """The cohort with one note more."""
    return dataclasses.replace(cohort, notes=(*cohort.notes, note))


def lung_masks(cohort: Cohort, root: Path | None) -> FilmFolder | None:
    """Where the column `mask` of metadata.csv says that the lungs are; None unless it does for every film.

    Masks are images of the films' shape, lungs white on black, paths relative to the cohort's folder `root`.

    Raises:
        EvaluationError: a mask that leaves the folder, or can't be the name of a file.
    """
    table = cohort.table
    if root is None or "mask" not in table or (table["mask"] == "").any():
        return None
    for row, path in zip(table["row"], table["mask"], strict=True):
        place = resolved(root, path)
        if place is None:
            raise EvaluationError(f"line {row + 2} of metadata.csv: its mask is no name of a file")
        if not place.is_relative_to(root.resolve()):
            raise EvaluationError(f"line {row + 2} of metadata.csv: the mask {path} leaves the folder")
    return FilmFolder(root, table["mask"].tolist(), masks=True)


def evidence_of(subject: Subject, cohort: Cohort, scored: Scored, key: bytes, by: tuple[str, ...]) -> Evidence:
    """What one checkpoint's audit is made from; the predictions have the cohort's columns `by` too."""
    info, calibration = subject.predictor.info, subject.calibration(cohort.table["source"])
    predictions = predictions_table(cohort, scored.logits, calibration, subject.name, key, by)
    perturbed = {}
    if info.positive is not None:
        for name, logits in scored.perturbed.items():
            perturbed[name] = read_logits(logits, info.positive, calibration).score
    about = about_of(subject, sorted(set(cohort.table["split"])), len(cohort.excluded))
    training, reference = subject.predictions((Split.TRAIN,)), subject.reference
    return Evidence(
        subject.name, about, info.positive_name, predictions, scored.features, perturbed, training,
        distances=reference.distances(scored.features) if reference is not None else None,
        distance_limit=reference.limit if reference is not None else None,
        notes=(*cohort.notes, *notes_of(subject, set(cohort.table["source"]))),
    )  # fmt: skip


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
