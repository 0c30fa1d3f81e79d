"""Films that are read by site: which must be left out, and what it changes on the others."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from datasets.cohort.films import Cohort
from datasets.film.identity import hash_key, key_id, keyed_hash
from training.bias.evidence import Evidence
from training.bias.numbers.site_calibration import changes, read_again
from training.scoring.subjects import EvaluationError, Subject, run_key


def without_calibrated_on(cohort: Cohort, subject: Subject) -> Cohort:
    """Leave out films of patients that the run's site calibration was fitted on; raises EvaluationError without its key."""
    if subject.sites is None:
        return cohort
    key = key_of_sites(subject)
    hashes = cohort.table["patient"].map(lambda patient: keyed_hash(key, patient))
    at = np.flatnonzero(hashes.isin(subject.sites.patients)).tolist()
    return (
        cohort.without(dict.fromkeys(at, f"the site calibration of {subject.name} was fitted on its patient"))
        if at
        else cohort
    )


def key_of_sites(subject: Subject) -> bytes:
    """The key of the hashes in a run's site calibration; raises EvaluationError where it is gone."""
    file = run_key(subject)
    key = hash_key(subject.folder.parent, file) if file.is_file() else None
    if subject.sites is None or key is None or key_id(key) != subject.sites.key:
        raise EvaluationError(
            f"the key {file} of the patients that the site calibration of {subject.name} was fitted on is gone, so that "
            f"their films can't be left out: fit it anew with python -m training.calibrate {subject.folder}"
        )
    return key


def changes_by_site(evidence: Sequence[Evidence], subjects: Sequence[Subject]) -> dict[str, pd.DataFrame]:
    """By the name of each run that is read by site: what that changes on films that it was not fitted on, see `changes`."""
    found = {}
    for run, subject in zip(evidence, subjects, strict=True):
        own, info = subject.predictor.checkpoint.calibration, subject.predictor.info
        labelled = run.predictions[run.predictions["target"].notna()]
        if subject.sites is None or own.threshold is None or info.positive is None or labelled.empty:
            continue
        names = info.targets[1 - info.positive], info.targets[info.positive]
        before = read_again(labelled, own.temperature, own.threshold, names)
        found[run.name] = changes(before, labelled, names[1])
    return found
