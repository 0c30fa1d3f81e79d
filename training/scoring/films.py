"""The films that runs may be judged on: their own test films, or others without those that they were trained on."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datasets.cohort.attributes import as_trained
from datasets.cohort.films import Cohort, CohortError
from datasets.cohort.label_words import LabelMap
from datasets.covid import load_unseen
from datasets.film.admission import FLAGS as ADMISSION_FLAGS
from datasets.film.identity import hash_key, key_id, keyed_hash
from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.listed import split_names
from datasets.sample import Split
from datasets.spelling import spellings_of_number
from training.bias.evidence import MAY_BE_TRAINED_ON, TRAINED_ON
from training.run.films import cohort_of, film_names
from training.scoring.own_predictions import KEY
from training.scoring.own_predictions import NAME as PREDICTIONS
from training.scoring.subjects import EvaluationError, Subject, run_key

# Settings that decide which films a run has, and in which splits.
FILM_SETTINGS = (
    "dataset", "data_dir", "classes", "map", "map_file", "external_sources", "external_column", "rho", "films", "split_seed",
    "separate_copies", "voi", *ADMISSION_FLAGS,
)  # fmt: skip


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
    data_dir: Path | str | None,
    split: str | Sequence[str],
    allow_training_films: bool = False,
    policy: DicomPolicy = DEFAULT,
    words: LabelMap | None = None,
) -> Cohort:
    """The films that a set of `same_films` is judged on.

    Args:
        data_dir: another cohort, of which the films that any of the runs was trained or calibrated on are left out, and whose
            split is that of `as_seen_by` for all of them; None, or the folder of the runs' own films, for these.
        split: which of the runs' own splits: a sequence, or a text separated by commas.
        allow_training_films: go on where films that a run was trained on can't be told; the cohort's notes say it then.
        policy: which DICOM films of another cohort are admitted; a run's own are those of its training.
        words: what the words of another cohort's labels mean.

    Raises:
        EvaluationError: no such split, films that can't be loaded, or training films that can't be told or left out.
    """
    data_dir = None if data_dir is None else Path(data_dir)
    first, named = together[0], [a for subject in together for a in subject.predictor.info.named]
    checkpoint, config = first.predictor.checkpoint, first.config
    if data_dir is not None and not first.trained_in(data_dir):
        known = frozenset[str]().union(*(_sources_trained_on(subject) for subject in together))
        cohort = load_unseen(data_dir, checkpoint.preprocessing, checkpoint.info, policy, words, known)
        for subject in together:
            cohort = without_trained_on(cohort, subject, allow_training_films)
        if not len(cohort.table):
            raise EvaluationError(
                f"--data-dir {data_dir}: the runs were trained on all of its films; none is left to audit"
            )
        return as_trained(cohort, named)
    assert config is not None
    splits = split_names(split) if isinstance(split, str) else tuple(split)
    if not splits or set(splits) - set(Split):
        raise EvaluationError(f"--split {', '.join(splits)}: choose from {', '.join(Split)}, separated by commas")
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
        raise EvaluationError(f"{first.name}: none of its films is in split {', '.join(splits)}")
    cohort = cohort.part(kept.tolist())
    if not set(splits) & {Split.TRAIN, Split.VALIDATION}:
        for subject in together:
            require_unseen(cohort, subject)
    return cohort


def as_seen_by(cohort: Cohort, subject: Subject) -> Cohort:
    """Another cohort as this run sees it: films of sources that it was trained on are test films, others external."""
    known = cohort.table["source"].isin(_sources_trained_on(subject))
    split = known.map({True: str(Split.TEST), False: str(Split.EXTERNAL)})
    return dataclasses.replace(cohort, table=cohort.table.assign(split=split))


def with_fitted_told(cohort: Cohort) -> Cohort:
    """A run's own films, with a note where it was fitted on some of them."""
    own = sorted(set(cohort.table["split"]) & {str(Split.TRAIN), str(Split.VALIDATION)})
    said = f"{TRAINED_ON} some of these films ({', '.join(own)}): no number here holds for other films."
    return with_note(cohort, said) if own else cohort


def without_trained_on(cohort: Cohort, subject: Subject, allowed: bool = False) -> Cohort:
    """Leave out films of patients that the run trained or was calibrated on, known by the hashes in its folder.

    A cohort without patient_id has paths alone, and one that is also a training film's need not be the same film. Nor need a
    patient of another source be the same, where sources number their patients: a note tells of those.

    Raises:
        EvaluationError: these films can't be told, unless that is `allowed`; the cohort has a note then.
    """
    try:
        key, seen = key_of_training(subject)
    except EvaluationError as error:
        return with_note(cohort, or_allowed(subject, str(error), allowed))
    hashes = _hashes(cohort, key, set(seen["patient"]))
    if "patient_id" not in cohort.table:
        alike = int(hashes["file"].isin(seen["file"]).sum())
        if not alike:
            return cohort
        why = f"{alike} of the films have the path of a training film of {subject.name}, and metadata.csv has no patient_id"
        return with_note(cohort, or_allowed(subject, why, allowed))
    shared = _seen_among(hashes, seen)
    reasons = dict.fromkeys(shared, f"{subject.name} was trained on it or on its patient")
    if reasons:
        said = f"{len(shared)} films are left out: {subject.name} was trained on them or on their patients"
        cohort = with_note(cohort.without(reasons), f"{said} (the same source and patient_id, or path and patient_id).")
    told = _alike(hashes.drop(index=shared), seen)
    return with_note(cohort, f"{told} {subject.name}; leave them out if they are the same.") if told else cohort


def require_unseen(cohort: Cohort, subject: Subject) -> None:
    """Refuse test films of a run that it was trained on, as they are where metadata.csv was changed since."""
    try:
        key, seen = key_of_training(subject)
    except EvaluationError:
        return  # the splits are those of the run's own settings; nothing says that they have changed
    if shared := _seen_among(_hashes(cohort, key, set(seen["patient"])), seen):
        raise EvaluationError(
            f"{subject.name} was trained on {len(shared)} of the {len(cohort.table)} films that are now in its test splits: "
            "its films have changed since; train it again, or give the films that it never saw as --data-dir"
        )


def _seen_among(hashes: pd.DataFrame, seen: pd.DataFrame) -> list[int]:
    """Positions of the films of patients seen, which are told by their source and number or by the path of a film."""
    both = [["patient", "source"], ["patient", "file"]]
    known = [pd.MultiIndex.from_frame(hashes[names]).isin(pd.MultiIndex.from_frame(seen[names])) for names in both]
    return np.flatnonzero(np.logical_or(*known)).tolist()


def _alike(hashes: pd.DataFrame, seen: pd.DataFrame) -> str:
    """How many films have a path or a patient that `seen` has too, in words; empty where none has."""
    counts = {
        "the path of a training film of another patient": hashes["file"].isin(seen["file"]).sum(),
        "the patient_id of a training film of another source": hashes["patient"].isin(seen["patient"]).sum(),
    }
    told = [f"{count} films have {what}" for what, count in counts.items() if count]
    return f"{' and '.join(told)} of" if told else ""


def _hashes(cohort: Cohort, key: bytes, seen: Collection[str]) -> pd.DataFrame:
    """File and patient of each film, hashed as in the predictions of a run, and its source.

    Args:
        seen: hashes of patients: one whose number is written otherwise there, 00012 for 12, has the hash that it has there.
    """
    patients = {name: _patient_hash(key, name, seen) for name in cohort.table["patient"].unique()}
    hashed = {
        "file": [keyed_hash(key, name) for name in film_names(cohort)],
        "patient": cohort.table["patient"].map(patients).tolist(),
    }
    return pd.DataFrame(hashed | {"source": cohort.table["source"].tolist()})


def _patient_hash(key: bytes, name: str, seen: Collection[str]) -> str:
    own = keyed_hash(key, name)
    others = () if own in seen else (keyed_hash(key, other) for other in spellings_of_number(name))
    return next((other for other in others if other in seen), own)


def _sources_trained_on(subject: Subject) -> frozenset[str]:
    """Sources of the training films, all that the checkpoint knows where the predictions are gone, and calibrated sites."""
    seen, info = subject.predictions((Split.TRAIN,)), subject.predictor.info
    sites = frozenset(subject.sites.sites if subject.sites else ())
    if seen is not None:
        return sites | frozenset(seen["source"])
    return sites | frozenset(info.biases if info.bias_name == "source" else ())


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
