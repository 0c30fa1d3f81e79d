"""Miniature copies of public data sets: films that differ, and the tables that name them, as they lie on disk."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from datasets.phantom.dicom_write import Exam, Scanner, dicom_film, save
from datasets.prepare.layouts import reader
from datasets.prepare.layouts.film import Film, LeftOut

SCANNER = Scanner("S1", "Acme", "X1", "CR", "MONOCHROME2", 12, False, "window", "implicit")


def pixels(number: int, side: int = 32) -> np.ndarray:
    """A picture unlike that of any other number, in [0, 1]."""
    coarse = np.random.default_rng(number).random((16, 16))
    return np.kron(coarse, np.ones((side // 16, side // 16)))


def png(file: Path, number: int) -> None:
    """Write a film as PNG (or JPEG, by its name)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * pixels(number)).astype(np.uint8)).save(file)


def dicom(
    file: Path, number: int, *, patient: str = "", sex: str = "F", view: str = "PA", body: str = "CHEST", side: int = 32
) -> None:
    """Write a film as DICOM."""
    file.parent.mkdir(parents=True, exist_ok=True)
    exam = Exam(patient or file.stem, "A^B", sex, 47, "PA", "H", "1", f"study {number}", f"film {number}")
    dataset = dicom_film(pixels(number, side), SCANNER, exam)
    dataset.ViewPosition, dataset.BodyPartExamined = view, body
    dataset.pop("ViewCodeSequence", None)
    save(dataset, file)


def table(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], separator: str = ",") -> None:
    """Write a table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(list(rows), columns=list(columns)).to_csv(file, index=False, sep=separator)


def with_own_words(place: Path) -> Path:
    """Sixteen films of two sources under a hospital's own words, and three that say nothing."""
    words = ["COVID-19 pneumonia", "No finding"] * 8 + ["unclear", "unclear", "see report"]
    for number in range(len(words)):
        png(place / f"{number}.png", number)
    rows = [(f"{n}.png", word, "ab"[n // 2 % 2], f"p{n}") for n, word in enumerate(words)]
    table(place / "metadata.csv", ("path", "label", "source", "patient_id"), rows)
    return place


def read(name: str, src: Path) -> tuple[list[Film], dict[str, str]]:
    """The films of a layout, and the reasons for what it leaves out by the end of the file's name, or by line."""
    rows = list(reader(name)(src))
    films = [row for row in rows if isinstance(row, Film)]
    return films, {Path(row.file).name or row.origin: row.reason for row in rows if isinstance(row, LeftOut)}
