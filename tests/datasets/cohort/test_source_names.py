"""Spellings of one source become one name, and what was changed is said."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from datasets.cohort.source_names import with_one_spelling
from datasets.spelling import LOOKS_LATIN, cleaned, looks_like, spelling_key, spellings_of_number

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


def test_numbers_that_a_spreadsheet_changed_make_no_new_source() -> None:
    source, notes = with_one_spelling(pd.Series(["01", "01", "1.0", "1", "2", "10", "100", "1.5", "a1", "a01"]))
    assert source.tolist() == ["01"] * 4 + ["2", "10", "100", "1.5", "a1", "a01"]
    assert len(notes) == 1 and "'1.0'" in notes[0]


def test_other_ways_to_write_a_number() -> None:
    others = spellings_of_number("0012")
    assert {"12", "012", "00012", "12.0"} < set(others) and "0012" not in others and "120" not in others
    assert "AB-7" in spellings_of_number("AB-007") and "AB-007" in spellings_of_number("AB-7")
    assert "12" in spellings_of_number("12.0") and not spellings_of_number("Meier")


def test_different_sources_stay_and_nothing_is_said() -> None:
    names = ["north", "south", "Zürich", "北京", "site 1", "site-1", ""]
    source, notes = with_one_spelling(pd.Series(names))
    assert source.tolist() == names and notes == []


def test_full_width_letters_and_other_dashes_and_apostrophes_make_no_new_source() -> None:
    names = [
        "eurorad",
        "\uff45\uff55\uff52\uff4f\uff52\uff41\uff44",
        "site-1",
        "site\u20131",
        "St Mary's",
        "St Mary\u2019s",
    ]
    source, notes = with_one_spelling(pd.Series(names))
    assert source.tolist() == ["eurorad"] * 2 + ["site-1"] * 2 + ["St Mary's"] * 2
    assert [note.endswith(": taken for one.") for note in notes] == [True] * 3


def test_letters_of_another_script_make_two_sources_and_a_sentence() -> None:
    names = ["eurorad", "\u0435urorad", "\u0421\u0421\u0421\u0420", "\u0441\u0435\u0432\u0435\u0440", "\u5317\u4eac"]
    source, notes = with_one_spelling(pd.Series(names))
    assert source.tolist() == names
    (note,) = notes
    assert "look alike, but their letter 1 is LATIN SMALL LETTER E and CYRILLIC SMALL LETTER IE" in note
    assert "are taken for two" in note


def test_a_source_that_looks_like_one_of_the_training_is_told() -> None:
    source, notes = with_one_spelling(pd.Series(["\u039dorth"]), known=["North", "South"])
    assert source.tolist() == ["\u039dorth"] and len(notes) == 1 and "GREEK CAPITAL LETTER NU" in notes[0]


def test_each_look_alike_is_one_letter_of_another_script() -> None:
    for letter, latin in LOOKS_LATIN.items():
        assert letter > 0x7F and chr(latin).isascii() and looks_like(chr(letter)) == chr(latin).casefold()


@given(st.text())
def test_a_cleaned_name_is_clean(name: str) -> None:
    assert cleaned(cleaned(name)) == cleaned(name)
    assert spelling_key(f" {name.strip()}\u200b ") == spelling_key(name.strip())
