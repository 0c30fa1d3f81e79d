"""Names of candidates."""

import pytest

from training.recipe.candidate import Candidate


def test_a_name_says_what_is_fixed_and_is_read_back() -> None:
    candidate = Candidate.parse("end:form=signed,beta=2,unit-norm=false")
    assert candidate == Candidate("end", (("form", "signed"), ("beta", 2.0), ("unit_norm", False)))
    assert candidate.name == "end:form=signed,beta=2.0,unit_norm=false"
    assert Candidate.parse(candidate.name) == candidate
    assert Candidate.parse("erm:lr=1e-3").fixed == (("lr", 0.001),)  # text to YAML 1.1
    assert Candidate.parse("erm").name == "erm" and not Candidate.parse("erm").variant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ned", "no method ned"),
        ("erm:alpha=1", "no SETTING=VALUE of erm"),
        ("end:alpha", "no SETTING=VALUE"),
        ("end:alpha=much", "alpha must be of type float"),
        ("end:epochs=1.5", "epochs must be of type int"),
        ("end:lr=[1", r"\[1 is no value of lr"),
    ],
)
def test_mistakes_are_sentences(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Candidate.parse(text)
