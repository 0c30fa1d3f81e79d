"""What a layout gives for each row of a public data set: a film, or why there is none; and the words that all share."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from datasets.cohort.csv_table import MAX_BYTES, read_csv
from datasets.film.policy import DicomPolicy
from datasets.film.words import says_nothing, view_of

LONGEST = 200  # characters of a text that is taken over
SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F", "W": "F"}
OLDEST = 120  # years


class LayoutError(ValueError):
    """A folder that is not the data set it is said to be; the message says what was expected where."""


class Film(NamedTuple):
    """A film with what is known of it; texts, empty where unknown.

    Attributes:
        file: path below the folder of the data set, as its own table gives it: not to be trusted.
        label: covid, pneumonia, normal or other.
        source: hospital or collection, as finely as the data tell.
        patient_id: with a prefix that makes it unique across data sets; the same person has the same in all that tell.
        origin: the table and line that it comes from.
        view, sex: PA, AP, AP SUPINE, ...; M or F.
        age: in years, or a decade ("40-49").
        licence: as the data set states it.
        finding: the data set's own words for the label.
        original_split: the data set's own train, validation or test; the split of a cohort is another.
        location: place or hospital in words, finer than `source` but rarely known.
        url: the page that the film comes from.
        sidecar: a JSON file with the DICOM attributes of raw greys, by which the film is to be written anew.
        model: of the machine, beside its manufacturer.
        institution, station: names made of keyed hashes.
        matrix: rows and columns of the picture as it is stored.
        place: its name below the cohort's images/<data set>, where its path in the data set's folder may name a patient.
        not_understood: a text of the view or the body part that no word fits, after its tag: "view W STD".
    """

    file: str
    label: str
    source: str
    patient_id: str
    origin: str
    view: str = ""
    sex: str = ""
    age: str = ""
    licence: str = "unknown"
    finding: str = ""
    manufacturer: str = ""
    original_split: str = ""
    location: str = ""
    url: str = ""
    sidecar: str = ""
    model: str = ""
    institution: str = ""
    station: str = ""
    matrix: str = ""
    place: str = ""
    not_understood: str = ""


class LeftOut(NamedTuple):
    """A row, or a file, that becomes no film; `reason` is a few fixed words, so that reasons can be counted."""

    file: str
    origin: str
    reason: str


def table(file: Path, required: Sequence[str], separator: str = ",") -> pd.DataFrame:
    """A table of the data set as text.

    Raises:
        LayoutError: it is missing, or lacks a column.
        CohortError: it can't be read.
    """
    if not file.is_file():
        raise LayoutError(f"{file.name} is missing")
    read = read_csv(file, separator)
    missing = [name for name in required if name not in read]
    if missing:
        raise LayoutError(f"{file} lacks the column {missing[0]}; it has {', '.join(read.columns[:30])}")
    return read


def records(read: pd.DataFrame) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows, each with its line in the file; empty texts for columns that aren't there."""
    for row, *cells in read.itertuples(name=None):
        yield int(row) + 2, defaultdict(str, zip(read.columns, cells, strict=True))


def one_file(src: Path, *patterns: str) -> Path | None:
    """The only file below `src` that fits the first pattern which any file fits, LayoutError if several fit; None if none."""
    for pattern in patterns:
        found = sorted(file for file in src.glob(pattern) if file.is_file())
        if len(found) > 1:
            names = ", ".join(str(file.relative_to(src)) for file in found)
            raise LayoutError(f"{src} has several tables for one purpose: {names}; keep the one that you mean")
        if found:
            return found[0]
    return None


def content(file: Path) -> bytes:
    """The whole of a list or mapping, bounded as a table is; LayoutError if it is larger."""
    if file.stat().st_size > MAX_BYTES:
        raise LayoutError(f"{file} is larger than the {MAX_BYTES} bytes allowed")
    return file.read_bytes()


def lines(file: Path) -> list[str]:
    """The lines of a list; what is no UTF-8 becomes a mark, which fits no name."""
    return content(file).decode("utf-8", errors="replace").lstrip("\ufeff").splitlines()


def by_name(src: Path, files: Iterable[Path]) -> dict[str, str]:
    """Where each file lies below `src`, by its name; of two with one name the first in the order of paths."""
    places: dict[str, str] = {}
    for file in sorted(files):
        places.setdefault(file.name, file.relative_to(src).as_posix())
    return places


def text(value: str) -> str:
    """A text from a foreign table in one line, cut, and none that a spreadsheet would take for a formula."""
    return no_formula(" ".join(value.split())[:LONGEST])


def no_formula(value: str) -> str:
    """The same text, after an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value


def view_problem(said: str, policy: DicomPolicy) -> str:
    """Why a film of this view is left out; empty where the view is admitted, or isn't stated, or isn't understood."""
    view = view_of(said, policy.view_words) or "UNKNOWN"
    if view in policy.views:
        return ""
    return "lateral view" if view in ("LATERAL", "DECUBITUS") else f"view {text(said)}" if said else "view not stated"


def known_view(said: str, policy: DicomPolicy) -> dict[str, str]:
    """The fields of a `Film` that tell its view: the data set's own word, or that it isn't understood."""
    if view_of(said, policy.view_words) is not None:
        return {"view": text(said).upper()}
    return {} if says_nothing(said) else {"not_understood": f"view {text(said)}"}


def sex(value: str) -> str:
    """M, F or nothing."""
    return SEXES.get(value.strip().upper(), "")


def age(value: str) -> str:
    """Whole years of "45", "45.0" or "045Y"; nothing for what no person reaches, such as the 414 of ChestX-ray14."""
    digits = value.strip().upper().removesuffix("Y").removesuffix(".0")
    return str(int(digits)) if digits.isascii() and digits.isdigit() and int(digits) <= OLDEST else ""
