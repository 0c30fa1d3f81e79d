from typing import Any

import pytest

from models.keywords import TAKEN, KeywordError, parse_keywords, plain_keywords, written


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1), ("a=0.1", 0.1), ("a=1e-3", 1e-3), ("a=-2", -2), ("a=True", True), ("a=gelu", "gelu"), ("a='x y'", "x y"),
        ("a=(1,2)", (1, 2)), ("a=[1,[2,3]]", (1, (2, 3))), ("a = 1", 1), ("a=''", ""),
    ],
)  # fmt: skip
def test_pair(text: str, value: Any) -> None:
    found = parse_keywords([text])
    assert found == (("a", value),)
    assert type(found[0][1]) is type(value)
    hash(found)


def test_pairs_are_in_the_order_of_their_names() -> None:
    assert parse_keywords(["b=1", "a=2"]) == parse_keywords(["a=2", "b=1"]) == (("a", 2), ("b", 1))
    assert parse_keywords([]) == ()
    assert written(parse_keywords(["b=1", "a=(1,2)"])) == "a=(1, 2) b=1"


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["a"], "'a' is no name=value pair"),
        (["=1"], "'=1' is no name=value pair"),
        (["a=1", "a=2"], "a is given twice"),
        (["a-b=1"], "'a-b' is no name"),
        (["_target_=os.getcwd"], "'_target_' is no name"),
        (["a="], "a=: give a number"),
        (["a=__import__('os')"], "a=__import__"),
        (["a=os.system('x')"], "give a number"),
        (["a={'b': 1}"], "give a number"),
        (["a={1}"], "give a number"),
        (["a=None"], "give a number"),
        (["a=b'x'"], "give a number"),
        (["a=1j"], "give a number"),
        (["a=1e999"], "give a number"),
        (["a=" + "(" * 5000], "give a number"),
        (["a=[1,None]"], "give a number"),
        (["a='$print(1)'"], "give a number"),
    ],
)
def test_anything_else_is_refused(pairs: list[str], said: str) -> None:
    with pytest.raises(KeywordError) as caught:
        parse_keywords(pairs)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", TAKEN)
def test_names_that_are_not_free(name: str) -> None:
    with pytest.raises(KeywordError, match=f"{name} can't be given here: .*{TAKEN[name]}"):
        parse_keywords([f"{name}=1"])


def test_lists_of_json_are_tuples_again() -> None:
    assert plain_keywords([["a", [1, [2]]], ["b", "c"]]) == (("a", (1, (2,))), ("b", "c"))
