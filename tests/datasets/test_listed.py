"""Lists in a sentence."""

from datasets.listed import listed, named


def test_a_list_is_cut_after_the_most_and_says_how_many_are_left() -> None:
    assert listed([], 2) == ""
    assert listed(["a"], 2) == "a"
    assert listed([3, 4], 2) == "3, 4"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
    assert listed(["a", "b", "c"], 2, "; ", "; and ") == "a; b; and 1 more"


def test_names_to_choose_from_can_be_copied() -> None:
    assert named(["a", "b"]) == "a, b"
    assert (
        named(["Klinik Nord, Haus 2", "b"]) == '"Klinik Nord, Haus 2", b. A name with a comma stands in double quotes'
    )
