"""One spelling for each source: names that differ in case, blanks or invisible marks are one hospital, not several."""

import unicodedata
from collections.abc import Sequence

import pandas as pd


def spelling_key(name: str) -> str:
    """What spellings of one name share: no case, single blanks, no control or zero-width marks."""
    return cleaned(name).casefold()


def cleaned(name: str) -> str:
    """A name in composed Unicode (NFC), without control and zero-width marks, with single blanks."""
    visible = "".join(
        " " if unicodedata.category(mark) == "Cc" else mark
        for mark in unicodedata.normalize("NFC", name)
        if unicodedata.category(mark) != "Cf"
    )
    return " ".join(visible.split())


def with_one_spelling(source: pd.Series, known: Sequence[str] = ()) -> tuple[pd.Series, list[str]]:
    """Sources with one spelling for each, and a sentence for each that had several.

    Args:
        source: of each film, as written; empty ones stay.
        known: spellings that win, such as those of a training; else the most frequent one does, the first of equals.
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
            shown = ", ".join(map(ascii, others[:5])) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
            notes.append(f"Source {chosen!r} is also spelled {shown}: taken for one.")
    return source.map(right), notes
