"""What a threshold does, against counting by hand and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_score, recall_score

from app.numbers.operating_point import (
    OWN,
    SENSITIVE,
    YOUDEN,
    at_prevalence,
    flag,
    in_a_thousand,
    operating_point,
    presets,
)
from training.bias.numbers.calibration import fit_threshold
from training.bias.numbers.groups import ALL_FILMS


@pytest.fixture(scope="module")
def films() -> pd.DataFrame:
    """120 films of 60 patients; the source `few` has four patients with covid and enough without."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(60), 2)
    source = np.where(patient < 40, "many", "few")
    target = np.where((patient % 2 == 0) & (patient < 40) | (patient >= 56), "covid", "none")
    score = np.clip(0.35 + 0.3 * (target == "covid") + rng.normal(size=120) * 0.2, 0, 1)
    return pd.DataFrame({"patient": patient, "source": source, "target": target, "score": score, "prediction": target})


def test_rates_are_those_of_scikit_learn(films: pd.DataFrame) -> None:
    table = at_prevalence(operating_point(films, "covid", 0.5), (films["target"] == "covid").mean())
    everything = table.iloc[0]
    truth, called = films["target"] == "covid", films["score"] >= 0.5
    assert everything["group"] == ALL_FILMS and everything["films"] == 120 and everything["patients"] == 60
    assert everything["sensitivity"] == pytest.approx(recall_score(truth, called))
    assert everything["specificity"] == pytest.approx(recall_score(~truth, ~called))
    # At the prevalence of the sample itself, Bayes' rule is counting.
    assert everything["ppv"] == pytest.approx(precision_score(truth, called))
    assert everything["npv"] == pytest.approx(precision_score(~truth, ~called))
    for metric in ("sensitivity", "specificity", "ppv", "npv"):
        assert everything[f"{metric}_low"] < everything[metric] < everything[f"{metric}_high"]


def test_too_few_patients_of_a_class_allow_no_conclusion(films: pd.DataFrame) -> None:
    point = operating_point(films, "covid", 0.5)
    few = at_prevalence(point, 0.3).set_index("group").loc["few"]
    assert few["ill"] == 4 and few["well"] == 16
    assert few[["sensitivity", "sensitivity_low", "ppv", "ppv_low", "npv", "npv_high"]].isna().all()
    assert 0 <= few["specificity_low"] <= few["specificity"] <= few["specificity_high"] <= 1
    assert "4 patients with covid" in point.query("group == 'few' and metric == 'sensitivity'")["note"].iloc[0]


def test_presets_and_flags_name_what_training_would_set(films: pd.DataFrame) -> None:
    points = presets(films, "covid", 1.2)
    assert points[OWN] == 1.0, "a threshold above all scores is shown at the end of the slider"
    ill = films["target"] == "covid"
    assert (films["score"][ill] >= points[SENSITIVE]).mean() >= 0.9
    assert flag(films, "covid", points[YOUDEN]) == "--operating-point youden"
    text = flag(films, "covid", 0.4)
    fitted = fit_threshold(films["score"].to_numpy(), ill.to_numpy(), text.removeprefix("--operating-point "))
    assert ((films["score"] >= fitted) & ill).sum() == ((films["score"] >= 0.4) & ill).sum(), "it finds the same films"
    assert flag(films.assign(score=films["score"] * 0.9), "covid", 1.0) == "--operating-point specificity:1"


def test_a_thousand_films() -> None:
    sentence = in_a_thousand(0.9, 0.8, 0.1)
    assert "100 would be positive: 90 called so, 10 missed" in sentence and "900 others, 180 would be false" in sentence
