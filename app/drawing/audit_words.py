"""How an audit's values are put: answers, gaps between groups, names, numbers of three decimals."""

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

if TYPE_CHECKING:
    from streamlit.elements.lib.column_types import ColumnConfig

NOT_KNOWN = "cannot conclude"
WORDS = {"found": "● found", "not found": "○ not found", NOT_KNOWN: f"? {NOT_KNOWN}"}


def gap_words(gap: dict) -> str:
    """How far groups of one run are apart, in a sentence."""
    counted = f"{gap['groups_measured']:.0f} of {gap['groups']:.0f} groups measured"
    if pd.isna(gap["difference"]):
        return f"{gap['note'] or NOT_KNOWN}."
    sentence = f"{gap['worst_group']} ({gap['worst']:.3f}) and {gap['best_group']} ({gap['best']:.3f}) differ by "
    sentence += f"{gap['difference']:.3f} ({gap['low']:.3f} to {gap['high']:.3f}); {counted}."
    return sentence if gap["low"] > 0 else sentence + " No two groups differ demonstrably."


def three_decimals(label: str, form: str = "%.3f") -> "ColumnConfig":
    """A column of numbers."""
    return st.column_config.NumberColumn(label, format=form)


def spaced(name: str) -> str:
    """A name of a column as words."""
    return name.replace("_", " ")


def escaped(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#$~|:" else letter for letter in text)
