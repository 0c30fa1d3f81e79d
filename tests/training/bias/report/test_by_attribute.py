"""The questions on the source, asked of other attributes: a model that leaves one shortcut for another is found out."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from training.bias.evidence import Evidence
from training.bias.numbers.contrast import label_contrast
from training.bias.report.answers import NO, NOT_ASKED, NOT_SHOWN, YES
from training.bias.report.attribute_screen import ASKED, attribute_screen
from training.bias.report.audit import audit
from training.bias.report.by_attribute import attributes_of, usual_of
from training.bias.report.page import write_page
from training.bias.report.values import BiasReport
from training.evaluate.terminal import show

NAMES = np.array(["not covid", "covid"], dtype=object)
ABOUT = {
    "notice": "for research", "made": "now", "films": "made to order", "resamples": 200, "permutations": 200, "seed": 0,
    "synthetic": True, "versions": {"python": "3"}, "prevalence": None,
}  # fmt: skip


def evidence(name: str, source: float, device: float, told: tuple[str, ...] = ("source", "device")) -> Evidence:
    """Films whose score and features follow source and device by so much; the films are the same for every model."""
    rng = np.random.default_rng(0)
    target, north, new = (rng.integers(0, 2, 300) for _ in range(3))
    score = 1 / (
        1 + np.exp(-(2 * (target - 0.5) + source * (north - 0.5) + device * (new - 0.5) + 0.7 * rng.normal(size=300)))
    )
    table = pd.DataFrame(
        {
            "file": [f"f{i}" for i in range(300)],
            "patient": [f"p{i}" for i in range(300)],
            "source": np.where(north == 1, "north", "east"),
            "device": np.where(new == 1, "new", "old"),
            "split": "test",
            "target": NAMES[target],
            "score": score,
            "prediction": NAMES[(score >= 0.5).astype(int)],
        }
    )
    table.loc[:19, "device"] = None
    training = pd.DataFrame({"patient": range(200), "source": ["north"] * 100 + ["east"] * 100})
    training["target"] = np.r_[["covid"] * 90, ["not covid"] * 10, ["covid"] * 10, ["not covid"] * 90]
    training["device"] = np.where(np.roll(training["target"] == "covid", 7), "new", "old")
    features = rng.normal(size=(300, 6))
    features[:, 0] += source * north
    features[:, 1] += device * new
    about = {"positive": "covid", "method": "erm", "model": "m", "seed": 0, "synthetic": False, "splits": ["test"]}
    about |= {"threshold": 0.5, "temperature": 1.0, "operating_point": "youden", "left_out": 0}
    about |= {"training_used_source_labels": False, "attributes": list(told)}
    return Evidence(name, about, "covid", table, features, {}, training)


@pytest.fixture(scope="module")
def moved() -> BiasReport:
    """The first uses the source, the second the device in its place."""
    return audit([evidence("erm", 4.0, 0.0), evidence("end", 0.0, 4.0)], ABOUT, resamples=200, permutations=1000)


def test_each_model_is_told_by_the_attribute_that_it_uses(moved: BiasReport) -> None:
    erm, end = ({a: {one.question: one.answer for one in of} for a, of in run.attributes.items()} for run in moved.runs)
    assert list(erm) == ["source", "device"] and all(tuple(of) == ASKED for of in (*erm.values(), *end.values()))
    assert set(erm["source"].values()) == {YES} == set(end["device"].values())
    assert set(erm["device"].values()) | set(end["source"].values()) <= {NO, NOT_SHOWN}
    said = moved.runs[1].attributes["device"][2].evidence
    assert said.startswith("A probe reads the device within a label")


def test_the_difference_shows_that_taking_out_one_opened_the_other(moved: BiasReport) -> None:
    (pair,) = moved.comparisons
    assert {gap.verdict for gap in pair.attributes["source"]} == {"better"}
    assert {gap.verdict for gap in pair.attributes["device"]} == {"worse"}
    p = np.array([[gap.p, gap.p_holm] for of in pair.attributes.values() for gap in of])
    assert (p[:, 1] >= p[:, 0]).all() and (p[:, 1] > p[:, 0]).any()


def test_the_source_has_the_numbers_of_the_verdict_and_unrecorded_films_are_left_out(moved: BiasReport) -> None:
    run = moved.runs[0]
    for answer in run.attributes["source"]:
        same = next(one for one in run.answers if one.question == answer.question)
        assert (answer.estimate, answer.low, answer.high, answer.p) == (same.estimate, same.low, same.high, same.p)
    ours = evidence("erm", 4.0, 0.0)
    known = ours.predictions.iloc[20:].assign(source=ours.predictions["device"].iloc[20:])
    assert ours.training is not None
    usual = usual_of(dataclasses.replace(ours, training=ours.training.assign(source=ours.training["device"])))
    expected = label_contrast(known, usual).interval
    found = run.attributes["device"][1]
    assert (found.estimate, found.low, found.high) == pytest.approx(tuple(expected))


def test_it_is_in_the_json_the_page_and_the_terminal(moved: BiasReport, tmp_path: Path) -> None:
    run = json.loads(json.dumps(moved.as_json(), allow_nan=False))["runs"][1]
    assert [one["question"] for one in run["attributes"]["device"]] == list(ASKED)
    assert run["attributes"]["device"][0]["answer"] == YES
    write_page(moved, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Did taking out one shortcut open another?" in page and "Does the score follow the device?" in page
    console = Console(file=io.StringIO(), width=80)
    show(moved, tmp_path, [], console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    words = " ".join(text.split())
    assert "By attribute: taking out one shortcut can open another." in words
    screen = attribute_screen([run.attributes for run in moved.runs], [pair.attributes for pair in moved.comparisons])
    assert screen is not None and len(screen.lines) == 6
    assert screen.lines[3].measure.startswith("AUROC for the device's usual label, among films of one label; 0.5 = no")


def test_the_source_alone_has_no_table(tmp_path: Path) -> None:
    found = audit([evidence("erm", 1.0, 1.0, ())], ABOUT, resamples=200, permutations=200)
    assert found.runs[0].attributes == {} and attribute_screen([found.runs[0].attributes], []) is None
    write_page(found, tmp_path / "report.html")
    assert "open another" not in (tmp_path / "report.html").read_text()


def test_what_is_asked_of() -> None:
    erm, end = evidence("erm", 1.0, 1.0, ()), evidence("end", 1.0, 1.0, ("device",))
    assert attributes_of([erm, end], ()) == ["source", "device"]
    assert attributes_of([erm, erm], ("device", "device,source")) == ["source", "device"]
    assert attributes_of([erm, erm], ()) == []
    lacks = dataclasses.replace(end, predictions=end.predictions.drop(columns="device"))
    assert attributes_of([erm, lacks], ()) == []


def test_a_run_whose_training_films_lack_the_attribute_is_asked_what_needs_no_usual_label() -> None:
    erm = evidence("erm", 4.0, 0.0)
    assert erm.training is not None
    found = audit(
        [dataclasses.replace(erm, training=erm.training.drop(columns="device"))], ABOUT, resamples=200, permutations=200
    )
    assert [one.answer for one in found.runs[0].attributes["device"]][:2] == [NOT_ASKED] * 2
    assert found.runs[0].attributes["device"][2].answer in (NO, NOT_SHOWN)
