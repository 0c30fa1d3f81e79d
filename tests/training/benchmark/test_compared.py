"""What is compared of a method and ERM: which films, over what, and runs that can't be compared."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from training.benchmark.compared import over_patients, over_seeds
from training.run.report import RunResult


def tables(skills: tuple[float, float], seeds: int = 4, films: int = 240) -> list[list[pd.DataFrame]]:
    """Predictions of two methods: test films of three sources of which one has one label, external films of one source."""
    rng = np.random.default_rng(0)
    split = np.repeat(["train", "test", "external"], films // 3)
    source = np.where(split == "external", "away", np.tile(["a", "b", "c"], films // 3))
    ill = np.where(source == "a", rng.random(films) < 0.8, rng.random(films) < 0.3) & (source != "c")
    base = pd.DataFrame({"row": range(films), "split": split, "source": source, "patient": range(films)})
    base["target"] = np.where(ill, "covid", "not covid")
    found = []
    for _ in range(seeds):
        drawn = (split != "train") | (rng.random(films) < 0.8)  # each seed its own training films
        pair = []
        for skill in skills:
            score = 1 / (1 + np.exp(-(skill * (ill - 0.5) + rng.normal(size=films))))
            table = base.assign(score=score, prediction=np.where(score > 0.5, "covid", "not covid"))
            pair.append(table[drawn].reset_index(drop=True))
        found.append(pair)
    return found


def test_parts_are_splits_and_sources_with_both_labels_and_conflicting_films() -> None:
    rows = over_patients(tables((0.5, 3.0)), "covid", "end")
    assert [row.part for row in rows] == [
        "test, all sources", "test, within sources", "test, within a", "test, within b", "external, away",
        "test, conflicting films",
    ]  # fmt: skip
    assert {row.over for row in rows} == {"patients and seeds"} and {row.metric for row in rows[:-1]} == {"auroc"}
    everywhere = rows[0].as_json()
    assert everywhere["films"] == everywhere["patients"] == 80 and everywhere["p"] < 0.01
    assert everywhere["difference"]["estimate"] == pytest.approx(
        everywhere["end"]["estimate"] - everywhere["erm"]["estimate"]
    )


def test_conflicting_films_are_those_with_another_than_the_usual_label() -> None:
    found = tables((1.0, 1.0))
    (row,) = [row for row in over_patients(found, "covid", "end") if row.metric == "accuracy"]
    films = found[0][0].query("split == 'test'")
    conflicting = films[(films["source"] == "a") ^ (films["target"] == "covid")]
    assert row.counts["films"] == len(conflicting)
    rights = [(both[0].set_index("row").loc[conflicting["row"], ["prediction", "target"]]) for both in found]
    expected = np.mean([(right["prediction"] == right["target"]).mean() for right in rights])
    assert row.own["erm"].estimate == pytest.approx(expected)


def test_without_a_positive_class_accuracy_alone_is_compared() -> None:
    found = [[table.drop(columns="score") for table in both] for both in tables((1.0, 1.0))]
    assert [row.metric for row in over_patients(found, None, "end")] == ["accuracy"]


def test_other_test_films_are_refused() -> None:
    found = tables((1.0, 1.0))
    found[2][1] = found[2][1].iloc[:-1]
    with pytest.raises(ValueError, match="other test films"):
        over_patients(found, "covid", "end")


def runs_of(leaks: list[tuple[float, float]]) -> list[tuple[RunResult, RunResult]]:
    return [
        tuple(RunResult(Path("run"), "erm", "m", 0, False, {"test": {"leak": leak}}) for leak in pair)  # type: ignore[misc]
        for pair in leaks
    ]


def test_runs_one_by_one_are_compared_over_seeds() -> None:
    leaks = [(0.7, 0.6), (0.8, 0.75), (0.75, 0.76), (0.9, np.nan)]
    row = over_seeds(runs_of(leaks), "end", "test", "leak")
    assert row is not None
    known = np.array(leaks[:3])
    assert row.difference.p == pytest.approx(ttest_rel(known[:, 1], known[:, 0]).pvalue)
    values = row.as_json()
    assert values["in_favour"] == 2 and values["by_seed"] == {"erm": [0.7, 0.8, 0.75], "end": [0.6, 0.75, 0.76]}
    assert values["over"] == "seeds" and "films" not in values
    assert over_seeds(runs_of([(0.7, np.nan)]), "end", "test", "leak") is None
