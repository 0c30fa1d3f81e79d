"""Simulated trainings have the AUROC they claim, and intervals over patients and seeds keep their promise."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from training.bias.simulation.seeds import SETTINGS, Setting, seeds_coverage, simulate_trainings

DIFFER = SETTINGS["equal, seeds differ"]


def test_trainings_have_the_expected_auroc_within_a_source_and_the_spread() -> None:
    aurocs = []
    for number in range(40):
        films = simulate_trainings(np.random.default_rng(number), Setting(0.75, 0.85, 0.3), 5, 1500)
        chosen = films.source == 0
        aurocs.append(
            [[roc_auc_score(films.is_positive[chosen], s[chosen]) for s in scores.T] for scores in films.scores]
        )
    found = np.array(aurocs)
    assert found.mean(axis=(0, 2)) == pytest.approx([0.75, 0.85], abs=0.01)
    assert found[:, 0].std(axis=1, ddof=1).mean() == pytest.approx(0.3 * 0.22, rel=0.2)  # 0.22: of AUROC by separation


@pytest.mark.trains
def test_intervals_over_patients_and_seeds_hold_where_those_over_patients_alone_do_not() -> None:
    found = seeds_coverage(DIFFER._replace(spread=0.4), 4, 200, 60)
    assert found["both"] >= 0.87 and found["patients"] < 0.7 and found["different"] < 0.15


@pytest.mark.trains
def test_a_difference_that_is_there_is_found_more_often_with_more_seeds() -> None:
    better = SETTINGS["0.05 better, seeds differ"]
    few, many = (seeds_coverage(better, seeds, 150, 40)["detected"] for seeds in (3, 10))
    assert few < many and many > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("patients", [40, 250])
@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
def test_95_percent_intervals_hold_the_difference(setting: Setting, seeds: int, patients: int) -> None:
    held = round(500 * seeds_coverage(setting, seeds, patients, 500)["both"])
    assert binomtest(held, 500).proportion_ci(method="wilson").high >= 0.93
