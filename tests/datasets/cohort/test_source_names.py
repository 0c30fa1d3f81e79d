"""Spellings of one source become one name, and what was changed is said."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from datasets.cohort.source_names import cleaned, spelling_key, with_one_spelling

SPELLINGS = ["eurorad"] * 3 + ["Eurorad"] * 2 + ["EURORAD ", "euro\u200brad", "nih"]


def test_case_blanks_and_invisible_marks_make_no_new_source() -> None:
    source, notes = with_one_spelling(pd.Series(SPELLINGS))
    assert source.tolist() == ["eurorad"] * 7 + ["nih"]
    (note,) = notes
    assert note.startswith("Source 'eurorad' is also spelled") and r"'euro\u200brad'" in note and "'EURORAD '" in note


def test_the_most_frequent_spelling_wins_unless_one_is_known() -> None:
    assert set(with_one_spelling(pd.Series(["A", "a", "a"]))[0]) == {"a"}
    source, notes = with_one_spelling(pd.Series(["A", "a", "a"]), known=["A"])
    assert set(source) == {"A"} and notes == ["Source 'A' is also spelled 'a': taken for one."]


def test_different_sources_stay_and_nothing_is_said() -> None:
    names = ["north", "south", "Zürich", "北京", "site 1", "site-1", ""]
    source, notes = with_one_spelling(pd.Series(names))
    assert source.tolist() == names and notes == []


@given(st.text())
def test_a_cleaned_name_is_clean(name: str) -> None:
    assert cleaned(cleaned(name)) == cleaned(name)
    assert spelling_key(f" {name.strip()}\u200b ") == spelling_key(name.strip())
