"""Columns of tables that several pages draw."""

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from streamlit.elements.lib.column_types import ColumnConfig


def three_decimals(label: str | None = None, form: str = "%.3f", help: str | None = None) -> "ColumnConfig":
    """A column of numbers; without a label it is headed by its name."""
    return st.column_config.NumberColumn(label, format=form, help=help)
