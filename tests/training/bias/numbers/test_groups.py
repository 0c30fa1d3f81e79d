"""Metrics by group against fairlearn and scikit-learn and by hand; what is undefined is NaN."""

import math

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, equalized_odds_difference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score, roc_auc_score

from training.bias.numbers.alignment import alignment, majority_targets
from training.bias.numbers.groups import (
    accuracy,
    auroc,
    group_metrics,
    split_metrics,
    within_source_auroc,
    worst_group_accuracy,
    worth_of,
)
from training.bias.numbers.metrics import METRICS, PredictionsError, film_metrics, point_metric, read_films
from training.bias.numbers.proportions import LEAST_TRIALS, MOST_TRIALS, Trials
from training.bias.numbers.uncertainty import intervals, resampling_strata
from training.bias.numbers.weighting import film_weights


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


@pytest.mark.trains
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
    tied = pd.Series(["x", "y", "y", "y", "z"]), pd.Series(["a", "a", "b", "b", "b"])
    assert majority_targets(*tied) == {"a": "x", "b": "y"}, "x is rarer elsewhere"


def test_split_metrics_divide_the_films() -> None:
    table = films()
    majority = {"a": "covid", "b": "not covid"}
    found = split_metrics(table, "covid", majority)
    aligned = table[(table["source"].map(majority) == table["target"])]
    assert found["aligned_accuracy"] == pytest.approx((aligned["prediction"] == aligned["target"]).mean())
    conflicting = table[table["source"].isin(["a", "b"]) & (table["source"].map(majority) != table["target"])]
    assert found["conflicting_accuracy"] == pytest.approx((conflicting["prediction"] == conflicting["target"]).mean())
    assert (found["n"], found["patients"]) == (400, 200)
    whole = (accuracy(table), auroc(table, "covid"), worst_group_accuracy(table))
    assert (found["accuracy"], found["auroc"], found["worst_group_accuracy"]) == whole
    assert math.isnan(split_metrics(table, None, majority)["auroc"])


def test_an_empty_split_is_all_nan() -> None:
    found = split_metrics(films().iloc[:0], "covid", {})
    assert (found.pop("n"), found.pop("patients")) == (0, 0)
    assert all(math.isnan(value) for value in found.values())


def value(frame: pd.DataFrame, group: str, metric: str) -> pd.Series:
    return frame[(frame["group"] == group) & (frame["metric"] == metric)].squeeze()


@pytest.mark.trains
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_groups_and_gaps_are_those_of_fairlearn(seed: int) -> None:
    table = films(seed)
    found = group_metrics(table, "covid", ["source"], resamples=4, seed=seed)
    target, call = (table[name] == "covid" for name in ("target", "prediction"))
    oracle = MetricFrame(
        metrics={
            "accuracy": accuracy_score,
            "balanced_accuracy": balanced_accuracy_score,
            "sensitivity": recall_score,
            "specificity": lambda y, p: recall_score(y, p, pos_label=0),
        },
        y_true=target.astype(int),
        y_pred=call.astype(int),
        sensitive_features=table["source"],
    )
    for metric in oracle.by_group:
        for source in "abc":
            assert value(found.values, source, metric)["estimate"] == pytest.approx(oracle.by_group.loc[source, metric])
        assert value(found.values, "all films", metric)["estimate"] == pytest.approx(oracle.overall[metric])
        gap = found.gaps.set_index("metric").loc[metric]
        assert gap["difference"] == pytest.approx(oracle.difference()[metric])
        assert (gap["worst"], gap["worst_group"]) == (
            pytest.approx(oracle.group_min()[metric]),
            oracle.by_group[metric].astype(float).idxmin(),
        )
        assert gap["best"] == pytest.approx(oracle.by_group.loc[gap["best_group"], metric])
        assert gap["best"] == pytest.approx(oracle.group_max()[metric])
    odds = equalized_odds_difference(target, call, sensitive_features=table["source"])
    assert found.gaps.set_index("metric").loc["equalised_odds", "difference"] == pytest.approx(odds)


def test_each_group_is_what_it_is_alone() -> None:
    table = films()
    found = group_metrics(table, "covid", ["source"], resamples=10).values
    for source, part in table.groupby("source"):
        alone = {metric: point_metric(part, metric, "covid") for metric in METRICS}
        alone["ece"] = max(0, alone["ece"])
        assert {m: value(found, str(source), m)["estimate"] for m in METRICS} == pytest.approx(alone)
        assert (value(found, str(source), "ece")["films"], value(found, str(source), "ece")["patients"]) == (
            len(part),
            part["patient"].nunique(),
        )


def test_the_interval_of_all_films_does_not_depend_on_how_they_are_grouped() -> None:
    table = films().assign(view=["PA", "AP"] * 200)
    one, other = (group_metrics(table, "covid", by, resamples=300).values for by in (["source"], ["view", "source"]))
    columns = ["metric", "estimate", "low", "high", "method"]
    pd.testing.assert_frame_equal(
        one[one["group"] == "all films"][columns], other[other["group"] == "all films"][columns]
    )
    assert (one["low"] <= one["estimate"]).all() and (one["estimate"] <= one["high"]).all()
    shares = {"accuracy", "balanced_accuracy", "sensitivity", "specificity"}
    methods = dict.fromkeys(shares, "Agresti-Coull") | {"auroc": "Wilson", "auprc": "Wilson", "ece": "normal"}
    assert (one["method"] == one["metric"].map(methods | {"brier": "BCa"})).all()


def test_names_of_patients_and_order_of_films_do_not_matter() -> None:
    table = films()
    renamed = table.assign(patient="patient " + table["patient"].astype(str)).set_axis(range(7, 407))
    one, other = (group_metrics(t, "covid", ["source"], resamples=50) for t in (table, renamed))
    pd.testing.assert_frame_equal(one.values, other.values)
    pd.testing.assert_frame_equal(one.gaps, other.gaps)
    shuffled = group_metrics(table.sample(frac=1, random_state=0), "covid", ["source"], resamples=50)
    np.testing.assert_allclose(shuffled.values["estimate"], one.values["estimate"])


def test_groups_of_source_and_target_are_cells_with_the_worst_group_accuracy() -> None:
    table = films()
    found = group_metrics(table, "covid", ["target", "source"], resamples=200)
    assert set(found.values["group"]) == {"all films"} | {f"{t} · {s}" for t in ("covid", "not covid") for s in "abc"}
    gap = found.gaps.set_index("metric")
    assert gap.loc["accuracy", "worst"] == pytest.approx(worst_group_accuracy(table))
    assert gap.loc["accuracy", "worst_low"] < gap.loc["accuracy", "worst"] < gap.loc["accuracy", "worst_high"]
    assert value(found.values, "covid · a", "auroc")["note"] == (
        "cannot conclude: 0 patients without covid, 10 are needed"
    )
    assert math.isnan(gap.loc["auroc", "difference"])
    assert gap.loc["auroc", "note"] == "cannot conclude: 0 of 6 groups measured, two are needed"
    assert gap.loc["sensitivity", ["groups_measured", "groups"]].tolist() == [3, 6]
    # Within cells of one class there is a gap in each rate, and equalised odds is the larger one.
    both = gap.loc[["sensitivity", "specificity"], "difference"]
    assert gap.loc["equalised_odds", "difference"] == pytest.approx(both.max())


def test_small_groups_are_said_to_be_too_small_and_missing_values_are_a_group() -> None:
    table = films()
    sex = pd.Series("F", index=table.index, dtype=object)
    sex[table["patient"] < 4] = "M"
    sex[table["patient"] >= 180] = None
    found = group_metrics(table.assign(sex=sex), "covid", ["sex"], resamples=50)
    assert found.values["group"].unique().tolist() == ["all films", "F", "M", "not recorded"]
    small = value(found.values, "M", "accuracy")
    assert math.isnan(small["estimate"]) and math.isnan(small["low"]) and small["method"] == ""
    assert small["note"] == "cannot conclude: 4 patients, 10 are needed" and small["films"] == 8
    assert value(found.values, "not recorded", "accuracy")["patients"] == 20
    assert found.gaps.set_index("metric").loc["accuracy", ["groups_measured", "groups"]].tolist() == [1, 2]


def test_one_patient_with_most_films_does_not_decide_and_the_patients_are_counted_as_what_they_are_worth() -> None:
    table = films()
    one = table["patient"] == 0
    many = pd.concat([table, *[table[one].assign(prediction="covid", target="not covid")] * 40], ignore_index=True)
    found = group_metrics(many, "covid", ["source"], resamples=50)
    row, before = (
        value(found.values, "all films", "specificity"),
        value(group_metrics(table, "covid", ["source"], 50).values, "all films", "specificity"),
    )
    assert (
        abs(row["estimate"] - before["estimate"])
        < 0.1
        < abs(point_metric(many, "specificity", "covid") - before["estimate"])
    )
    assert row["effective"] < row["patients"] and "count less" in found.notes[-1]
    assert not any("count less" in note for note in group_metrics(table, "covid", ["source"], 50).notes)


@pytest.mark.parametrize("few", ["covid", "not covid"])
def test_patients_are_worth_those_of_the_rarer_class_where_a_metric_needs_both(few: str) -> None:
    table = films(size=300, per_patient=1)
    rare = table[table["target"] == few].head(15)
    found = group_metrics(pd.concat([table[table["target"] != few], rare]), "covid", (), resamples=20).values
    effective = found.set_index("metric")["effective"]
    common = len(table) - (table["target"] == few).sum()
    expected = dict.fromkeys(("auroc", "auprc", "balanced_accuracy"), 15) | dict.fromkeys(
        ("accuracy", "ece"), common + 15
    )
    expected |= (
        {"sensitivity": 15, "specificity": common} if few == "covid" else {"sensitivity": common, "specificity": 15}
    )
    assert effective[list(expected)].to_dict() == pytest.approx(expected)


def test_the_interval_of_the_calibration_error_is_1_96_standard_errors() -> None:
    table = films(per_patient=1)
    table["score"] = (table["score"] ** 2).round(3)  # far from calibrated, so that 0 is not within
    found = read_films(table, "covid")
    stratum = resampling_strata(found.patient, pd.factorize(table["source"])[0], found.target)
    drawn = intervals(film_metrics(found, ["ece"]), stratum, 500, 3)[2]
    row = group_metrics(table, "covid", (), 500, 3, metrics=("ece",)).values.squeeze()
    half = norm.isf(0.025) * drawn.std(ddof=1)
    assert row["low"] > 0
    assert (row["low"], row["high"]) == pytest.approx((row["estimate"] - half, row["estimate"] + half), rel=1e-3)


def test_films_without_a_target_are_left_out_and_mentioned() -> None:
    table = films()
    for times in (1, 70):
        more = pd.concat([table, *[table.head(6).assign(target=None, score=np.nan)] * times])
        one, other = (group_metrics(t, "covid", ["source"], resamples=20) for t in (table, more))
        pd.testing.assert_frame_equal(one.values, other.values)
        left_out = f"{6 * times} of {400 + 6 * times} films have no target and are left out"
        assert other.notes == (left_out, *one.notes)


def test_an_auroc_is_worth_as_many_trials_as_its_variance_says() -> None:
    table = films(per_patient=1)
    rows = group_metrics(table, "covid", (), metrics=("auroc",)).values
    positive, negative = (table["score"][table["target"] == name].to_numpy() for name in ("covid", "not covid"))
    above = (positive[:, None] > negative) + (positive[:, None] == negative) / 2
    delong = above.mean(axis=1).var(ddof=1) / len(positive) + above.mean(axis=0).var(ddof=1) / len(negative)
    auroc = above.mean()
    assert rows["trials"].item() == pytest.approx(auroc * (1 - auroc) / delong, rel=0.15)


def test_shares_and_auprc_are_worth_the_trials_of_their_classes() -> None:
    table = films(per_patient=1).head(110)
    table["target"] = np.where(np.arange(110) < 30, "covid", "not covid")
    read = read_films(table, "covid")
    worth, trials = worth_of(read, "auprc")
    assert (worth, trials) == (pytest.approx(30), Trials(LEAST_TRIALS * 30, MOST_TRIALS * 30, 30))
    worth, trials = worth_of(read, "balanced_accuracy")
    both = 4 / (1 / 30 + 1 / 80)  # 87.27, as the variance of a mean of two shares has it
    assert (worth, trials) == (pytest.approx(30), Trials(pytest.approx(both), pytest.approx(both)))
    read = read_films(table.assign(target=np.where(np.arange(110) < 80, "covid", "not covid")), "covid")
    assert worth_of(read, "auprc") == (pytest.approx(30), Trials(LEAST_TRIALS * 80, MOST_TRIALS * 80, 80))


def test_small_cells_are_kept_in_every_resample_and_that_is_mentioned() -> None:
    table = films()
    few = table["patient"] < 10
    table.loc[few, ["source", "target"]] = "few", "covid"
    table.loc[few, "prediction"] = "covid"
    found = group_metrics(table, "covid", ["source"], resamples=300)
    assert "drawn within source and target" in found.notes[0]
    row = value(found.values, "few", "sensitivity")
    assert row["estimate"] == row["high"] == 1 and 0.6 < row["low"] < 0.8 and row["effective"] == pytest.approx(10)


def test_no_positive_class_leaves_the_accuracies() -> None:
    rng = np.random.default_rng(0)
    table = films().assign(score=np.nan, target=rng.choice(list("0123456789"), 400))
    table["prediction"] = np.where(rng.random(400) < 0.7, table["target"], "0")
    found = group_metrics(table, None, ["source"], resamples=20)
    assert found.values["metric"].unique().tolist() == ["accuracy", "balanced_accuracy"]
    assert found.gaps["metric"].tolist() == ["accuracy", "balanced_accuracy"]
    part = table[table["source"] == "a"]
    weight = film_weights(part["patient"].to_numpy(), part["target"].astype(int).to_numpy())
    assert value(found.values, "a", "accuracy")["estimate"] == pytest.approx(
        accuracy_score(part["target"], part["prediction"], sample_weight=weight)
    )


def test_nothing_measurable_is_all_notes() -> None:
    found = group_metrics(films().head(8), "covid", ["source"], resamples=20)
    assert found.values["estimate"].isna().all() and (found.values["note"] != "").all()
    assert found.gaps["difference"].isna().all() and (found.gaps["note"] != "").all()


def test_within_sources_only_pairs_of_one_source_count() -> None:
    table = films()
    wins = pairs = 0.0
    for _, part in table.groupby("source"):
        covid = part["target"] == "covid"
        count = int(covid.sum() * (~covid).sum())
        wins += count * roc_auc_score(covid, part["score"])
        pairs += count
    found = within_source_auroc(table, "covid", resamples=200)
    assert found.estimate == pytest.approx(wins / pairs)
    assert found.low < found.estimate < found.high
    shortcut = table.assign(score=table["source"].map({"a": 0.1, "b": 0.5, "c": 0.9}))
    assert within_source_auroc(shortcut, "covid", resamples=20).estimate == 0.5
    moved = table.assign(score=table["score"] / 3 + table["source"].map({"a": 0.0, "b": 0.3, "c": 0.6}))
    assert within_source_auroc(moved, "covid", resamples=200) == pytest.approx(found)


def test_what_cannot_be_measured_is_a_sentence() -> None:
    with pytest.raises(PredictionsError, match=r"no column 'vieuw'.*target.*did you mean view\?"):
        group_metrics(films().assign(view="PA"), "covid", ["vieuw"])
    with pytest.raises(PredictionsError, match="nothing to measure"):
        group_metrics(films().iloc[:0], "covid", ["source"])
    with pytest.raises(PredictionsError, match="no score for covid"):
        group_metrics(films().assign(score=np.nan), "covid", ["source"])
