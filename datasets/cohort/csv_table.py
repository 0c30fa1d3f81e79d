"""A CSV file as a table of text, with mistakes named by line."""

import csv
import io
import re
from pathlib import Path

import pandas as pd

from datasets.cohort.films import CohortError
from datasets.spelling import cleaned

OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}  # of spreadsheets, by their language or kind of file
NOT_KNOWN = ("", "unknown", "na", "n/a", "#n/a", "nan", "none", "null", "-", "?")
"""Cells that say nothing, whatever their case."""
_SEPARATOR_LINE = re.compile(r"sep=.?[,;\t]*", re.IGNORECASE)
"""What Excel is told of a file in its first line, and hides; with the cells that a spreadsheet may add to it."""
MAX_BYTES = 1 << 29
"""Largest table that is read, some millions of rows; in memory it takes ten times as much."""


def read_csv(file: Path, separator: str = ",") -> pd.DataFrame:
    """Stripped cells, as text; the row of index i is line i + 2 of a spreadsheet, for a quoted line break makes no new line.

    The index begins above 0 where empty lines or Excel's `sep=,` stand above the header.

    Raises:
        CohortError: not UTF-8, not CSV, damaged, another separator, empty, a column twice, a row too wide or a file above
            `MAX_BYTES`; the message names the line.
        OSError: it can't be opened.
    """
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise CohortError(f"{file} has {size} bytes, more than the {MAX_BYTES} allowed: split the table")
    data = file.read_bytes()
    try:
        text = data.decode("utf-8").lstrip("\ufeff")  # a program that adds a mark to a file that has one leaves two
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CohortError(f"{file}, line {line}: not in UTF-8; save the table as CSV UTF-8") from None
    rows: list[list[str]] = []
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator):
            rows.append([cell.strip() for cell in cells])
    except csv.Error as error:
        raise CohortError(f"{file}, line {len(rows) + 1}: can't be read as CSV ({error}); check its quotes") from None
    while rows and not any(rows[-1]):
        rows.pop()
    said = (i for i, cells in enumerate(rows) if any(cells) and not _SEPARATOR_LINE.fullmatch(separator.join(cells)))
    above = next(said, None)
    if above is None:
        raise CohortError(f"{file} is empty; it needs a header with the names of its columns")
    header, width = [cleaned(name) for name in rows[above]], len(rows[above])
    for character, name in OTHER_SEPARATORS.items():
        if width == 1 and character in rows[above][0]:
            raise CohortError(
                f"{file}, line {above + 1}: the columns are separated by {name}; save the table with commas"
            )
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        places = ", ".join(str(place) for place, name in enumerate(header, start=1) if name == twice[0])
        raise CohortError(
            f"{file}, line {above + 1}: columns {places} have the same name; remove one, or name the columns"
        )
    for number, cells in enumerate(rows[above + 1 :], start=above + 2):
        if any(cells[width:]):
            raise CohortError(
                f"{file}, line {number}: {len(cells)} cells under {width} column names; quote a cell that holds a comma"
            )
    for number, cells in enumerate(rows if "\x00" in text else [], start=1):
        # In a path it makes no name of a file; anywhere else it would be another patient or hospital.
        if any("\x00" in cell for name, cell in zip(header, cells, strict=False) if name not in ("path", "mask")):
            raise CohortError(f"{file}, line {number}: NUL characters; the file is damaged, copy it again")
    full = [cells[:width] + [""] * (width - len(cells)) for cells in rows[above + 1 :]]
    table = pd.DataFrame(full, index=pd.RangeIndex(above, above + len(full)), columns=header, dtype=str)
    return table[[name for name in header if name]]
