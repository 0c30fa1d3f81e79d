"""Intervals hold with few patients and near 1."""

import pytest

from training.bias.simulation.small import small_coverage


@pytest.mark.trains
def test_shares_and_auroc_are_covered_with_few_patients_and_near_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.bias.simulation.small.COUNTS", (10, 20))
    monkeypatch.setattr("training.bias.simulation.small.TRUTHS", (0.5, 0.95))
    found = small_coverage(40, 100)
    assert (found["share"] >= 0.93).all() and (found["auroc"] >= 0.87).all() and len(found) == 4
