"""The cohort that a run's settings name."""

import hashlib
from typing import cast

import pandas as pd

from datasets.catalogue import load_cohort
from datasets.cohort.attributes import with_attributes
from datasets.cohort.films import Cohort
from datasets.cohort.label_words import label_map
from datasets.film.admission import FLAGS as ADMISSION_FLAGS
from datasets.film.admission import policy_of
from datasets.film.policy import DicomPolicy, Voi
from datasets.film.preprocessing import Preprocessing
from datasets.listed import split_names
from models.classifier import normalisation
from training.run.biases import parse_biases
from training.run.config import TrainConfig


def preprocessing_of(config: TrainConfig) -> Preprocessing:
    """What turns films into inputs; normalised as timm's weights of the backbone expect, where such weights are used."""
    has_weights = config.pretrained or config.weights is not None
    mean, std = normalisation(config.model) if has_weights and config.in_chans == 3 else ((0.5,) * config.in_chans,) * 2
    intensity = "none" if config.dataset == "biased-mnist" else config.intensity
    return Preprocessing(config.img_size, config.in_chans, config.aspect, intensity, mean, std, cast(Voi, config.voi))


def cohort_of(config: TrainConfig, preprocessing: Preprocessing) -> Cohort:
    """Load the films' table as `config` says, films not decoded yet; raises CohortError."""
    cohort = load_cohort(
        config.dataset, preprocessing, data_dir=config.data_dir, classes=split_names(config.classes),
        external_sources=split_names(config.external_sources), rho=config.rho, films=config.films,
        split_seed=config.split_seed, separate_copies=config.separate_copies,
        policy=admission_of(config), external_column=config.external_column,
        words=label_map(config.map, config.map_file),
    )  # fmt: skip
    return with_attributes(cohort, parse_biases(config.bias))


def admission_of(config: TrainConfig) -> DicomPolicy:
    """Which DICOM films are admitted; raises WordsError."""
    return policy_of({name: getattr(config, name) for name in ADMISSION_FLAGS})


def film_names(cohort: Cohort) -> pd.Series:
    """What the hash of a film is made of: its path, or where there are no files its dataset and row."""
    table = cohort.table
    return table["path"] if "path" in table else cohort.info.name + " " + table["row"].astype(str)


def fingerprint(cohort: Cohort, values: pd.Series) -> str:
    """16 hex digits that tell films, labels, patients, and a value of each, from others, on any machine."""
    table = cohort.table[["row", "target_name", "patient"]].assign(film=film_names(cohort), value=values)
    return hashlib.sha256(table.to_csv(index=False).encode("utf-8", "surrogateescape")).hexdigest()[:16]
