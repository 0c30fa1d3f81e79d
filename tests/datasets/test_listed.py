"""Lists in a sentence."""

from datasets.listed import listed


def test_a_list_is_cut_after_the_most_and_says_how_many_are_left() -> None:
    assert listed([], 2) == ""
    assert listed(["a"], 2) == "a"
    assert listed([3, 4], 2) == "3, 4"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
    assert listed(["a", "b", "c"], 2, "; ", "; and ") == "a; b; and 1 more"
