"""What a threshold does, against counting by hand and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_score, recall_score

from app.numbers.operating_point import (
    at_prevalence,
    benefit_of,
    benefit_of_calling_all,
    flag,
    in_a_thousand,
    of_source,
    operating_point,
    wanted_threshold,
    youden_threshold,
)
from training.bias.numbers.calibration import fit_threshold
from training.bias.numbers.groups import ALL_FILMS
from training.bias.numbers.metrics import PredictionsError


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


def test_counts_are_there_where_nothing_can_be_concluded(films: pd.DataFrame) -> None:
    rows = operating_point(films, "covid", 0.5).set_index(["group", "metric"])
    few = films[films["source"] == "few"]
    ill, called = few["target"] == "covid", few["score"] >= 0.5
    assert rows.loc[("few", "sensitivity"), ["called", "counted"]].tolist() == [(ill & called).sum(), 8]
    assert rows.loc[("few", "specificity"), ["called", "counted"]].tolist() == [(~ill & ~called).sum(), 32]
    assert rows.loc[(ALL_FILMS, "sensitivity"), "counted"] == (films["target"] == "covid").sum()


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("source", [ALL_FILMS, "many"])
def test_a_threshold_reaches_what_is_wanted_and_none_does_it_better(
    films: pd.DataFrame, source: str, share: float
) -> None:
    here = of_source(films, source)
    ill, score = here["target"] == "covid", here["score"]
    threshold = wanted_threshold(here, "covid", "sensitivity", share)
    assert (score[ill] >= threshold).mean() >= share > (score[ill] > threshold).mean()
    assert threshold == fit_threshold(score.to_numpy(), ill.to_numpy(), f"sensitivity:{share}")
    threshold = wanted_threshold(here, "covid", "specificity", share)
    assert (score[~ill] < threshold).mean() >= share > (score[~ill] < np.nextafter(threshold, 0)).mean()


def test_a_wanted_rate_is_that_which_is_measured_also_where_one_patient_has_many_films(films: pd.DataFrame) -> None:
    lows = films[films["target"] == "covid"].nsmallest(1, "score")
    many = pd.concat([films, *[lows] * 60], ignore_index=True)
    threshold = wanted_threshold(many, "covid", "sensitivity", 0.9)
    measured = operating_point(many, "covid", threshold).set_index(["group", "metric"])
    assert measured.loc[(ALL_FILMS, "sensitivity"), "estimate"] >= 0.9


def test_a_source_of_one_label_still_has_a_sensitivity(films: pd.DataFrame) -> None:
    ill = films[films["target"] == "covid"]
    assert 0 < wanted_threshold(ill, "covid", "sensitivity", 0.9) < 1
    for rate, part in (("specificity", ill), ("sensitivity", of_source(films, "few")), ("sensitivity", films.iloc[:0])):
        with pytest.raises(PredictionsError, match="cannot conclude"):
            wanted_threshold(part, "covid", rate, 0.9)
    with pytest.raises(PredictionsError, match="cannot conclude"):
        youden_threshold(ill, "covid")


def test_flags_name_what_training_would_set(films: pd.DataFrame) -> None:
    ill = films["target"] == "covid"
    assert flag(films, "covid", youden_threshold(films, "covid")) == "--operating-point youden"
    text = flag(films, "covid", 0.4)
    fitted = fit_threshold(films["score"].to_numpy(), ill.to_numpy(), text.removeprefix("--operating-point "))
    assert ((films["score"] >= fitted) & ill).sum() == ((films["score"] >= 0.4) & ill).sum(), "it finds the same films"
    assert flag(films.assign(score=films["score"] * 0.9), "covid", 1.0) == "--operating-point specificity:1"


def test_net_benefit_by_prevalence_is_counting(films: pd.DataFrame) -> None:
    rates = operating_point(films, "covid", 0.5)
    found = benefit_of(rates, ALL_FILMS, 0.1, [5.0, 20.0]).set_index("prevalence")
    ill, called = films["target"] == "covid", films["score"] >= 0.5
    by_hand = 20 * (called & ill).sum() / ill.sum() - 0.1 * 80 * (called & ~ill).sum() / (~ill).sum()
    assert found.loc[20.0, "estimate"] == pytest.approx(by_hand)
    assert found.loc[20.0, "low"] < by_hand < found.loc[20.0, "high"]
    every = benefit_of_calling_all(0.1, [20.0]).set_index("prevalence")
    assert every.loc[20.0, "estimate"] == every.loc[20.0, "low"] == pytest.approx(20 - 8)
    assert (
        benefit_of(rates, "few", 0.1, [20.0])["estimate"].isna().all()
        and benefit_of(rates, "nowhere", 0.1, [20.0])["low"].isna().all()
    )


def test_a_thousand_films() -> None:
    sentence = in_a_thousand(0.9, 0.8, 0.1)
    assert "100 would be positive: 90 called so, 10 missed" in sentence and "900 others, 180 would be false" in sentence
