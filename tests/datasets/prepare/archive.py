"""A small archive: DICOM films of two hospitals as the test wants them, and a table of labels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from datasets.phantom.dicom_write import Exam, Scanner, dicom_film, save
from datasets.prepare.__main__ import main
from tests.datasets.public_films import SCANNER, pixels

HOSPITALS = ("St Elsewhere", "County General")
NAME = "DOE^JANE"


def film(
    file: Path,
    number: int,
    *,
    patient: str | None = None,
    hospital: str = HOSPITALS[0],
    scanner: Scanner = SCANNER,
    side: int = 32,
    drop: Sequence[str] = (),
    **tags: Any,
) -> None:
    """Write one film; `drop` are tags that it lacks, `tags` others that it has."""
    file.parent.mkdir(parents=True, exist_ok=True)
    patient = patient or f"MRN{number:04d}"
    exam = Exam(patient, NAME, "F", 47, "PA", hospital, f"ACC{number:04d}", f"study {patient}", f"film {number}")
    dataset = dicom_film(pixels(number, side), scanner, exam)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    for keyword in drop:
        del dataset[keyword]
    save(dataset, file)


def archive(src: Path, films: int = 16) -> pd.DataFrame:
    """Films of both hospitals with both labels, paths below folders called after patients; returns the labels."""
    rows = []
    for number in range(films):
        name = f"{NAME}{number}/study/im{number}.dcm"
        film(
            src / name, number, hospital=HOSPITALS[number // 2 % 2], scanner=replace(SCANNER, station=f"S{number % 2}")
        )
        rows.append((name, f"ACC{number:04d}", ("covid", "normal")[number % 2], "east" if number % 4 else "west"))
    return pd.DataFrame(rows, columns=["file", "accession_number", "label", "ward"])


def prepare(*arguments: object) -> None:
    """Run the command in this process."""
    main([*map(str, arguments)])


def cells(file: Path) -> pd.DataFrame:
    """A table as text."""
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def with_key(out: Path) -> Path:
    """A cohort's folder with the same key in each run of the tests, so that its patients fall into the same splits."""
    out.mkdir(parents=True)
    (out / ".hash-key").write_text(bytes(range(32)).hex())
    return out
