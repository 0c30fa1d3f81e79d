"""Procedural frontal chest radiographs with a controllable hospital signature: a cohort with no patient in it.

A film is a pure function of (seed, index, label, hospital). `anatomy` draws the patient as a map of attenuation; the
hospital makes a film of it (`signature`). The signature has its own random stream, so the same patient can be shown at two
hospitals.

    python -m datasets.phantom --sheet phantoms.png
    python -m datasets.phantom --dicom phantoms --n 200
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from datasets.film.radiograph import Radiograph
from datasets.phantom.anatomy import attenuation, patient_of, person_of
from datasets.phantom.signature import Signature, developed

LABELS = ("covid", "pneumonia", "normal")
NOTICE = "synthetic phantoms, no patient data"
LARGEST = 4096  # pixels of a side; the largest detectors have about as many
_SIGNATURE, _TABLE = 3, 4  # random streams; the anatomy has 0 to 2


@dataclass(frozen=True)
class Hospital(Signature):
    """A hospital of the cohort.

    Attributes:
        own: the label that rho ties to the hospital: `covid`, `other`, or None for an external hospital.
    """

    own: str | None


HOSPITALS = (
    Hospital("north", 0.66, 5.2, 1.00, 0.0020, 0.018, 0.030, 0.0, 0.3, "L", "disc", 0.050, -0.72, "covid"),
    Hospital("east", 0.70, 6.0, 1.10, 0.0025, 0.012, 0.020, 0.0, 1.2, "R", "plain", 0.060, -0.85, "other"),
    Hospital("west", 0.62, 4.6, 0.95, 0.0045, 0.022, 0.045, 0.0, 0.4, "L", "plain", 0.040, -0.60, "other"),
    Hospital("harbour", 0.64, 5.6, 1.15, 0.0035, 0.026, 0.035, 1.0, 1.0, "L", "arrow", 0.055, 0.55, None),
    Hospital("hill", 0.60, 4.3, 1.05, 0.0030, 0.016, 0.008, 0.0, 0.2, "R", "disc", 0.045, 0.30, None),
    Hospital("south", 0.58, 4.0, 0.85, 0.0060, 0.028, 0.012, 1.0, 0.6, "R", "tag", 0.045, -0.82, None),
)  # fmt: skip
_BY_NAME = {hospital.name: hospital for hospital in HOSPITALS}


def film(seed: int, index: int, label: str, hospital: str, size: int = 192) -> Radiograph:
    """Draws one film.

    Args:
        index: Of every three films in a row the first two are of one patient.
        label: `covid`, `pneumonia` or `normal`.
        hospital: the name of one of `HOSPITALS`; the same (seed, index) at another is the same patient under another
            signature.

    Returns:
        size x size, float32 in [0, 1], bone bright; the facts say that it is synthetic.

    Raises:
        ValueError: an unknown label or hospital, a negative seed or index, or a size below 32 or above `LARGEST`.
    """
    if label not in LABELS:
        raise ValueError(f"label is {label!r}; it must be one of {', '.join(LABELS)}")
    if hospital not in _BY_NAME:
        raise ValueError(f"hospital is {hospital!r}; it must be one of {', '.join(_BY_NAME)}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed {seed}, index {index}: they must be 0 or more")
    require_size(size)
    person = person_of(seed, index)
    signature = np.random.default_rng([_SIGNATURE, seed, index, list(_BY_NAME).index(hospital)])
    pixels = developed(attenuation(seed, index, label, size), _BY_NAME[hospital], signature)
    return Radiograph(pixels, {"synthetic": True, "view": person.view, "sex": person.sex, "age": person.age})


def table(rho: float, seed: int, films: int, validation: int, test: int, external: int) -> pd.DataFrame:
    """Draws a cohort: one row a film, in the order of the films' indices.

    Train and validation follow rho; test shows the same hospitals without the correlation; external shows hospitals
    that training never saw. Half of the patients of each split have covid, a quarter pneumonia, a quarter neither. A
    patient is in one split and one hospital, with one label.

    Args:
        rho: probability in [0, 1] that a film has its hospital's own label; 0.5 is independence.
        external: films of the external hospitals. Each of the four is 0, or 2 or more.

    Returns:
        Columns row (the film's index, 0 to n - 1), patient, label, source, split, view, sex and age (years).

    Raises:
        ValueError: rho outside [0, 1], a negative seed, or a split too small to hold a patient.
    """
    if not 0 <= rho <= 1:
        raise ValueError(f"rho is {rho}; it is a probability and must be from 0 to 1 (0.5 is independence)")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    sizes = {"train": films, "validation": validation, "test": test, "external": external}
    for split, count in sizes.items():
        if count < 0 or count == 1:
            raise ValueError(
                f"{split} has {count} films; it must have 0, or 2 or more (a patient has one or two films)"
            )
    rng = np.random.default_rng([_TABLE, seed])
    rows = []
    for split, patients in _allotted(sizes, rng).items():
        for kind in (2, 1):  # balanced apart, so that the films are as balanced as the patients
            group = [rows_of for rows_of in patients if len(rows_of) == kind]
            labels = rng.permutation([("covid", "normal", "covid", "pneumonia")[i % 4] for i in range(len(group))])
            for rows_of, label in zip(group, labels, strict=True):
                source = _source(str(label), split, rho, rng)
                rows += [(row, str(label), source, split) for row in rows_of]
    records = []
    for row, label, source, split in sorted(rows):
        person = person_of(seed, row)
        name = f"phantom-{patient_of(row):05d}"
        records.append((row, name, label, source, split, person.view, person.sex, person.age))
    return pd.DataFrame(records, columns=["row", "patient", "label", "source", "split", "view", "sex", "age"])


def _allotted(sizes: dict[str, int], rng: np.random.Generator) -> dict[str, list[list[int]]]:
    """Splits whole patients (lists of film indices) so that each split has exactly its number of films."""
    patients: dict[int, list[int]] = {}
    for row in range(sum(sizes.values())):
        patients.setdefault(patient_of(row), []).append(row)
    shuffled = [list(patients.values())[i] for i in rng.permutation(len(patients))]
    room = dict(sizes)
    allotted: dict[str, list[list[int]]] = {split: [] for split in sizes}
    for rows in sorted(shuffled, key=len, reverse=True):  # pairs first: a single always fits where one film is missing
        split = max((s for s in room if room[s] >= len(rows)), key=lambda s: room[s] / sizes[s])
        allotted[split].append(rows)
        room[split] -= len(rows)
    return allotted


def _source(label: str, split: str, rho: float, rng: np.random.Generator) -> str:
    if split == "external":
        return str(rng.choice([h.name for h in HOSPITALS if h.own is None]))
    kept = rng.random() < (0.5 if split == "test" else rho)
    own = "covid" if (label == "covid") == kept else "other"
    return str(rng.choice([h.name for h in HOSPITALS if h.own == own]))


def require_size(size: int) -> None:
    """Raise ValueError for a side that is too short for lungs, or too long for memory."""
    if not 32 <= size <= LARGEST:
        raise ValueError(f"size is {size}: it must be from 32 to {LARGEST} pixels")
