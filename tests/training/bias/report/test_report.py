"""The audit as a value: its verdicts, its plain form, and the conditions that end a pipeline, on tables made to order."""

import dataclasses
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
from training.bias.report.answers import NO, NOT_ASKED, NOT_SHOWN, QUESTIONS, TOO_FEW, YES, Answer
from training.bias.report.audit import audit, verdict_of
from training.bias.report.gate import check_conditions, parse_conditions, write_junit
from training.bias.report.headline import headline
from training.bias.report.page import write_page
from training.bias.report.plain import plain
from training.bias.report.values import BiasReport, Check

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
    table.loc[table["split"] == "external", "source"] = "south"
    training = pd.DataFrame({"patient": range(200), "source": ["north"] * 100 + ["east"] * 100})
    training["target"] = np.r_[["covid"] * 90, ["not covid"] * 10, ["covid"] * 10, ["not covid"] * 90]
    features = rng.normal(size=(films, 6))
    features[:, 0] += bias * north
    features[:, 1] += bias * (table["source"] == "south")
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
    return {answer.question: answer.answer for answer in {run.name: run for run in found.runs}[name].answers}


@pytest.mark.trains
def test_a_model_that_uses_the_source_is_told_from_one_that_does_not(biased_and_fair: BiasReport) -> None:
    biased, fair = answers(biased_and_fair, "biased"), answers(biased_and_fair, "fair")
    for name in ("follows", "contradicting", "cues", "readable", "groups"):
        assert biased[name] == YES and fair[name] in (NO, NOT_SHOWN), name
    for name in ("works", "unseen", "within"):
        assert biased[name] == fair[name] == YES, name
    first, second = biased_and_fair.runs
    assert first.headline.startswith("The score follows the source") and "Nothing was found" in second.headline
    assert "the corners" in next(a.evidence for a in first.answers if a.question == "cues")
    assert first.checks[-1].name == "label from metadata alone" and first.checks[-1].answer == YES
    assert biased["alike"] == NOT_ASKED


def test_external_films_of_known_sources_are_of_no_hospital_never_seen() -> None:
    apart = evidence(0.0)
    apart.predictions["source"] = "north"  # such as those of a view that was kept apart
    found = report(apart).runs[0]
    assert {answer.question: answer.answer for answer in found.answers}["unseen"] == NOT_ASKED
    assert "never saw" not in found.headline and not found.cohort["never_seen"].any()
    told = next(answer.evidence for answer in found.answers if answer.question == "unseen")
    assert told.startswith("The external films are of sources that the model was trained on")


def test_the_verdict_has_all_runs_and_their_differences_and_is_in_the_json(biased_and_fair: BiasReport) -> None:
    verdict = biased_and_fair.verdict
    assert verdict is not None and verdict.headline.startswith("biased: the score follows")
    assert any(sentence.startswith("fair: Nothing was found") for sentence in verdict.others)
    assert [a.question for a in verdict.answers] == [q.key for q in QUESTIONS] * 2
    found = {difference.question: difference for difference in verdict.differences}
    for name in ("follows", "contradicting", "readable"):
        gap = found[name]
        assert gap.verdict == "better" and gap.high < 0 and gap.p <= gap.p_holm < 0.05 and gap.detectable > 0, name
    assert found["groups"].verdict == found["cues"].verdict == "not tested"
    answer = verdict.answer("follows", "biased")
    assert answer.tone == "bad" and answer.low < answer.estimate <= answer.high + 1e-9 and answer.patients >= 10
    written = biased_and_fair.as_json()["verdict"]
    assert written["questions"][0]["text"] == "Does it work at all?" and written["answers"][3]["answer"] == YES


def test_the_comparison_finds_the_fair_one_better_where_it_is(biased_and_fair: BiasReport) -> None:
    rows = biased_and_fair.comparisons[0].rows.set_index(["part", "metric"])
    assert rows.loc[("conflicting", "accuracy"), "verdict"] == "better"
    leak = biased_and_fair.comparisons[0].leakage.set_index("attribute").loc["source"]
    assert leak["high"] < 0


def answer(question: str, word: str, estimate: float = 0.7, low: float = 0.65, high: float = 0.75) -> Answer:
    return Answer(question, "run", word, estimate, low, high, 0.01, 0.02, 50, "A sentence.")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "The model works, and no question found that it uses the source."),
        ({"groups": NOT_SHOWN, "cues": TOO_FEW}, "Nothing was found against the model; 2 of 9"),
        ({"works": TOO_FEW}, "Whether the model works can't be told from these films; 1 of 9"),
        ({"groups": YES, "readable": YES}, "The source can be read from its features"),
        ({"readable": YES, "contradicting": YES}, "It is worse on films that contradict"),
        ({"follows": YES, "contradicting": YES}, "The score follows the source"),
        ({"unseen": NOT_SHOWN, "follows": YES}, "It is not shown to work at a hospital it never saw"),
        ({"works": NO, "unseen": NO}, "The model does not work"),
        ({"works": NOT_SHOWN}, "The model is not shown to work at all"),
        ({"alike": NO}, "Many films are unlike its training films"),
        (dict.fromkeys((q.key for q in QUESTIONS), TOO_FEW), "Nothing can be concluded"),
    ],
)
def test_the_worst_finding_is_the_headline(found: dict[str, str], words: str) -> None:
    assert headline([answer(q.key, found.get(q.key, q.wanted)) for q in QUESTIONS]).startswith(words)


@pytest.mark.trains
@pytest.mark.parametrize("what", ["constant", "inverted", "called alike"])
def test_a_model_that_does_not_work_does_not_pass(what: str) -> None:
    one = evidence(0.0)
    if what == "constant":
        one.predictions["score"], one.predictions["prediction"] = 0.7, "covid"
    elif what == "inverted":
        one.predictions["score"] = 1 - one.predictions["score"]
        one.predictions["prediction"] = np.where(one.predictions["score"] >= 0.5, "covid", "not covid")
    else:
        one.predictions["prediction"] = "covid"
    run = report(one).runs[0]
    assert run.answers[0].answer == NO and run.headline.startswith("The model does not work")


@pytest.mark.trains
@pytest.mark.parametrize(
    ("batches", "said"),
    [(("paired", "balanced"), True), (("balanced", "balanced"), False), (("paired", None), False)],
    ids=str,
)
def test_batches_of_several_kinds_are_said_beside_the_difference(
    biased_and_fair: BiasReport, batches: tuple[str, str | None], said: bool
) -> None:
    runs = [
        dataclasses.replace(run, about=run.about | {"batches": kind})
        for run, kind in zip(biased_and_fair.runs, batches, strict=True)
    ]
    sentences = [note for note in verdict_of(runs).notes if note.startswith("Batches")]
    assert len(sentences) == said and all("biased paired, fair balanced" in note for note in sentences)


def test_what_a_reader_must_know_first_is_in_the_verdict() -> None:
    one = evidence(0.0)
    one.about["temperature"] = 20.0
    far = dataclasses.replace(one, training=None, distances=np.ones(400), distance_limit=0.5)
    found = report(far)
    run = found.runs[0]
    assert [
        words in caution
        for words, caution in zip(("temperature", "own predictions", "100%"), run.cautions, strict=True)
    ]
    assert "Caution: the temperature" in run.headline and "Many films are unlike" in run.headline
    assert answers(found, "run")["alike"] == NO and answers(found, "run")["follows"] == NOT_ASKED
    one.about["classes"] = ["not covid", "covid"]
    assert one.training is not None
    other = dataclasses.replace(one, training=one.training.assign(target="pneumonia"))
    assert any("another task" in caution for caution in report(other).runs[0].cautions)


@pytest.mark.trains
def test_groups_are_compared_with_a_reference_where_one_is_given() -> None:
    found = audit([evidence(4.0)], about(), resamples=200, reference={"source": "north"})
    gaps = found.runs[0].groups["source"].gaps.set_index("metric")
    assert "north" in gaps.loc["specificity", ["worst_group", "best_group"]].tolist()


def test_crossed_groups_predictive_values_and_net_benefit_are_in_report_and_page(tmp_path: Path) -> None:
    facts = about() | {"prevalence": 0.02}
    found = audit([evidence(4.0)], facts, ["source,sex"], resamples=200, prevalence=0.02)
    run = found.runs[0]
    assert "east · F" in run.groups["source x sex"].values["group"].tolist()
    gaps = run.groups["source x sex"].gaps.set_index("metric")
    assert (gaps.loc["specificity", ["ratio_low", "ratio", "ratio_high"]].diff().dropna() > 0).all()
    ppv = run.predictive.set_index("group").loc["all films"]
    assert 0 < ppv["ppv_low"] < ppv["ppv"] < ppv["ppv_high"] < 0.5 < ppv["npv"]
    write_page(found, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Where 2 % of patients have the disease" in page and "Net benefit on these films" in page
    assert "worst / best" in page


@pytest.mark.trains
def test_calibration_is_measured_by_source() -> None:
    table = report(evidence(0.0)).runs[0].calibration.set_index("group")
    assert set(table.index) == {"all films", "north", "east", "south"}
    assert (table["slope_low"] < table["slope"]).all() and (table["ratio_low"] < table["ratio"]).all()


@pytest.mark.trains
def test_different_films_are_not_compared_and_both_are_audited() -> None:
    first, second = evidence(0.0, films=120, name="a"), evidence(0.0, films=130, name="b", seed=1)
    found = report(first, second)
    assert len(found.runs) == 2 and "different films: 120" in found.comparisons[0].problem
    assert found.comparisons[0].rows.empty


def test_too_few_patients_cannot_be_concluded_from() -> None:
    found = report(evidence(0.0, films=12))
    assert set(answers(found, "run").values()) == {TOO_FEW, NOT_ASKED}
    assert found.runs[0].headline.startswith("Nothing can be concluded")


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
        ("auroc:test<0.2", False),
        ("auroc:external<=1", True),
        ("auroc:validation<0.2", True),
        ("accuracy<0.1", False),
    ],
)
def test_conditions(condition: str, failed: bool, biased_and_fair: BiasReport) -> None:
    outcome = check_conditions(biased_and_fair, parse_conditions(condition))[0]
    assert outcome.run == "biased" and outcome.failed is failed, outcome.sentence
    if condition == "leak:moon>0.6":
        assert "are not probed for moon" in outcome.sentence
    assert ("no evidence" in outcome.sentence) == any(word in condition for word in ("moon", "validation"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gap:sensitivity>1",
        "leak>0.1",
        "auroc:test:x<1",
        "recall<1",
        "shortcut:halo>0.6",
        "auroc:extern<0.7",
        "auroc=0.5",
        "gap:auroc:source>x",
    ],
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


def test_where_source_and_label_are_one_a_high_auroc_is_no_evidence_that_the_model_works() -> None:
    """A model that reads the hospital alone, on hospitals of one label each, seen and not."""
    films = evidence(0.0)
    table = films.predictions
    target = (table["target"] == "covid").to_numpy()
    known = (table["split"] == "test").to_numpy()
    table["source"] = np.where(known, np.where(target, "north", "east"), np.where(target, "west", "south"))
    table["score"] = np.where(target, 0.9, 0.1) + np.random.default_rng(0).uniform(0, 0.05, len(table))
    table["prediction"] = table["target"]
    run = report(films).runs[0]
    assert {name: answers(report(films), "run")[name] for name in ("works", "unseen")} == {
        "works": NOT_SHOWN,
        "unseen": NOT_SHOWN,
    }
    assert run.headline.startswith("The model is not shown to work at all: AUROC 1.00")
    assert "source and label can't be told apart there" in run.headline
    high, random = table["score"].copy(), np.random.default_rng(1).uniform(0.3, 0.7, len(table))
    table["score"] = random  # what shows nothing is not blamed on the cohort
    assert "can't be told apart" not in report(films).runs[0].headline
    table["score"] = high
    table.loc[table.index[known][:60], "source"] = "both"  # thirty of each label, or so
    assert answers(report(films), "run")["works"] == YES
