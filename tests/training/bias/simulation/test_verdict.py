"""The audit's questions in cohorts where the answers are known."""

import numpy as np
import pytest

from training.bias.simulation.verdict import (
    SCENARIOS,
    answered_yes,
    calibration_gaps,
    one_patient_with_many,
    two_hospitals,
)


def test_the_model_of_two_hospitals_is_as_good_at_both_unless_it_reads_the_source() -> None:
    blind, reads = (two_hospitals(SCENARIOS[f"{word}, 90 % and 10 %"], 0, 7) for word in ("blind", "reads the source"))
    assert len(blind) == 406 and blind["patient"].nunique() == 400
    odds = [np.log(films["score"] / (1 - films["score"])) for films in (blind, reads)]
    gap = (odds[1] - odds[0]).groupby(blind["source"]).mean()
    assert gap["A"] == pytest.approx(0.4) and gap["B"] == pytest.approx(-0.4)


@pytest.mark.trains
def test_a_blind_model_is_seldom_told_that_it_uses_the_source_and_one_that_does_is() -> None:
    blind = answered_yes(SCENARIOS["blind, 80 % of 100 and 10 % of 400"], 15, 100).set_index("question")
    reads = answered_yes(SCENARIOS["reads the source, 80 % of 100 and 10 % of 400"], 15, 100).set_index("question")
    for name in ("follows", "contradicting", "groups"):
        assert blind.loc[name, "yes"] <= 3, name
    assert blind.loc["works", "yes"] == blind.loc["works", "concluded"] == 15
    for name in ("follows", "contradicting"):
        assert reads.loc[name, "yes"] >= 10, name


@pytest.mark.trains
def test_a_calibrated_model_has_no_gap_in_calibration() -> None:
    assert calibration_gaps((20, 400), 40, 100) <= 5


@pytest.mark.trains
def test_one_patient_with_many_films_decides_nothing() -> None:
    found = one_patient_with_many(100, 59, 40, 100)
    assert found["different"] <= 6 and found["covered"] >= 34
