"""Names of candidates, and the hyper-parameters that each is tried with."""

import pytest

from training.benchmark.biased_mnist.candidates import Candidate
from training.benchmark.biased_mnist.protocol import TRIALS
from training.methods import METHODS


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
    ],
)
def test_mistakes_are_sentences(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Candidate.parse(text)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_has_the_same_budget_within_its_ranges(method: str) -> None:
    trials = Candidate(method).trials()
    ranges = {f.name: f.metadata["search"] for f in METHODS[method].parameters.__dataclass_fields__.values()}
    ranges = {name: search for name, search in ranges.items() if search}
    assert trials[0] == {} and len(trials) == (TRIALS if ranges else 1)
    for trial in trials[1:]:
        assert trial.keys() == ranges.keys()
        assert all(low * 0.99 <= trial[name] <= high * 1.01 for name, (low, high) in ranges.items())
    assert trials == Candidate(method).trials()  # no chance between two commands


def test_points_are_spread_on_the_scale_of_the_range() -> None:
    beta = sorted(trial["beta"] for trial in Candidate("end").trials()[1:])
    assert beta[0] < 1 < beta[-1] and len(set(beta)) == len(beta)  # 0.1 to 50: a linear scale would start near 7


def test_what_is_fixed_is_not_tried() -> None:
    trials = Candidate.parse("end:alpha=2").trials()
    assert all(trial.keys() == {"beta"} for trial in trials[1:])
    assert Candidate.parse("end:alpha=2,beta=4").trials() == [{}]
