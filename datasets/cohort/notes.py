"""Sentences about a table of films that a user should read before training: what it lacks, and what looks like a mistake."""

from collections.abc import Mapping, Sequence

import pandas as pd

from datasets.cohort.csv_table import NOT_KNOWN
from datasets.cohort.films import age_bands
from datasets.listed import listed
from datasets.spelling import number_key

NAMED = 5  # lines that a sentence lists
REASONS = 8  # why rows are left out that a sentence lists, the most frequent ones
OTHER_LABEL = ", with another label"


def table_notes(table: pd.DataFrame, reasons: Mapping[int, str]) -> list[str]:
    """What a table lacks and what looks like a mistake in it; `reasons` are those of the rows that are left out."""
    return [*patient_notes(table), *filter(None, [rounded_note(table)]), *again_notes(reasons), *age_notes(table)]


def patient_notes(table: pd.DataFrame) -> list[str]:
    """Films without a patient, patients in two sources, and patients that seem to be written in two ways."""
    notes = []
    if "patient_id" not in table:
        meant = next((name for name in table if _letters(str(name)) in ("patientid", "patient", "pid")), None)
        called = (
            f" If its column {meant} names the patients, call it patient_id." if meant not in (None, "patient") else ""
        )
        notes.append(
            "metadata.csv has no patient_id: each film counts as its own patient, so serial films make intervals too narrow."
            + called
        )
    elif blank := int((table["patient_id"] == "").sum()):
        notes.append(f"{blank} films have no patient_id: each of them counts as its own patient.")
    in_several = int((table.groupby("patient")["source"].nunique() > 1).sum())
    if in_several:
        notes.append(
            f"{in_several} patient(s) have films in two sources or more and are taken for one person each. If your "
            f"sources number their patients independently, make patient_id unique (source and number)."
        )
    if "patient_id" in table:
        notes += _written_twice(table)
    return notes


def _written_twice(table: pd.DataFrame) -> list[str]:
    """Patients whose names differ as a spreadsheet or pandas changes them: 12 and 12.0, 007 and 7, AB-1 and ab-1."""
    names = pd.Series({name: number_key(name) for name in table["patient_id"].unique() if name})
    again = names[names.duplicated(keep=False)]
    if again.empty:
        return []
    first = table.drop_duplicates("patient_id").set_index("patient_id")["row"]
    pair = first[again[again == again.iloc[0]].index].tolist()
    return [
        f"{again.nunique()} patient(s) seem to be written in two ways, with leading zeros, .0 at the end or capital letters "
        f"on some lines alone ({_lines(pair)}), and count as two, whose films may be in two splits. If they are one, write "
        f"them alike."
    ]


def rounded_note(table: pd.DataFrame) -> str:
    """The patients whose number a spreadsheet rounded, as 2.02E+11; empty where there are none."""
    if "patient_id" not in table:
        return ""
    rounded = table["patient_id"].str.fullmatch(r"[0-9]([.,][0-9]+)?[eE]\+[0-9]+")
    numbers = table["patient_id"][rounded].value_counts()
    if numbers.empty:
        return ""
    row = table["row"][table["patient_id"] == numbers.index[0]].iloc[0]
    return (
        f"{len(numbers)} patient_id{'s are numbers' if len(numbers) > 1 else ' is a number'} that a spreadsheet rounded "
        f"({numbers.index[0]} on {numbers.iloc[0]} lines, the first of them {row + 2}): different patients become one. "
        f"Export metadata.csv again with this column formatted as text."
    )


def copies_note(table: pd.DataFrame, copies: pd.DataFrame) -> str:
    """How many pairs of films are copies across patients, with the lines of the first."""
    first, second = (table.iloc[copies[name]] for name in ("first", "second"))
    across = (first["patient"].to_numpy() != second["patient"].to_numpy()).nonzero()[0]
    if not len(across):
        return f"No film is a near-copy of another patient's (perceptual hash of {len(table)} films)."
    lines = [f"{first['row'].iloc[i] + 2} and {second['row'].iloc[i] + 2}" for i in across[:5]]
    more = ", ..." if len(across) > 5 else ""
    count = f"{len(across)} pair{'s' if len(across) > 1 else ''} of films of different patients are near-copies"
    return f"{count} and stay in one split (lines {'; '.join(lines)}{more} of metadata.csv)."


def left_out_notes(reasons: Mapping[int, str]) -> list[str]:
    """How many rows are left out and why, with the lines of each reason; nothing where none is."""
    rows = pd.Series(reasons, dtype=object)
    counts = rows.value_counts()
    told = [
        f"{n} because {why} ({_lines(rows.index[rows == why].tolist())})" for why, n in counts.head(REASONS).items()
    ]
    if len(more := counts.iloc[REASONS:]):
        told.append(f"{more.sum()} for {len(more)} other reasons")
    return [f"{len(rows)} row{'s are' if len(rows) > 1 else ' is'} left out: {'; '.join(told)}."] if told else []


def again_notes(reasons: Mapping[int, str]) -> list[str]:
    """How many rows are left out because their film stands on an earlier one with another label."""
    rows = [row for row, reason in reasons.items() if reason.endswith(OTHER_LABEL)]
    if not rows:
        return []
    return [f"{_films(len(rows))} named again{OTHER_LABEL} ({_lines(rows)}): the first line counts. Correct them."]


def age_notes(table: pd.DataFrame) -> list[str]:
    """How many ages can't be read; their texts are not shown, for they may name someone."""
    if "age" not in table:
        return []
    stated = ~table["age"].str.casefold().isin(NOT_KNOWN)
    rows = table["row"][stated & (age_bands(table["age"]) == "")].tolist()
    if not rows:
        return []
    return [
        f"The age of {len(rows)} film{'s' if len(rows) > 1 else ''} can't be read and counts as unknown ({_lines(rows)}): "
        "write years (45 or 045Y) or a band (40-49)."
    ]


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _films(count: int) -> str:
    return "1 film is" if count == 1 else f"{count} films are"


def _lines(rows: Sequence[int]) -> str:
    """Rows as lines of metadata.csv, as a spreadsheet counts them."""
    lines = listed([row + 2 for row in sorted(rows)], NAMED)
    return f"line{'s' if len(rows) > 1 else ''} {lines} of metadata.csv"
