"""How answers, gaps between groups and column names of an audit are written."""

import pandas as pd

NOT_KNOWN = "cannot conclude"
WORDS = {"found": "● found", "not found": "○ not found", NOT_KNOWN: f"? {NOT_KNOWN}"}


def gap_words(gap: dict) -> str:
    """How far groups of one run are apart, in a sentence."""
    if pd.isna(gap["difference"]):
        return f"{gap['note'] or NOT_KNOWN}."
    sentence = (
        f"{gap['worst_group']} ({gap['worst']:.3f}) and {gap['best_group']} ({gap['best']:.3f}) differ by "
        f"{gap['difference']:.3f} ({gap['low']:.3f} to {gap['high']:.3f}); "
        f"{gap['groups_measured']:.0f} of {gap['groups']:.0f} groups measured."
    )
    return sentence if gap["low"] > 0 else sentence + " No two groups differ demonstrably."


def spaced(name: str) -> str:
    """A name of a column as words."""
    return name.replace("_", " ")
