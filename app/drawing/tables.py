"""Columns of tables that several pages draw."""

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

if TYPE_CHECKING:
    from streamlit.elements.lib.column_types import ColumnConfig

NO_BREAK = "\N{NO-BREAK SPACE}"
# By tone of an answer, read on white and on black.
TINTS = {
    "good": "background-color: rgba(26, 127, 55, 0.15)",
    "bad": "background-color: rgba(179, 38, 30, 0.17)",
    "open": "background-color: rgba(217, 164, 0, 0.18)",
    "": "",
}


def decimals(*names: str, form: str = "%.3f", **headings: str) -> "dict[str, ColumnConfig]":
    """Columns of numbers, headed by their names or by what is given for them."""
    return {name: st.column_config.NumberColumn(headings.get(name), format=form) for name in (*names, *headings)}


def score_and_call(scores: pd.Series, calls: pd.Series) -> pd.Series:
    """`0.921 covid` in one column, for two a run would be cut on a narrow page; empty where there is no score."""
    return scores.map("{:.3f} ".format, na_action="ignore").fillna("") + calls.fillna("").astype(str)
