"""One spelling for each source: names that differ in case, blanks, dashes, width or invisible marks are one hospital.

Two names that look alike in letters of two scripts stay two, and are told.
"""

from collections.abc import Sequence

import pandas as pd

from datasets.listed import listed
from datasets.spelling import cleaned, differing_letters, looks_like, spelling_key

SPELLED = ("view", "sex", "manufacturer")  # columns that films are grouped by
NAMED = 5  # spellings of one source that a sentence lists


def with_one_spelling(
    source: pd.Series, known: Sequence[str] = (), kind: str = "Source"
) -> tuple[pd.Series, list[str]]:
    """Sources with one spelling for each, a sentence for each that had several, and for those that only look alike.

    Args:
        source: of each film, as written; empty ones stay.
        known: spellings that win, such as those of a training; else the most frequent one does, the first of equals.
        kind: what the sentences call them.
    """
    wins = {spelling_key(name): name for name in known}
    spellings: dict[str, list[str]] = {}
    for name in source.value_counts(sort=True).index:
        spellings.setdefault(spelling_key(name), []).append(name)
    right, notes = dict[str, str](), list[str]()
    for key, names in spellings.items():
        chosen = wins.get(key, cleaned(names[0]))
        right |= dict.fromkeys(names, chosen)
        others = [name for name in names if name != chosen]
        if others and key:
            spelled = listed([ascii(name) for name in others], NAMED)
            notes.append(f"{kind} {chosen!r} is also spelled {spelled}: taken for one.")
    return source.map(right), notes + look_alikes(list(dict.fromkeys([*right.values(), *known])), kind)


def with_one_spelling_each(table: pd.DataFrame) -> list[str]:
    """Give each of `SPELLED` that the table has one spelling a value, in place; returns the sentences."""
    notes = []
    for column in SPELLED:
        if column in table:
            table[column], said = with_one_spelling(table[column], kind=column.capitalize())
            notes += said
    return notes


def look_alikes(names: Sequence[str], kind: str = "Source") -> list[str]:
    """A sentence for each two of these different sources that differ in letters of another script alone."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(looks_like(name), []).append(name)
    return [
        f"{kind}s {first!r} and {other!r} look alike, but {differing_letters(first, other)}: they are taken for two. If "
        "they are one, write the name the same way on each line."
        for first, *others in alike.values()
        for other in others
    ]
