"""A planted difference is found, none is not; both against real swaps, scikit-learn and hand values."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from training.bias.numbers.compare import CompareError, compare, holm
from training.bias.numbers.groups import alignment, within_source_auroc, worst_group_accuracy
from training.bias.numbers.metrics import METRICS, PredictionsError, point_metric

FEW = {"resamples": 300, "permutations": 300}


def pair(noise: float, seed: int = 0, patients: int = 240) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two models' tables; the first has more noise by `noise`."""
    rng = np.random.default_rng(seed)
    patient = np.arange(patients).repeat(2)
    covid = (rng.random(patients) < 0.5)[patient]
    signal = 1.5 * (covid - 0.5) + 0.7 * rng.normal(size=patients)[patient]
    table = pd.DataFrame(
        {
            "file": [f"film {number}" for number in range(len(patient))],
            "patient": patient,
            "source": np.array(["a", "b", "c"])[patient % 3],
            "target": np.where(covid, "covid", "not covid"),
        }
    )

    def model(spread: float) -> pd.DataFrame:
        score = expit(signal + spread * rng.normal(size=len(patient)))
        return table.assign(score=score, prediction=np.where(score >= 0.5, "covid", "not covid"))

    return model(0.7 + noise), model(0.7)


def row(frame: pd.DataFrame, part: str, metric: str) -> pd.Series:
    return frame[(frame["part"] == part) & (frame["metric"] == metric)].squeeze()


def test_a_planted_difference_is_found_and_the_other_way_round_it_is_worse() -> None:
    reference, other = pair(noise=2.5)
    found, back = compare(reference, other, "covid"), compare(other, reference, "covid")
    for metric in METRICS:
        assert row(found, "all films", metric)["verdict"] == "better", metric
        assert row(back, "all films", metric)["verdict"] == "worse", metric
    assert row(found, "within sources", "auroc")["verdict"] == "better"
    np.testing.assert_allclose(found["difference"], -back["difference"])
    np.testing.assert_allclose(found["p"], back["p"])
    smooth = found["part"] != "worst group"
    np.testing.assert_allclose(found["low"][smooth], -back["high"][smooth], atol=1e-9)
    assert (found["p"] <= found["p_holm"]).all() and found["p"].min() == pytest.approx(1 / 2001)


def test_no_difference_is_not_found() -> None:
    found = compare(*pair(noise=0.0), "covid", **FEW)
    assert (found["verdict"] == "cannot conclude").all()
    assert ((found["low"] <= found["difference"]) & (found["difference"] <= found["high"])).all()
    assert (found["detectable"] > 0).all()


def test_a_model_against_itself_differs_in_nothing() -> None:
    table, _ = pair(noise=0.0)
    found = compare(table, table.sample(frac=1, random_state=0), "covid", {"a": "covid"}, **FEW)
    assert (found[["difference", "low", "high", "detectable"]] == 0).all(axis=None)
    assert (found[["p", "p_holm"]] == 1).all(axis=None) and (found["verdict"] == "cannot conclude").all()


def test_values_are_those_of_each_table() -> None:
    reference, other = pair(noise=0.5)
    majority = {"a": "covid", "b": "not covid"}
    found = compare(reference, other, "covid", majority, **FEW)
    for column, table in (("reference", reference), ("other", other)):
        for metric in METRICS:
            value = point_metric(table, metric, "covid")
            assert row(found, "all films", metric)[column] == pytest.approx(value)
        covid = table["target"] == "covid"
        for source in "abc":
            at = table["source"] == source
            assert row(found, f"within {source}", "auroc")[column] == pytest.approx(
                roc_auc_score(covid[at], table["score"][at])
            )
        assert row(found, "within sources", "auroc")[column] == pytest.approx(
            within_source_auroc(table, "covid", 10).estimate
        )
        assert row(found, "worst group", "accuracy")[column] == pytest.approx(worst_group_accuracy(table))
        side = alignment(table["target"], table["source"], majority)
        for name in ("aligned", "conflicting"):
            part = table[side == name]
            assert row(found, name, "accuracy")[column] == pytest.approx((part["target"] == part["prediction"]).mean())
            assert row(found, name, "accuracy")["films"] == len(part)
    np.testing.assert_allclose(found["difference"], found["other"] - found["reference"])


@pytest.mark.trains
def test_p_is_that_of_swapping_patients_predictions_by_hand() -> None:
    reference, other = pair(noise=0.8, patients=40)
    found = compare(reference, other, "covid", permutations=2000, resamples=10)
    covid, patient = (reference["target"] == "covid").to_numpy(), reference["patient"].to_numpy()
    first, second = reference["score"].to_numpy(), other["score"].to_numpy()
    ranks = pd.Series(first).rank().to_numpy(), pd.Series(second).rank().to_numpy()
    rng = np.random.default_rng(9)
    oracles = {
        "auroc": (ranks, roc_auc_score),
        "auprc": (ranks, average_precision_score),
        "brier": ((first, second), brier_score_loss),
    }
    for metric, ((a, b), function) in oracles.items():
        observed, extreme = function(covid, b) - function(covid, a), 0
        for _ in range(500):
            swapped = rng.integers(0, 2, 40)[patient] == 1
            gap = function(covid, np.where(swapped, a, b)) - function(covid, np.where(swapped, b, a))
            extreme += abs(gap) >= abs(observed) - 1e-12
        assert row(found, "all films", metric)["p"] == pytest.approx(extreme / 500, abs=0.06), metric


def test_another_scale_changes_calibration_and_not_the_order() -> None:
    table, _ = pair(noise=0.0)
    found = compare(table, table.assign(score=table["score"] ** 4), "covid", **FEW)
    for part, metric in (
        ("all films", "auroc"),
        ("all films", "auprc"),
        ("within a", "auroc"),
        ("all films", "accuracy"),
    ):
        assert (row(found, part, metric)["difference"], row(found, part, metric)["p"]) == (pytest.approx(0), 1)
    assert row(found, "all films", "brier")["verdict"] == row(found, "all films", "ece")["verdict"] == "worse"


def test_too_few_patients_have_a_note_and_no_place_in_the_family() -> None:
    reference, other = (table[table["patient"] < 19] for table in pair(noise=0.0))
    found = compare(reference, other, "covid", **FEW)
    auroc = row(found, "all films", "auroc")
    assert (
        auroc["note"].startswith("cannot conclude: ") and math.isnan(auroc["p_holm"]) and math.isnan(auroc["reference"])
    )
    assert auroc["verdict"] == "cannot conclude" and auroc["method"] == ""
    accuracy = row(found, "all films", "accuracy")
    assert accuracy["note"] == "" and accuracy["p_holm"] >= accuracy["p"]
    none = compare(reference.head(4), other.head(4), "covid", **FEW)
    assert (none["note"] != "").all() and none["p"].isna().all() and (none["verdict"] == "cannot conclude").all()


def test_sources_of_one_class_are_in_no_within_row() -> None:
    reference, other = pair(noise=0.0)
    kept = ~((reference["source"] == "b") & (reference["target"] == "covid"))
    found = compare(reference[kept], other[kept], "covid", **FEW)
    assert "within b" not in set(found["part"]) and "within a" in set(found["part"])
    assert row(found, "within sources", "auroc")["films"] == (kept & (reference["source"] != "b")).sum()


def test_without_a_positive_class_accuracies_are_compared() -> None:
    reference, other = (table.assign(score=np.nan) for table in pair(noise=0.0))
    found = compare(reference, other, None, {"a": "covid"}, **FEW)
    assert found[["part", "metric"]].agg(" ".join, axis=1).tolist() == [
        "all films accuracy", "all films balanced_accuracy", "aligned accuracy", "conflicting accuracy",
        "worst group accuracy",
    ]  # fmt: skip
    assert found["p"].notna().all()


def test_films_that_no_one_labelled_are_left_out() -> None:
    reference, other = pair(noise=0.3)
    more = [pd.concat([t, t.head(3).assign(file=["x", "y", "z"], target=None)]) for t in (reference, other)]
    pd.testing.assert_frame_equal(compare(*more, "covid", **FEW), compare(reference, other, "covid", **FEW))


def test_tables_that_do_not_pair_are_refused_in_words() -> None:
    reference, other = pair(noise=0.0)
    with pytest.raises(CompareError, match="480 in the reference, 470 in the other, 470 in both"):
        compare(reference, other.iloc[10:], "covid")
    with pytest.raises(CompareError, match="0 in both; films hashed under different keys never match"):
        compare(reference, other.assign(file=other["file"] + "'"), "covid")
    with pytest.raises(CompareError, match="2 films are in the other table more than once"):
        compare(reference, pd.concat([other, other.head(2)]), "covid")
    target = other["target"].copy()
    target[:3] = np.where(target[:3] == "covid", "not covid", "covid")
    with pytest.raises(CompareError, match="3 of 480 films have another target"):
        compare(reference, other.assign(target=target), "covid")
    target[:3] = None
    with pytest.raises(CompareError, match="3 of 480 films have another target"):
        compare(reference, other.assign(target=target), "covid")
    with pytest.raises(PredictionsError, match="no column 'file'"):
        compare(reference.drop(columns="file"), other, "covid")


def test_holm_by_hand() -> None:
    found = holm(np.array([0.01, np.nan, 0.04, 0.03, 0.5]))
    np.testing.assert_allclose(found, [0.04, np.nan, 0.09, 0.09, 0.5])
    assert np.isnan(holm(np.array([np.nan]))).all() and holm(np.array([0.6, 0.7])).tolist() == [1, 1]
