"""Headline metrics against scikit-learn and by hand; what is undefined is NaN."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, roc_auc_score

from training.bias.groups import (
    accuracy,
    alignment,
    auroc,
    majority_targets,
    split_metrics,
    worst_group_accuracy,
)


def films(seed: int = 0, size: int = 400, per_patient: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, size // per_patient).repeat(per_patient)
    score = np.clip(rng.normal(0.4 + 0.2 * target, 0.2), 0, 1)
    return pd.DataFrame(
        {
            "target": np.where(target, "covid", "not covid"),
            "prediction": np.where(score >= 0.5, "covid", "not covid"),
            "score": score,
            "source": rng.choice(["a", "b", "c"], size // per_patient).repeat(per_patient),
            "patient": np.arange(size) // per_patient,
        }
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_equal_to_scikit_learn(seed: int) -> None:
    table = films(seed)
    assert accuracy(table) == pytest.approx(accuracy_score(table["target"], table["prediction"]))
    assert auroc(table, "covid") == pytest.approx(roc_auc_score(table["target"] == "covid", table["score"]))
    cells = [accuracy_score(c["target"], c["prediction"]) for _, c in table.groupby(["target", "source"])]
    assert worst_group_accuracy(table) == pytest.approx(min(cells))


def test_too_few_patients_is_nan_however_many_films() -> None:
    table = films()
    one_class = table[table["target"] == "covid"]
    nine = one_class[one_class["patient"].isin(one_class["patient"].unique()[:9])]
    many_films = pd.concat([nine] * 50)
    assert math.isnan(accuracy(many_films)) and math.isnan(worst_group_accuracy(many_films))
    assert math.isnan(auroc(one_class, "covid"))
    negatives = table[table["target"] != "covid"]
    assert math.isnan(auroc(pd.concat([many_films, negatives]), "covid"))
    ten = one_class[one_class["patient"].isin(one_class["patient"].unique()[:10])]
    assert not math.isnan(auroc(pd.concat([ten, negatives]), "covid"))


def test_cells_of_few_patients_do_not_decide_the_worst_group() -> None:
    table = films()
    rare = table.iloc[:6].assign(source="rare", prediction="wrong")
    assert worst_group_accuracy(pd.concat([table, rare])) == worst_group_accuracy(table)


def test_aligned_and_conflicting_by_the_majority_of_training() -> None:
    target = pd.Series(["covid"] * 3 + ["not covid"] * 3)
    majority = majority_targets(target, pd.Series(["a", "a", "b", "a", "b", "b"]))
    assert majority == {"a": "covid", "b": "not covid"}
    side = alignment(pd.Series(["covid", "not covid", "covid"]), pd.Series(["a", "a", "unseen"]), majority)
    assert side.tolist() == ["aligned", "conflicting", ""]


def test_a_tied_source_has_no_majority() -> None:
    assert majority_targets(pd.Series(["x", "y"]), pd.Series(["a", "a"])) == {}


def test_split_metrics_divide_the_films() -> None:
    table = films()
    majority = {"a": "covid", "b": "not covid"}
    found = split_metrics(table, "covid", majority)
    aligned = table[(table["source"].map(majority) == table["target"])]
    assert found["aligned_accuracy"] == pytest.approx((aligned["prediction"] == aligned["target"]).mean())
    conflicting = table[table["source"].isin(["a", "b"]) & (table["source"].map(majority) != table["target"])]
    assert found["conflicting_accuracy"] == pytest.approx((conflicting["prediction"] == conflicting["target"]).mean())
    assert (found["n"], found["patients"]) == (400, 200)


def test_an_empty_split_is_all_nan() -> None:
    found = split_metrics(films().iloc[:0], "covid", {})
    assert (found.pop("n"), found.pop("patients")) == (0, 0)
    assert all(math.isnan(value) for value in found.values())
