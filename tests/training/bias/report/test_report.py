"""The audit as a value: its verdicts, its plain form, and the conditions that end a pipeline, on tables made to order."""

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from training.bias.evidence import Evidence
from training.bias.numbers.metrics import PredictionsError
from training.bias.questions.fields import field_risk
from training.bias.questions.shortcut_evidence import CUES
from training.bias.report.audit import audit
from training.bias.report.gate import check_conditions, parse_conditions, write_junit
from training.bias.report.page import write_page
from training.bias.report.plain import plain
from training.bias.report.values import FOUND, NOT_FOUND, UNKNOWN, BiasReport, Check
from training.bias.report.verdict import headline

NAMES = np.array(["not covid", "covid"], dtype=object)


def evidence(
    bias: float, films: int = 400, seed: int = 0, name: str = "run", positive: str | None = "covid"
) -> Evidence:
    """Films whose score follows the label, and by `bias` the usual label of their source; so do features and corners."""
    rng = np.random.default_rng(seed)
    target, north = rng.integers(0, 2, films), rng.integers(0, 2, films)
    score = 1 / (1 + np.exp(-(2 * (target - 0.5) + bias * (north - 0.5) + 0.7 * rng.normal(size=films))))
    table = pd.DataFrame(
        {
            "file": [f"f{i}" for i in range(films)],
            "patient": [f"p{i}" for i in range(films)],
            "source": np.where(north == 1, "north", "east"),
            "split": np.where(rng.random(films) < 0.7, "test", "external"),
            "target": NAMES[target],
            "score": score if positive else np.nan,
            "prediction": NAMES[(score >= 0.5).astype(int)],
            "sex": rng.choice(["F", "M"], films),
        }
    )
    training = pd.DataFrame({"patient": range(200), "source": ["north"] * 100 + ["east"] * 100})
    training["target"] = np.r_[["covid"] * 90, ["not covid"] * 10, ["covid"] * 10, ["not covid"] * 90]
    features = rng.normal(size=(films, 6))
    features[:, 0] += bias * north
    corners = 1 / (1 + np.exp(-(bias * (north - 0.5) + 0.7 * rng.normal(size=films))))
    perturbed = {key: corners if key == "corners_only" else np.full(films, 0.5) for key in CUES} if positive else {}
    about = {"positive": positive, "method": "erm", "model": "m", "seed": 0, "synthetic": False, "splits": ["test"]}
    about |= {"threshold": 0.5 if positive else None, "temperature": 1.0, "operating_point": "youden", "left_out": 0}
    about["training_used_source_labels"] = False
    return Evidence(name, about, positive, table, features, perturbed, training)


def about() -> dict[str, object]:
    return {
        "notice": "for research", "made": "now", "films": "made to order", "resamples": 200, "permutations": 200, "seed": 0,
        "synthetic": True, "versions": {"python": "3"},
    }  # fmt: skip


def report(*runs: Evidence, by: tuple[str, ...] = ()) -> BiasReport:
    return audit(runs, about(), by, resamples=200, permutations=2000)


@pytest.fixture(scope="module")
def biased_and_fair() -> BiasReport:
    return report(evidence(4.0, name="biased"), evidence(0.0, name="fair"))


def answers(found: BiasReport, name: str) -> dict[str, str]:
    return {check.name: check.answer for check in {run.name: run for run in found.runs}[name].checks}


@pytest.mark.trains
def test_a_model_that_uses_the_source_is_told_from_one_that_does_not() -> None:
    found = report(evidence(4.0, name="biased"), evidence(0.0, name="fair"))
    biased, fair = answers(found, "biased"), answers(found, "fair")
    for name in ("conflicting films", "shortcuts", "source in the features", "differences by source"):
        assert biased[name] == FOUND and fair[name] == NOT_FOUND, name
    assert biased["differences by sex"] == biased["unseen sources"] == NOT_FOUND
    assert biased["label from metadata alone"] == fair["label from metadata alone"] == FOUND
    first, second = found.runs
    assert "uses the source" in first.headline and "No check found" in second.headline
    named = next(check.evidence for check in first.checks if check.name == "shortcuts")
    assert "reads the corners" in named and "border" not in named


def test_the_comparison_finds_the_fair_one_better_where_it_is(biased_and_fair: BiasReport) -> None:
    rows = biased_and_fair.comparisons[0].rows.set_index(["part", "metric"])
    assert rows.loc[("conflicting", "accuracy"), "verdict"] == "better"
    leak = biased_and_fair.comparisons[0].leakage.set_index("attribute").loc["source"]
    assert leak["high"] < 0


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (("shortcuts", "source in the features"), "uses the source"),
        (("source in the features", "unseen sources"), "can be read from the model's features"),
        (("unseen sources",), "worse at sources that it never saw"),
        (("differences by sex", "label from metadata alone"), "errors differ between groups"),
        (("label from metadata alone",), "No check found"),
    ],
)
def test_the_gravest_finding_is_the_headline(found: tuple[str, ...], words: str) -> None:
    checks = [Check(name, FOUND, "") for name in found]
    assert words in headline((*checks, Check("conflicting films", NOT_FOUND, "")))


@pytest.mark.trains
def test_different_films_are_not_compared_and_both_are_audited() -> None:
    first, second = evidence(0.0, films=120, name="a"), evidence(0.0, films=130, name="b", seed=1)
    found = report(first, second)
    assert len(found.runs) == 2 and "different films: 120" in found.comparisons[0].problem
    assert found.comparisons[0].rows.empty


def test_too_few_patients_cannot_be_concluded_from() -> None:
    found = report(evidence(0.0, films=12))
    assert set(answers(found, "run").values()) <= {UNKNOWN, FOUND}  # the training films alone are enough for a verdict
    assert found.runs[0].headline.startswith("Nothing can be concluded")
    assert headline(tuple(Check("x", UNKNOWN, "") for _ in range(2))).startswith("Nothing can be concluded")


@pytest.mark.trains
@pytest.mark.parametrize("what", ["one class", "one source", "one patient", "no positive class", "nothing perturbed"])
def test_degenerate_films_get_a_page_and_no_traceback(what: str, tmp_path: Path) -> None:
    one = evidence(1.0, films=60, positive=None if what == "no positive class" else "covid")
    table = one.predictions
    if what == "one class":
        table["target"] = "covid"
    elif what == "one source":
        table["source"] = "north"
        table["split"], table["sex"] = "test", "F"
    elif what == "one patient":
        table["patient"] = "p"
    elif what == "nothing perturbed":
        one.perturbed.clear()
    found = report(one)
    write_page(found, tmp_path / "report.html")
    json.dumps(found.as_json(), allow_nan=False)
    outcomes = check_conditions(
        found, parse_conditions("gap:sensitivity:source>0.9,auroc<0.1,leak:source>1,shortcut:mirrored>1")
    )
    assert len(outcomes) == 4
    if what == "one patient":
        assert all(outcome.failed and "no evidence" in outcome.sentence for outcome in outcomes)


@pytest.mark.trains
def test_names_with_markup_are_text_in_the_page(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    one = evidence(4.0, films=200, name=evil)
    one.predictions["source"] = one.predictions["source"] + evil
    one.predictions["sex"] = evil
    write_page(report(one, evidence(0.0, films=200, name="fair"), by=("sex",)), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<img src=x" not in page and "&lt;script&gt;" in page


def test_what_cannot_be_audited_is_a_sentence() -> None:
    one = evidence(0.0, films=40)
    with pytest.raises(PredictionsError, match="no column 'ward'"):
        report(one, by=("ward",))
    one.predictions["target"] = None
    with pytest.raises(PredictionsError, match="run: no film has a target"):
        report(one)


@pytest.mark.trains
def test_the_metadata_fields_follow_resamples_and_seed() -> None:
    films = evidence(0.0, films=60)
    assert films.training is not None
    fields = audit([films], about(), resamples=100, permutations=100, seed=7).runs[0].fields
    pd.testing.assert_frame_equal(fields, field_risk(films.training, "covid", ["source"], resamples=100, seed=7))
    assert fields["low"][0] != field_risk(films.training, "covid", ["source"])["low"][0]


def test_nan_is_null_and_frames_are_records() -> None:
    frame = pd.crosstab(pd.Series(["a", "b"], name="source"), pd.Series(["x", "x"], name="target"))
    value = {"a": math.nan, "b": (np.float64(1), math.inf), "c": frame, "d": Check("n", "found", "e"), 3: np.int64(2)}
    assert plain(value) == {
        "a": None, "b": [1.0, None], "c": [{"source": "a", "x": 1}, {"source": "b", "x": 1}],
        "d": {"name": "n", "answer": "found", "evidence": "e"}, "3": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "failed"),
    [
        ("gap:specificity:source>0.1", True),
        ("gap:specificity:source>0.99", False),
        ("worst:accuracy:source<0.99", True),
        ("worst:accuracy:source<0.01", False),
        ("equalised_odds:source>=0.1", True),
        ("leak:source>0.6", True),
        ("leak:source>0.999", False),
        ("leak:moon>0.6", True),
        ("shortcut:corners_only>0.6", True),
        ("shortcut:border_only>0.6", False),
        ("shortcut:halo>0.6", True),
        ("auroc:test<0.2", False),
        ("auroc:external<=1", True),
        ("auroc:validation<0.2", True),
        ("accuracy<0.1", False),
    ],
)
def test_conditions(condition: str, failed: bool, biased_and_fair: BiasReport) -> None:
    outcome = check_conditions(biased_and_fair, parse_conditions(condition))[0]
    assert outcome.run == "biased" and outcome.failed is failed, outcome.sentence
    assert ("no evidence" in outcome.sentence) == any(word in condition for word in ("moon", "halo", "validation"))


@pytest.mark.parametrize(
    "text", ["", "gap:sensitivity>1", "leak>0.1", "auroc:test:x<1", "recall<1", "auroc=0.5", "gap:auroc:source>x"]
)
def test_conditions_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="--fail-on"):
        parse_conditions(text)


def test_junit_has_a_case_for_each_condition_and_run(biased_and_fair: BiasReport, tmp_path: Path) -> None:
    outcomes = check_conditions(biased_and_fair, parse_conditions("leak:source>0.7, accuracy<0.1"))
    write_junit(outcomes, tmp_path / "junit.xml")
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in suites] == [
        ("biased", "2", "1"),
        ("fair", "2", "0"),
    ]
    failure = suites[0][0].find("failure")
    assert failure is not None and "probe of source" in str(failure.get("message"))
