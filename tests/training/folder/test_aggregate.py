"""Scores of studies and patients against values worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from training.folder.aggregate import aggregate, summary

ROWS = [
    # run, file, study, patient, target, score
    ("x", "f1", "s1", "p1", "not covid", 0.2),
    ("x", "f2", "s1", "p1", "covid", 0.6),
    ("x", "f3", "s2", "p1", None, 0.4),
    ("x", "f4", None, "p2", "not covid", 0.1),
    ("x", "f5", None, "p2", "not covid", 0.8),
    ("y", "f1", "s1", "p1", "not covid", 0.5),
]
TABLE = pd.DataFrame(ROWS, columns=["run", "file", "study", "patient", "target", "score"])
LIMITS = {"x": 0.55, "y": 0.5}


def units(unit: str, how: str) -> list[tuple[object, ...]]:
    table = aggregate(TABLE, unit, how, "covid", "not covid", LIMITS)  # type: ignore[arg-type]
    assert list(table) == ["run", *dict.fromkeys((unit, "patient")), "films", "score", "prediction", "target"]
    return [tuple(None if pd.isna(value) else value for value in row) for row in table.to_numpy()]


def test_studies() -> None:
    """Films that name no study are a study each; one positive film makes a study positive."""
    assert units("study", "max") == [
        ("x", "s1", "p1", 2, 0.6, "covid", "covid"),
        ("x", "s2", "p1", 1, 0.4, "not covid", None),
        ("x", "f4", "p2", 1, 0.1, "not covid", "not covid"),
        ("x", "f5", "p2", 1, 0.8, "covid", "not covid"),
        ("y", "s1", "p1", 1, 0.5, "covid", "not covid"),
    ]


def test_patients() -> None:
    found = units("patient", "mean")
    assert [row[:3] for row in found] == [("x", "p1", 3), ("x", "p2", 2), ("y", "p1", 1)]
    assert [row[3] for row in found] == pytest.approx([0.4, 0.45, 0.5])
    assert [row[4:] for row in found] == [("not covid", "covid"), ("not covid", "not covid"), ("covid", "not covid")]


def test_the_input_is_left_as_it_was() -> None:
    before = TABLE.copy()
    units("study", "mean")
    pd.testing.assert_frame_equal(TABLE, before)


def test_summary_needs_ten_patients_of_either_class() -> None:
    count = 24
    table = pd.DataFrame({"run": "x", "patient": [f"p{i}" for i in range(count)]})
    table["target"] = ["covid" if i % 2 else "not covid" for i in range(count)]
    table["score"] = [0.9 if i % 2 else 0.1 for i in range(count)]
    table.loc[1, "score"] = 0.05
    found = summary(table, "covid", 100, 0).iloc[0]
    assert (found["units"], found["patients"], found["positives"]) == (24, 24, 12)
    assert found["estimate"] == pytest.approx(11 / 12) and found["low"] < found["estimate"] <= found["high"]
    few = summary(table.head(18), "covid", 100, 0).iloc[0]
    assert np.isnan(few["low"])
    unlabelled = summary(table.assign(target=None), "covid", 100, 0).iloc[0]
    assert (unlabelled["units"], unlabelled["positives"]) == (24, 0) and np.isnan(unlabelled["estimate"])
