"""The cohort of a training on an archive: made by `datasets.prepare` where the settings say, before the films are loaded."""

import os

from datasets.cohort.csv_table import read_csv
from datasets.cohort.label_words import label_map
from datasets.film.admission import FLAGS as ADMISSION_FLAGS
from datasets.film.admission import as_flags
from datasets.film.identity import KEY_FILE
from datasets.listed import split_names
from datasets.prepare.cohort import COPIES, METADATA, prepare_alone
from datasets.prepare.report import report
from datasets.prepare.request import Request
from training.console.messages import ERRORS
from training.parallel.device import TrainingError
from training.parallel.ranks import first_goes_first, is_first
from training.run.archive import Archive
from training.run.config import TrainConfig
from training.run.films import admission_of


def from_archive(archive: Archive, config: TrainConfig) -> TrainConfig:
    """Make the cohort, print what became of its films, and return the settings of a training on it.

    These are those of `--data-dir` alone, so that the run is the same as one on a cohort that was prepared before. In a
    training of several processes the first makes the cohort.
    """
    out = config.data_dir
    assert out is not None
    own_key = None if config.hash_key == out / KEY_FILE else config.hash_key
    request = Request(
        "dicom", archive.films, out, admission_of(config), archive.labels,
        words=label_map(config.map, config.map_file), classes=tuple(name.lower() for name in split_names(config.classes)),
        source_tag=archive.source_tag, pixels=archive.pixels, workers=os.cpu_count() or 1, hash_key=own_key,
    )  # fmt: skip
    with first_goes_first():
        if is_first():
            prepared, copies = prepare_alone(request, ERRORS)
            flags = as_flags({name: getattr(config, name) for name in ADMISSION_FLAGS})
            report(request, prepared, copies, flags, then="Training now; again with:")
    if not (out / METADATA).is_file() or not (out / COPIES).is_file():
        raise TrainingError(f"no cohort could be made in {out}")  # the first process says why
    return config.with_settings(
        map=None, map_file=None, hash_key=own_key or out / KEY_FILE,
        separate_copies=config.separate_copies or len(read_csv(out / COPIES)) > 0,
    )  # fmt: skip
