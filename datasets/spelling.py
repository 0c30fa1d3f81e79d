"""Spellings of one name: what they share, and names that only look alike.

Letters of other scripts that look like Latin ones are not changed, for a name may be written in them. Unicode's table of
look-alikes: https://www.unicode.org/reports/tr39/, of which here are the letters of Cyrillic and Greek that no common font
tells from Latin ones.
"""

import re
import unicodedata

LOOKS_LATIN = str.maketrans(
    "АВЕЅІЈКМНОРСТУХԚԜасԁеһіјорԛѕԝхуΑΒΕΖΗΙΚΜΝΟΡΤΥΧονκ",
    "ABESIJKMHOPCTYXQWacdehijopqswxyABEZHIKMNOPTYXovk",
)
DIGITS = 12  # of a number with leading zeros, at most
APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u2032`\u00b4"), "'")


def spelling_key(name: str) -> str:
    """What spellings of one name share.

    Case, width, kinds of dashes and apostrophes, blanks, control and zero-width marks don't count; nor do a number's leading
    zeros and its `.0`, which a spreadsheet takes away and adds.
    """
    name = cleaned(unicodedata.normalize("NFKC", name.translate(APOSTROPHES)))
    name = "".join("-" if unicodedata.category(mark) == "Pd" else mark for mark in name).casefold()
    number = re.fullmatch(r"0*(\d+?)(\.0+)?", name)
    return number[1] if number else name


def number_key(name: str) -> str:
    """What spellings of a patient's number share: leading zeros, `.0` at the end and blanks don't count either."""
    whole = re.sub(r"(?<=[0-9])\.0+$", "", spelling_key(name))
    return re.sub(r"(?<![0-9.])0+(?=[0-9])", "", re.sub(r"(?<![0-9]) | (?![0-9])", "", whole))


def spellings_of_number(name: str) -> list[str]:
    """Other ways in which a spreadsheet or pandas may have written a patient's number; none for a name without one.

    With and without leading zeros, to `DIGITS` in all, and `.0` at the end.
    """
    number = re.fullmatch(r"(.*?[^0-9.])?0*([0-9]+?)(\.0+)?", name)
    if number is None:
        return []
    prefix, digits = number[1] or "", number[2]
    padded = [digits.zfill(length) for length in range(len(digits), DIGITS + 1)]
    return [other for other in [f"{prefix}{n}" for n in (*padded, f"{digits}.0")] if other != name]


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


def differing_letters(first: str, other: str) -> str:
    """Where two names that look alike begin to differ, with the letters as Unicode calls them."""
    place = next((i for i, (a, b) in enumerate(zip(first, other, strict=False)) if a.casefold() != b.casefold()), 0)
    one, two = (unicodedata.name(name[place], ascii(name[place])) for name in (first, other))
    return f"their letter {place + 1} is {one} and {two}"
