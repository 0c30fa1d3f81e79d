"""Every metric against scikit-learn and by hand, weighted and not, on ordinary and on degenerate tables."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    recall_score,
    roc_auc_score,
)

from training.bias.numbers.metrics import (
    METRICS,
    PredictionsError,
    Ranking,
    film_metrics,
    metric_names,
    point_metric,
    pooled_auroc,
    read_films,
    reliability_curve,
    roc_points,
    shortfall,
)


def films(seed: int = 0, patients: int = 60, decimals: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    patient = np.arange(patients).repeat(rng.integers(1, 4, patients))
    positive = rng.random(len(patient)) < 0.4
    score = np.round(np.clip(rng.normal(0.4 + 0.2 * positive, 0.2), 0, 1), decimals)
    return pd.DataFrame(
        {
            "patient": patient,
            "target": np.where(positive, "covid", "not covid"),
            "score": score,
            "prediction": np.where(score >= 0.45, "covid", "not covid"),
        }
    )


def naive_ece(positive: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """Of films that are each of another patient, less the mean of what a calibrated model shows."""
    total = 0.0
    for low in range(10):
        inside = (score >= low / 10) & ((score < (low + 1) / 10) | (low == 9))
        if weight[inside].sum() > 0:
            gap = np.average(score[inside], weights=weight[inside]) - np.average(
                positive[inside], weights=weight[inside]
            )
            chance = np.sqrt(2 / np.pi * np.sum(weight[inside] * score[inside] * (1 - score[inside])))
            total += (weight[inside].sum() * abs(gap) - chance) / weight.sum()
    return total


def expected(table: pd.DataFrame, weight: np.ndarray) -> dict[str, float]:
    """By scikit-learn, NaN where a class has no weight."""
    target, prediction, score = (table[name].to_numpy() for name in ("target", "prediction", "score"))
    positive = target == "covid"
    both = bool(weight[positive].sum() > 0 and weight[~positive].sum() > 0)
    kept = weight > 0  # scikit-learn counts a class of no weight as present
    nan = float("nan")
    recall = {
        name: recall_score(target, prediction, pos_label=name, sample_weight=weight)
        if weight[target == name].sum() > 0
        else nan
        for name in ("covid", "not covid")
    }
    return {
        "accuracy": accuracy_score(target, prediction, sample_weight=weight),
        "balanced_accuracy": balanced_accuracy_score(target[kept], prediction[kept], sample_weight=weight[kept]),
        "auroc": roc_auc_score(positive, score, sample_weight=weight) if both else nan,
        "auprc": average_precision_score(positive, score, sample_weight=weight) if both else nan,
        "sensitivity": recall["covid"],
        "specificity": recall["not covid"],
        "ece": naive_ece(positive, score, weight),
        "brier": brier_score_loss(positive, score, sample_weight=weight, pos_label=True),
    }


@pytest.mark.trains
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), decimals=st.sampled_from([0, 1, 2, 8]))
def test_weighted_metrics_are_those_of_scikit_learn(seed: int, decimals: int) -> None:
    table = films(seed, decimals=decimals)
    rng = np.random.default_rng(seed)
    weights = np.stack([np.ones(len(table)), rng.integers(0, 4, len(table)), rng.random(len(table))], axis=1)
    by_film = read_films(table.assign(patient=np.arange(len(table))), "covid")
    measured = film_metrics(by_film, METRICS)(weights)
    for column, weight in enumerate(weights.T):
        for metric, value in expected(table, weight).items():
            assert measured[METRICS.index(metric), column] == pytest.approx(value, nan_ok=True), metric


degenerate = st.lists(
    st.tuples(
        st.booleans(),
        st.booleans(),
        st.sampled_from([0.0, 0.05, 0.1, 0.5, 0.95, 1.0]),
        st.sampled_from([0.0, 1.0, 2.0]),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.trains
@settings(max_examples=150, deadline=None)
@given(rows=degenerate)
@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
def test_degenerate_tables_agree_too_and_undefined_is_nan(rows: list[tuple[bool, bool, float, float]]) -> None:
    names = ["not covid", "covid"]
    table = pd.DataFrame(
        {
            "patient": range(len(rows)),
            "target": [names[row[0]] for row in rows],
            "prediction": [names[row[1]] for row in rows],
            "score": [row[2] for row in rows],
        }
    )
    weight = np.array([row[3] for row in rows])
    measured = film_metrics(read_films(table, "covid"), METRICS)(weight[:, None])[:, 0]
    if weight.sum() == 0:
        assert np.isnan(measured).all()
        return
    for metric, value in expected(table, weight).items():
        assert measured[METRICS.index(metric)] == pytest.approx(value, nan_ok=True), metric


def test_patient_weights_are_the_weights_of_all_their_films() -> None:
    table = films()
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 3, (60, 5)).astype(float)
    by_patient = film_metrics(read_films(table, "covid"), METRICS)(weights)
    by_film = film_metrics(read_films(table.assign(patient=np.arange(len(table))), "covid"), METRICS)(
        weights[table["patient"]]
    )
    ece = METRICS.index("ece")  # chance alone gives more of it where films of a patient share a label
    assert (by_patient[ece] < by_film[ece]).all()
    np.testing.assert_allclose(np.delete(by_patient, ece, 0), np.delete(by_film, ece, 0), rtol=1e-12)


@pytest.mark.parametrize("size", [20, 400])
def test_a_calibrated_model_has_no_calibration_error_however_few_the_films(size: int) -> None:
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        score = rng.random(size)
        target = np.where(rng.random(size) < score, "covid", "not covid")
        table = pd.DataFrame({"patient": range(size), "target": target, "score": score, "prediction": "covid"})
        found.append(film_metrics(read_films(table, "covid"), ["ece"])(np.ones((size, 1)))[0, 0])
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200)


def test_a_part_of_the_films_reads_the_weights_of_its_own_patients() -> None:
    table = films()
    part = np.flatnonzero(table["patient"] >= 20)
    weights = np.random.default_rng(2).integers(1, 3, (60, 3)).astype(float)
    alone = read_films(table.iloc[part], "covid")
    measured = film_metrics(read_films(table, "covid")[part], METRICS)(weights)
    np.testing.assert_allclose(measured, film_metrics(alone, METRICS)(weights[20:]), rtol=1e-12)


def test_by_hand() -> None:
    table = pd.DataFrame(
        {
            "patient": range(4),
            "target": ["covid", "covid", "not covid", "not covid"],
            "score": [0.9, 0.4, 0.4, 0.1],
            "prediction": ["covid", "not covid", "not covid", "covid"],
        }
    )
    measured = film_metrics(read_films(table, "covid"), METRICS)(np.ones((4, 1)))[:, 0]
    assert dict(zip(METRICS, measured, strict=True)) == pytest.approx(
        {
            "accuracy": 0.5,
            "balanced_accuracy": 0.5,
            "auroc": 3.5 / 4,
            "auprc": 0.5 * 1 + 0.5 * 2 / 3,
            "sensitivity": 0.5,
            "specificity": 0.5,
            "ece": (0.1 + abs(0.8 - 1) + 0.1 - np.sqrt(2 / np.pi) * (0.3 + np.sqrt(0.48) + 0.3)) / 4,
            "brier": (0.01 + 0.36 + 0.16 + 0.01) / 4,
        }
    )


def test_several_classes_and_no_positive_one() -> None:
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"patient": range(300), "target": rng.choice(list("abc"), 300), "score": np.nan})
    table["prediction"] = np.where(rng.random(300) < 0.6, table["target"], rng.choice(list("abcd"), 300))
    assert metric_names(None) == ("accuracy", "balanced_accuracy")
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert point_metric(table, "balanced_accuracy", None) == pytest.approx(
            balanced_accuracy_score(table["target"], table["prediction"])
        )


def test_pooled_auroc_counts_pairs_within_a_ranking_alone() -> None:
    table = films(patients=100)
    data = read_films(table, "covid")
    halves = [data.patient < 50, data.patient >= 50]
    wins = pairs = 0.0
    for half in halves:
        up, down = data.score[half & data.is_positive], data.score[half & ~data.is_positive]
        wins += (up[:, None] > down).sum() + 0.5 * (up[:, None] == down).sum()
        pairs += up.size * down.size
    rankings = [Ranking(data.is_positive[h], data.score[h], data.patient[h]) for h in halves]
    assert pooled_auroc(rankings)(np.ones((100, 1)))[0] == pytest.approx(wins / pairs)


@pytest.mark.parametrize(
    ("metric", "targets", "words"),
    [
        ("accuracy", "nnnnnnnnn", "9 patients, 10 are needed"),
        ("brier", "n", "1 patient, 10"),
        ("auroc", "p" * 30 + "n" * 4, "4 patients without covid, 10"),
        ("auprc", "p" * 4 + "n" * 30, "4 patients with covid, 10"),
        ("sensitivity", "p" * 9 + "n" * 30, "9 patients with covid"),
        ("specificity", "p" * 30 + "n" * 9, "9 patients without covid"),
        ("balanced_accuracy", "p" * 30 + "n" * 9, "9 patients with not covid"),
        ("balanced_accuracy", "p" * 30, "one class"),
        ("sensitivity", "p" * 10, ""),
        ("specificity", "n" * 10, ""),
        ("auroc", "p" * 10 + "n" * 10, ""),
        ("balanced_accuracy", "p" * 10 + "n" * 10, ""),
        ("ece", "n" * 10, ""),
    ],
)
def test_ten_patients_are_needed_however_many_films(metric: str, targets: str, words: str) -> None:
    names = {"p": "covid", "n": "not covid"}
    table = pd.DataFrame({"patient": range(len(targets)), "target": [names[t] for t in targets]})
    table = table.assign(score=0.5, prediction="covid")
    many = pd.concat([table] * 20)
    reason = shortfall(many, metric, "covid")
    assert reason.startswith("cannot conclude: ") and words in reason if words else reason == ""
    assert math.isnan(point_metric(many, metric, "covid")) == bool(words)


def test_the_reliability_curve_is_that_of_scikit_learn_with_empty_bins_kept() -> None:
    table = films(decimals=8)
    found = reliability_curve(table, "covid")
    share, score = calibration_curve(table["target"] == "covid", table["score"], n_bins=10)
    full = found[found["films"] > 0]
    np.testing.assert_allclose(full["score"], score)
    np.testing.assert_allclose(full["share_positive"], share)
    assert len(found) == 10 and found["films"].sum() == len(table)
    nowhere = reliability_curve(table.assign(score=1.0), "covid")
    assert nowhere["films"].tolist() == [0] * 9 + [len(table)] and nowhere["score"].isna().sum() == 9


def test_the_roc_curve_has_the_auroc_as_its_area() -> None:
    table = films()
    curve = roc_points(table, "covid")
    area = np.trapezoid(curve["sensitivity"], curve["false_positive_rate"])
    assert area == pytest.approx(roc_auc_score(table["target"] == "covid", table["score"]))
    with pytest.raises(PredictionsError, match="with and without covid"):
        roc_points(table[table["target"] == "covid"], "covid")


def test_films_without_a_target_count_nowhere() -> None:
    table = films()
    unlabelled = pd.concat([table, table.head(7).assign(target=None, score=np.nan)])
    pd.testing.assert_frame_equal(roc_points(unlabelled, "covid"), roc_points(table, "covid"))
    assert reliability_curve(unlabelled, "covid")["films"].sum() == len(table)


def test_what_cannot_be_measured_is_a_sentence() -> None:
    table = films()
    score = table["score"].copy()
    score.iloc[[4, 9]] = np.nan
    with pytest.raises(PredictionsError, match=r"2 of \d+ films have no score for covid \(the first in row 4 of"):
        read_films(table.assign(score=score), "covid")
    score.iloc[[4, 9]] = [0.5, 1.2]
    with pytest.raises(PredictionsError, match=r"1 of \d+ films has a score outside 0 to 1.*\(the first in row 9"):
        read_films(table.assign(score=score), "covid")
    with pytest.raises(PredictionsError, match="no film with a target"):
        read_films(table.head(0), "covid")
    with pytest.raises(PredictionsError, match=r"no column 'score'.*patient, target.*did you mean scores\?"):
        read_films(table.rename(columns={"score": "scores"}), "covid")
    with pytest.raises(PredictionsError, match="no patient"):
        read_films(table.assign(patient=None), "covid")
