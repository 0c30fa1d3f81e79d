"""A field that gives the label away is named, a useless one is not, and missing values may be the giveaway."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats.contingency import association
from sklearn.metrics import roc_auc_score

from training.bias.questions.fields import field_risk

PATIENTS = 240


@pytest.fixture
def films() -> pd.DataFrame:
    """Serial films of patients, half of them ill, with fields that do or don't know the label."""
    rng = np.random.default_rng(0)
    ill = np.arange(PATIENTS) % 2 == 0

    def follows(share: float) -> np.ndarray:
        return np.where(rng.random(PATIENTS) < share, ill, ~ill)

    columns = {
        "patient": np.arange(PATIENTS),
        "target": np.where(ill, "covid", "not covid"),
        "source": np.where(follows(0.98), "east", "west"),
        "view": np.where(follows(0.65), "AP", "PA"),
        "sex": rng.choice(["F", "M"], PATIENTS),
        "manufacturer": pd.Series(np.where(follows(0.97), "Acme", None), dtype=object),
        "width": 1000 + 300 * follows(0.99) + rng.integers(0, 200, PATIENTS),
        "nothing": "same",
    }
    table = pd.DataFrame(columns)
    return table.loc[np.repeat(table.index, rng.integers(1, 4, PATIENTS))].reset_index(drop=True)


@pytest.mark.trains
def test_each_field_gets_its_verdict(films: pd.DataFrame) -> None:
    names = ["source", "view", "sex", "manufacturer", "width", "nothing"]
    found = field_risk(films, "covid", names).set_index("field")
    assert list(found.index) == names
    assert found["verdict"].to_dict() == {
        "source": "confounded", "view": "weak", "sex": "clean", "manufacturer": "confounded", "width": "confounded",
        "nothing": "clean",
    }  # fmt: skip
    assert (found["low"] <= found["auroc"]).all() and (found["auroc"] <= found["high"]).all()
    assert all(name in sentence for name, sentence in found["sentence"].items())
    assert "possible shortcut" in found["sentence"]["view"] and "single value" in found["sentence"]["nothing"]


def test_the_numbers_are_those_of_the_field_itself(films: pd.DataFrame) -> None:
    row = field_risk(films, "covid", ["source"], resamples=100).iloc[0]
    table = pd.crosstab(films["source"], films["target"]).to_numpy()
    assert row["cramers_v"] == pytest.approx(association(table, method="cramer"))
    # With two values that every fold orders alike, only pairs within folds differ from the field as a score.
    assert row["auroc"] == pytest.approx(roc_auc_score(films["target"] == "covid", films["source"] == "east"), abs=0.01)


def test_missing_is_a_value_of_its_own(films: pd.DataFrame) -> None:
    row = field_risk(films, "covid", ["manufacturer"], resamples=100).iloc[0]
    assert row["missing"] == pytest.approx(films["manufacturer"].isna().mean())
    assert row["values"] == 2 and row["auroc"] > 0.9 and "not recorded" in row["sentence"]
    empty = films.assign(manufacturer=films["manufacturer"].fillna(""))
    pd.testing.assert_series_equal(field_risk(empty, "covid", ["manufacturer"], resamples=100).iloc[0], row)


@pytest.mark.trains
def test_a_constant_or_unrelated_field_does_not_fall_below_a_half(films: pd.DataFrame) -> None:
    row = field_risk(films, "covid", ["nothing"], resamples=100).iloc[0]
    assert row["low"] < row["auroc"] == 0.5 < row["high"] and math.isnan(row["cramers_v"])
    found = []
    for seed in range(40):
        field = np.random.default_rng(seed).integers(0, 3, PATIENTS).astype(str)[films["patient"]]
        found.append(field_risk(films.assign(field=field), "covid", ["field"], resamples=20, seed=seed)["auroc"][0])
    assert np.mean(found) == pytest.approx(0.5, abs=0.015)


def test_a_value_for_each_patient_is_no_prediction(films: pd.DataFrame) -> None:
    row = field_risk(films.assign(name=films["patient"].astype(str)), "covid", ["name"], resamples=100).iloc[0]
    assert (row["values"], row["auroc"], row["verdict"]) == (1, 0.5, "clean")


def test_serial_films_do_not_leak_through_the_folds(films: pd.DataFrame) -> None:
    """Twenty rooms of twelve patients would be known by their patients, were a patient in two folds."""
    rng = np.random.default_rng(3)
    ill = rng.random(PATIENTS) < 0.5
    patient = np.arange(PATIENTS).repeat(8)
    table = pd.DataFrame(
        {"patient": patient, "target": np.where(ill, "a", "b")[patient], "room": (patient // 12).astype(str)}
    )
    assert field_risk(table, "a", ["room"]).iloc[0]["auroc"] < 0.6


def test_few_patients_or_one_class_are_not_concluded_from(films: pd.DataFrame) -> None:
    few = films[films["patient"] < 18]
    one = films[films["target"] == "covid"]
    unlabelled = films.assign(target=None)
    for table in (few, one, unlabelled, films.iloc[:0]):
        row = field_risk(table, "covid", ["source"]).iloc[0]
        assert row["verdict"] == "cannot conclude" and "too few patients" in row["sentence"]
        assert all(math.isnan(row[name]) for name in ("auroc", "low", "high"))
    assert math.isnan(field_risk(one, "covid", ["source"]).iloc[0]["cramers_v"])


def test_films_without_a_target_are_left_out(films: pd.DataFrame) -> None:
    more = pd.concat([films, films.assign(target=None, source="elsewhere")], ignore_index=True)
    pd.testing.assert_frame_equal(
        field_risk(more, "covid", ["source"], resamples=100), field_risk(films, "covid", ["source"], resamples=100)
    )


def test_an_absent_field_names_the_columns_there_are(films: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"kVp'.*patient, target, source"):
        field_risk(films, "covid", ["source", "kVp"])
