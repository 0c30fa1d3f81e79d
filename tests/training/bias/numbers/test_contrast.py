"""Worse on films that contradict their source, within a label: blind models show none, by hand and in simulated cohorts."""

import math

import numpy as np
import pandas as pd
import pytest

from training.bias.numbers.alignment import majority_targets
from training.bias.numbers.contrast import contrast_difference_p, contrast_statistic, label_contrast, point_contrast

USUAL = {"north": "covid", "south": "not covid"}


def films(cells: dict[tuple[str, str], tuple[int, int]], each: int = 1) -> pd.DataFrame:
    """Right films of all films in each cell of source and target."""
    rows = []
    for (source, target), (right, count) in cells.items():
        other = {"covid": "not covid", "not covid": "covid"}[target]
        rows += [(source, target, target if i < right else other) for i in range(count) for _ in range(each)]
    table = pd.DataFrame(rows, columns=["source", "target", "prediction"])
    return table.assign(patient=np.arange(len(table)) // each)


BY_HAND = {
    ("north", "covid"): (54, 60),
    ("south", "covid"): (12, 20),
    ("south", "not covid"): (40, 50),
    ("north", "not covid"): (15, 25),
}


def test_by_hand_it_is_the_mean_of_the_gaps_within_labels() -> None:
    found = label_contrast(films(BY_HAND), USUAL)
    assert found.interval.estimate == pytest.approx(((0.9 - 0.6) + (0.8 - 0.6)) / 2)
    assert found.interval.low > 0 and found.p < 0.01 and found.labels == ("covid", "not covid")
    assert found.patients == pytest.approx(20)
    assert point_contrast(films(BY_HAND), USUAL) == pytest.approx(0.25)


def test_a_label_with_few_patients_on_one_side_is_left_out_and_none_is_nan() -> None:
    few = BY_HAND | {("north", "not covid"): (5, 9)}
    found = label_contrast(films(few), USUAL)
    assert found.labels == ("covid",) and found.interval.estimate == pytest.approx(0.3)
    none = label_contrast(films(few | {("south", "covid"): (4, 8)}), USUAL)
    assert (
        math.isnan(none.interval.estimate)
        and math.isnan(none.p)
        and none.labels == ()
        and none.patients == pytest.approx(9)
    )
    assert math.isnan(point_contrast(films(few | {("south", "covid"): (4, 8)}), USUAL))
    assert contrast_statistic(films({("north", "covid"): (9, 9)}), USUAL) is None
    assert math.isnan(label_contrast(films(BY_HAND), {}).interval.estimate)


def test_films_of_a_patient_that_are_alike_are_no_evidence_of_their_own() -> None:
    alone, three = label_contrast(films(BY_HAND), USUAL), label_contrast(films(BY_HAND, each=3), USUAL)
    assert three.interval == pytest.approx(alone.interval, rel=0.05)


def test_all_right_on_one_side_has_an_interval() -> None:
    found = label_contrast(films({("north", "covid"): (12, 12), ("south", "covid"): (12, 12)}), USUAL)
    assert (
        found.interval.estimate == 0
        and found.interval.low < -0.15
        and found.interval.high > 0.15
        and found.p == pytest.approx(1)
    )


@pytest.mark.parametrize("share", [(0.8, 0.1), (0.9, 0.1)])
def test_a_blind_model_is_not_told_that_it_uses_the_source(share: tuple[float, float]) -> None:
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        source, ill = np.repeat(["north", "south"], [100, 400]), rng.random(500) < np.repeat(share, [100, 400])
        called = 1.5 * ill - 0.75 + rng.normal(size=500) > 0.6
        names = np.array(["not covid", "covid"], dtype=object)
        table = pd.DataFrame(
            {
                "patient": range(500),
                "source": source,
                "target": names[ill.astype(int)],
                "prediction": names[called.astype(int)],
            }
        )
        found.append(label_contrast(table, majority_targets(table["target"], table["source"])).interval)
    assert np.mean([interval.low > 0 for interval in found]) <= 0.06


def test_the_statistic_is_the_contrast_and_swapped_models_are_tested() -> None:
    table = films(BY_HAND)
    statistic = contrast_statistic(table, USUAL)
    assert statistic is not None and statistic(np.ones((len(table), 1)))[0, 0] == pytest.approx(0.25)
    fair = table.assign(prediction=films({cell: (count, count) for cell, (_, count) in BY_HAND.items()})["prediction"])
    assert contrast_difference_p(table, fair, USUAL, 500, 0) < 0.05
    assert contrast_difference_p(table, table, USUAL, 500, 0) == 1
    assert math.isnan(contrast_difference_p(table.head(5), fair.head(5), USUAL, 100, 0))
