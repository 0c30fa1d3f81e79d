"""Audits read back from report.json: frames, gaps for numbers that are not there, where audits are looked for."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from app.numbers import audit
from app.numbers.audit import AuditError, differences, frame, leak_changes, leaks, places, read_audit, table
from training.bias.numbers.groups import EQUALISED_ODDS
from training.bias.numbers.metrics import METRICS
from training.bias.report.answers import BY_KEY, NO, NOT_ASKED, YES, Answer, Difference, Verdict
from training.bias.report.first_screen import first_screen
from training.bias.report.page import metric_name
from training.bias.report.plain import plain
from training.bias.report.values import SCHEMA_VERSION
from training.run.index import audit_folder

LEAK = {"attribute": "age_band", "kind": "linear", "leak": 0.6, "low": 0.5, "high": 0.75, "chance": 0.5, "normalised": 0.2,
        "p": 0.01, "note": ""}  # fmt: skip


def run(name: str, **other: object) -> dict:
    """One audited run as report.json has it."""
    value = {"group": "all films", "metric": "auroc", "estimate": 0.8, "low": 0.7, "high": 0.9, "note": ""}
    unknown = value | {"group": "small", "estimate": None, "low": None, "high": None, "note": "too few"}
    gap = {"metric": "auroc", "difference": None, "note": "cannot conclude"}
    check = {"name": "shortcuts", "answer": "found", "evidence": "The border alone."}
    groups = {"source": {"values": [value, unknown], "gaps": [gap], "notes": ["a note"]}}
    plain = {"headline": "It uses the source.", "films": 30, "patients": 20, "within_sources": {"estimate": None}}
    frames = {key: [] for key in ("cells", "roc", "reliability", "shortcuts", "findings", "fields", "map", "notes")}
    return {"name": name, **plain, "checks": [check], "groups": groups, **frames, "leakage": [LEAK]} | other


def text(*runs: dict, **other: object) -> str:
    """A report.json."""
    row = {"part": "all films", "metric": "auroc", "difference": 0.1, "p": None}
    comparisons = [
        {"reference": runs[0]["name"], "other": one["name"], "rows": [row], "problem": "",
         "leakage": [{"attribute": "source", "difference": -0.2, "low": -0.3, "high": -0.1, "detectable": 0.1}]}
        for one in runs[1:]
    ]  # fmt: skip
    return json.dumps({"schema_version": 1, "made": "today", "runs": runs, "comparisons": comparisons} | other)


def test_missing_numbers_are_nan_and_words_stay() -> None:
    found = read_audit(text(run("a"))).runs[0]
    values = found.groups["source"].values
    assert values["estimate"].dtype == float and np.isnan(values["estimate"].iloc[1])
    assert values["note"].tolist() == ["", "too few"]
    assert frame([{"x": None}, {"x": None}])["x"].dtype == float
    assert frame([{"x": None}, {"x": True}])["x"].tolist() == [None, True]


def test_runs_are_put_beside_each_other() -> None:
    found = read_audit(text(run("a"), run("b")))
    assert differences(found)[["reference_run", "run", "difference"]].values.tolist() == [["a", "b", 0.1]]
    assert leak_changes(found)["other"].tolist() == ["b"]
    assert audit.by_group(found, "source", "auroc")["run"].tolist() == ["a", "a", "b", "b"]
    assert audit.by_group(found, "moon", "auroc").empty and len(audit.gaps_of(found, "source", "auroc")) == 2


def verdict(*names: str) -> Verdict:
    """A verdict in which the first run follows the source, and could not be asked for more."""
    nan, question = math.nan, BY_KEY["follows"]
    words = dict.fromkeys(BY_KEY, NOT_ASKED)
    answers = [
        Answer(key, name, YES if (key, name) == ("follows", names[0]) else NO if key == "follows" else word,
               *((0.8, 0.7, 0.9, 0.01, 0.02, 40.0) if key == "follows" else [nan] * 6), "")
        for name in names for key, word in words.items()
    ]  # fmt: skip
    gaps = [Difference("follows", names[0], name, -0.2, -0.3, -0.1, 0.01, 0.02, 0.1, "better") for name in names[1:]]
    return Verdict("A sentence.", (question,), tuple(answers), tuple(gaps), ("A caution.",), (), ("A note.",))


def test_the_verdict_is_the_value_of_the_report() -> None:
    value = verdict("a", "b", "c")
    found = read_audit(text(run("a"), run("b"), run("c"), verdict=plain(value)))
    assert repr(found.verdict) == repr(value), "NaN is NaN again"
    assert "verdict" not in found.about and read_audit(text(run("a"))).verdict is None
    assert found.verdict is not None
    words, tones = table(first_screen(found.verdict))
    assert words.columns.tolist() == ["a", "b", "c", "b minus a", "c minus a"]
    assert words.iloc[0].tolist()[:2] == ["yes · 0.80 (0.70 to 0.90)", "no · 0.80 (0.70 to 0.90)"]
    assert tones.iloc[0].tolist() == ["bad", "good", "good", "good", "good"]


def test_the_verdict_of_some_runs_is_about_these() -> None:
    found = read_audit(text(run("a"), run("b"), run("c"), verdict=plain(verdict("a", "b", "c"))))
    part = found.only(["a", "c"]).verdict
    assert part is not None and {answer.run for answer in part.answers} == {"a", "c"}
    assert part.headline.startswith("a: the score follows") and [gap.other for gap in part.differences] == ["c"]
    alone = found.only(["b"]).verdict
    assert alone is not None and "score follows" not in alone.headline and alone.differences == ()


def test_leaks_are_on_one_scale_with_their_intervals() -> None:
    row = leaks(read_audit(text(run("a")))).iloc[0]
    assert row["group"] == "age band, linear probe"
    assert row[["low", "estimate", "high"]].tolist() == pytest.approx([0.0, 0.2, 0.5])
    assert leaks(read_audit(text(run("a", leakage=[])))).empty


def test_only_the_chosen_runs_in_their_order() -> None:
    found = read_audit(text(run("a"), run("b"), run("c")))
    assert found.covers(["c", "a"]) and not found.covers(["a", "d"])
    part = found.only(["c", "a"])
    assert [one.name for one in part.runs] == ["c", "a"]
    assert [(c.reference, c.other) for c in part.comparisons] == [("a", "c")], "both sides are chosen"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "broken"),
        ("[]", "another version"),
        (text(run("a"), schema_version=2), "another version"),
        (json.dumps({"schema_version": 1, "runs": [{"name": "a"}]}), "broken"),
        (json.dumps({"schema_version": 1, "runs": [3], "comparisons": []}), "broken"),
    ],
)
def test_what_is_no_audit_is_a_sentence(content: str, sentence: str) -> None:
    with pytest.raises(AuditError, match=sentence):
        read_audit(content)


def test_words_and_version_are_those_of_the_report() -> None:
    assert audit.SCHEMA_VERSION == SCHEMA_VERSION
    assert {name: metric_name(name) for name in (*METRICS, EQUALISED_ODDS)} == audit.METRICS


def test_audits_are_looked_for_in_their_default_place_first(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    three, two = audit_folder([a, b, c]), audit_folder([a, b])
    assert two == tmp_path / "audits" / "a+b" and audit_folder([a]) == a / "audit"
    assert places([a, b]) == [] and places([a]) == []
    for folder in (three, two, a / "audit"):
        folder.mkdir(parents=True)
        (folder / "report.json").touch()
    assert places([a, b]) == [two / "report.json", three / "report.json"]
    assert places([a])[0] == a / "audit" / "report.json" and len(places([a])) == 3
    assert places([a, tmp_path / "below" / "b"]) == [], "another run of the same name"


def test_a_folder_for_many_runs_has_a_name_that_can_be_made(tmp_path: Path) -> None:
    runs = [tmp_path / f"covid-erm-tf_efficientnet_lite0-s{seed}" for seed in range(12)]
    many, others = audit_folder(runs), audit_folder([*runs[:-1], tmp_path / "other"])
    many.mkdir(parents=True)
    assert many.name.startswith(runs[0].name) and many != others
