"""Lists in a sentence: the first few of them, and how many more there are."""

from collections.abc import Sequence


def listed(texts: Sequence[object], most: int, between: str = ", ", last: str = " and ") -> str:
    """ "a, b and 5 more" of seven texts of which a sentence names two.

    Args:
        most: that are named.
        between: any two of them.
        last: before the number of those left out.
    """
    shown = between.join(map(str, texts[:most]))
    return shown + (f"{last}{len(texts) - most} more" if len(texts) > most else "")
