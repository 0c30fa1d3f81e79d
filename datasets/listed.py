"""Lists in text: names on a command line, and the first few of a list in a sentence."""

import csv
import io
from collections.abc import Iterable, Sequence


def split_names(text: str | None) -> tuple[str, ...]:
    """`a, b` as ("a", "b"); a name with a comma stands in double quotes, as in a CSV file."""
    names = next(csv.reader([" ".join(text.split())], skipinitialspace=True)) if text and text.strip() else []
    return tuple(name.strip() for name in names if name.strip())


def quoted(name: str) -> str:
    """A name as `split_names` reads it back."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([name])
    return text.getvalue()


def named(names: Iterable[str]) -> str:
    """Names to choose from, as `split_names` reads them."""
    shown = [quoted(name) for name in names]
    hint = ". A name with a comma stands in double quotes" if any(name.startswith('"') for name in shown) else ""
    return ", ".join(shown) + hint


def listed(texts: Sequence[object], most: int, between: str = ", ", last: str = " and ") -> str:
    """The first texts, and how many more there are: `a, b and 5 more`.

    Args:
        most: that are named.
        between: any two of them.
        last: before the number of those left out.
    """
    shown = between.join(map(str, texts[:most]))
    return shown + (f"{last}{len(texts) - most} more" if len(texts) > most else "")
