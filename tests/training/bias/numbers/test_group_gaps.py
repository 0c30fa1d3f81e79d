"""Gaps between groups: the widest of all, or each group beside a reference."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from tests.training.bias.numbers.test_groups import films, value
from training.bias.numbers.groups import group_metrics, within_source_auroc
from training.bias.numbers.proportions import ratio_interval


def test_worse_is_higher_for_calibration_error() -> None:
    table = films()
    off = table["source"] == "b"
    table.loc[off, "score"] = 1 - table.loc[off, "score"]
    gaps = group_metrics(table, "covid", ["source"], resamples=200).gaps.set_index("metric")
    for metric in ("ece", "brier", "auroc"):
        row = gaps.loc[metric]
        assert row["worst_group"] == "b" and row["low"] > 0
        assert row["difference"] == pytest.approx(abs(row["worst"] - row["best"]))
        assert row["worst_low"] < row["worst"] < row["worst_high"]


def test_a_group_that_is_nearly_always_wrong_has_the_mirrored_interval() -> None:
    table = films()
    wrong = (table["source"] == "b") & (table["patient"] % 5 > 0)
    table.loc[wrong, "score"] = np.where(table.loc[wrong, "target"] == "covid", 0.05, 0.95)
    found = group_metrics(table, "covid", ["source"], resamples=300)
    row, own = found.gaps.set_index("metric").loc["brier"], value(found.values, "b", "brier")
    assert row["worst"] == own["estimate"] > 0.6 and row["worst_high"] < 1
    assert row["worst_high"] - row["worst"] == pytest.approx(row["worst"] - row["worst_low"])
    assert 0.5 < (row["worst_high"] - row["worst_low"]) / (own["high"] - own["low"]) < 2


def test_two_groups_have_a_gap_and_the_defaults_are_the_documented_ones() -> None:
    table = films(size=120).assign(sex=["F", "F", "M", "M"] * 30)
    found, again = group_metrics(table, "covid", ["sex"]), group_metrics(table, "covid", ["sex"], 2000, 0)
    pd.testing.assert_frame_equal(found.values, again.values)
    gap = found.gaps.set_index("metric").loc["accuracy"]
    assert gap["difference"] == pytest.approx(gap["best"] - gap["worst"]) and gap["note"] == ""
    assert {gap["best_group"], gap["worst_group"]} == {"F", "M"} and gap["high"] > gap["difference"]
    assert within_source_auroc(table, "covid") == within_source_auroc(table, "covid", 2000, 0)


def test_with_a_reference_group_the_others_are_compared_with_it() -> None:
    table = films()
    table.loc[table["source"] == "c", "prediction"] = "covid"
    gap = group_metrics(table, "covid", ["source"], 50, reference="a").gaps.set_index("metric").loc["specificity"]
    assert (gap["best_group"], gap["worst_group"]) == ("a", "c") and gap["low"] > 0 and gap["p"] < 0.001
    assert gap["worst"] == 0
    missing = group_metrics(table, "covid", ["source"], 50, reference="z").gaps
    assert missing["note"].str.contains("the reference z was not measured").sum() >= 8


@pytest.mark.parametrize("reference", [None, "a"])
def test_p_of_equalised_odds_is_corrected_for_its_two_rates(reference: str | None) -> None:
    table = films(seed=3)
    table.loc[(table["source"] == "c") & (table["patient"] % 6 == 0), "prediction"] = "covid"
    p = group_metrics(table, "covid", ["source"], 50, reference=reference).gaps.set_index("metric")["p"]
    least = min(p["sensitivity"], p["specificity"])
    assert 1e-6 < least < 0.3 and p["equalised_odds"] == pytest.approx(2 * least)
    alike = films().assign(prediction="covid")
    assert group_metrics(alike, "covid", ["source"], 50, reference=reference).gaps["p"].max() == 1


def test_which_of_two_groups_is_the_reference_changes_nothing() -> None:
    table = films(seed=3)
    table = table[table["source"] != "b"]
    table.loc[(table["source"] == "c") & (table["patient"] % 4 == 0), "prediction"] = "covid"
    first, second = (
        group_metrics(table, "covid", ["source"], 50, reference=name).gaps.set_index("metric") for name in "ac"
    )
    assert set(first["worst_group"][["accuracy", "specificity", "brier"]]) <= {"a", "c"}
    measured = first[(first["note"] == "") & (first["difference"] > 0)]
    assert len(measured) >= 8
    pd.testing.assert_frame_equal(measured, second.loc[measured.index])
    assert (measured["low"] <= measured["difference"]).all() and (measured["difference"] <= measured["high"]).all()
    assert ((measured["p"] > 0) & (measured["p"] <= 1)).all() and first.loc["specificity", "low"] > 0


def test_beside_a_reference_bounds_are_a_group_s_own_and_without_one_allow_for_the_choice() -> None:
    table = films()
    table.loc[table["source"] == "c", "prediction"] = "covid"
    chosen, named = (group_metrics(table, "covid", ["source"], 50, reference=name) for name in (None, "a"))
    pairs = [frame.gaps.set_index("metric").loc["accuracy"] for frame in (chosen, named)]
    assert [row["worst_group"] for row in pairs] == ["c", "c"]
    own = value(named.values, "c", "accuracy")
    assert pairs[1][["worst_low", "worst_high"]].tolist() == pytest.approx(own[["low", "high"]].tolist())
    assert pairs[0]["worst_high"] != pytest.approx(own["high"])
    shares = [value(named.values, name, "accuracy")[["estimate", "trials"]].to_numpy(float) for name in "ca"]
    low, high = ratio_interval(*(number for share in shares for number in share[:, None]), norm.isf(0.025))
    assert pairs[1][["ratio_low", "ratio_high"]].tolist() == pytest.approx([low[0], high[0]])
    assert pairs[1]["ratio"] == pytest.approx(pairs[1]["worst"] / pairs[1]["best"]) and 0 < pairs[1]["ratio"] < 1
