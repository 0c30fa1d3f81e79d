"""One spelling for each source: names that differ in case, blanks, dashes, width or invisible marks are one hospital.

Letters of other scripts that look like Latin ones are not changed, for a name may be written in them: two names that look
alike stay two, and are told. Unicode's table of look-alikes: https://www.unicode.org/reports/tr39/, of which here are the
letters of Cyrillic and Greek that no common font tells from Latin ones.
"""

import unicodedata
from collections.abc import Sequence

import pandas as pd

from datasets.listed import listed

LOOKS_LATIN = str.maketrans(
    "АВЕЅІЈКМНОРСТУХԚԜасԁеһіјорԛѕԝхуΑΒΕΖΗΙΚΜΝΟΡΤΥΧονκ",
    "ABESIJKMHOPCTYXQWacdehijopqswxyABEZHIKMNOPTYXovk",
)
APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u2032`\u00b4"), "'")
NAMED = 5  # spellings of one source that a sentence lists


def spelling_key(name: str) -> str:
    """What spellings of one name share.

    Case, width, kinds of dashes and apostrophes, blanks, control and zero-width marks don't count.
    """
    name = cleaned(unicodedata.normalize("NFKC", name.translate(APOSTROPHES)))
    return "".join("-" if unicodedata.category(mark) == "Pd" else mark for mark in name).casefold()


def looks_like(name: str) -> str:
    """What names share that can't be told apart on a screen, whatever the script of their letters."""
    return spelling_key(cleaned(name).translate(LOOKS_LATIN))


def cleaned(name: str) -> str:
    """A name in composed Unicode (NFC), without control and zero-width marks, with single blanks."""
    visible = "".join(
        " " if unicodedata.category(mark) == "Cc" else mark
        for mark in unicodedata.normalize("NFC", name)
        if unicodedata.category(mark) != "Cf"
    )
    return " ".join(visible.split())


def with_one_spelling(source: pd.Series, known: Sequence[str] = ()) -> tuple[pd.Series, list[str]]:
    """Sources with one spelling for each, a sentence for each that had several, and for those that only look alike.

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
            spelled = listed([ascii(name) for name in others], NAMED)
            notes.append(f"Source {chosen!r} is also spelled {spelled}: taken for one.")
    return source.map(right), notes + look_alikes(list(dict.fromkeys([*right.values(), *known])))


def look_alikes(names: Sequence[str]) -> list[str]:
    """A sentence for each two of these different sources that differ in letters of another script alone."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(looks_like(name), []).append(name)
    return [
        f"Sources {first!r} and {other!r} look alike, but {differing_letters(first, other)}: they are taken for two. If "
        "they are one hospital, write its name the same way on each line."
        for first, *others in alike.values()
        for other in others
    ]


def differing_letters(first: str, other: str) -> str:
    """Where two names that look alike begin to differ, with the letters as Unicode calls them."""
    place = next((i for i, (a, b) in enumerate(zip(first, other, strict=False)) if a.casefold() != b.casefold()), 0)
    one, two = (unicodedata.name(name[place], ascii(name[place])) for name in (first, other))
    return f"their letter {place + 1} is {one} and {two}"
