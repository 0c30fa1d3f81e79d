"""The hyper-parameters that each candidate is tried with."""

import pytest

from training.benchmark.biased_mnist.protocol import TRIALS
from training.benchmark.biased_mnist.trials import settings_to_try
from training.methods import METHODS
from training.recipe.candidate import Candidate


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_has_the_same_budget_within_its_ranges(method: str) -> None:
    tried = settings_to_try(Candidate(method))
    ranges = {f.name: f.metadata["search"] for f in METHODS[method].parameters.__dataclass_fields__.values()}
    ranges = {name: search for name, search in ranges.items() if search}
    assert tried[0] == {} and len(tried) == (TRIALS if ranges else 1)
    for trial in tried[1:]:
        assert trial.keys() == ranges.keys()
        assert all(low * 0.99 <= trial[name] <= high * 1.01 for name, (low, high) in ranges.items())
    assert tried == settings_to_try(Candidate(method))  # no chance between two commands


def test_points_are_spread_on_the_scale_of_the_range() -> None:
    beta = sorted(trial["beta"] for trial in settings_to_try(Candidate("end"))[1:])
    assert beta[0] < 1 < beta[-1] and len(set(beta)) == len(beta)  # 0.1 to 50: a linear scale would start near 7


def test_what_is_fixed_is_not_tried() -> None:
    assert all(trial.keys() == {"beta"} for trial in settings_to_try(Candidate.parse("end:alpha=2"))[1:])
    assert settings_to_try(Candidate.parse("end:alpha=2,beta=4")) == [{}]
