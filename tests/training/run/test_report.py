"""Reports: undefined is null in JSON and "cannot conclude" on the terminal, names of users are shown as they are."""

import io
import json
import math
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from datasets.cohort.confounding import check_confounding
from datasets.cohort.films import Cohort, left_out
from datasets.film.preprocessing import Preprocessing
from datasets.sample import DatasetInfo
from training.loop.tables import show_cohort, show_results
from training.run.report import RunResult, difference, result_json, write_report, write_result

INFO = DatasetInfo("covid", ("not covid", "covid"), ("a", "b"), "source", 1, synthetic=False)
NAMES = (
    *(
        "accuracy",
        "auroc",
        "aligned_accuracy",
        "conflicting_accuracy",
        "conflicting_gap",
        "worst_group_accuracy",
        "leak",
    ),
    "leak_chance",
)


def result(method: str, value: float) -> RunResult:
    metrics = dict.fromkeys(NAMES, value) | {"n": 40, "patients": 30}
    external = dict.fromkeys(NAMES, math.nan) | {"n": 5, "patients": 5}
    return RunResult(Path("runs") / method, method, "resnet18", 0, False, {"test": metrics, "external": external})


def shown(*runs: RunResult, info: DatasetInfo = INFO) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    show_results(console, list(runs), info)
    return console.export_text()


def test_differences_are_the_second_against_the_first() -> None:
    found = result_json([result("erm", 0.5), result("end", 0.75)])
    assert found["difference"]["test"] == dict.fromkeys(set(NAMES) - {"leak_chance"}, 0.25)
    assert found["difference"]["external"]["auroc"] is None
    assert found["runs"][1]["metrics"]["external"]["auroc"] is None
    json.dumps(found, allow_nan=False)
    assert result_json([result("erm", 0.5)])["difference"] == {}
    assert math.isnan(difference(result("erm", 0.5), result("end", 0.5))["external"]["auroc"])


def test_the_terminal_says_cannot_conclude_and_leaves_out_what_has_no_meaning() -> None:
    text = shown(result("erm", 0.5), result("end", 0.75))
    assert "+0.250" in text and "test: 40 images of 30 patients" in text
    external = text.partition("external:")[2]
    assert external.count("cannot conclude") == 2 * 5 and "conflicting" not in external
    assert "SYNTHETIC" not in text
    digits = DatasetInfo("biased-mnist", tuple("0123456789"), ("red",), "colour", None, synthetic=True)
    text = shown(result("erm", 0.5), info=digits)
    assert "AUROC" not in text and "SYNTHETIC" in text and "difference" not in text


def test_report_json_has_a_schema_version_and_the_notice(tmp_path: Path) -> None:
    write_report([result("erm", 0.5)], tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["schema_version"] == 1 and "Not a medical device" in found["notice"]
    assert found["runs"] == result_json([result("erm", 0.5)])["runs"]


def test_names_with_brackets_and_rows_left_out_are_shown_as_they_are() -> None:
    table = pd.DataFrame(
        {
            "row": range(8), "patient": list("abcdefgh"), "label": ["covid", "normal"] * 4,
            "source": ["[a]", "[a]", "b", "b"] * 2,
            "split": ["train"] * 8, "target": [0, 1] * 4, "bias": [0, 0, 1, 1] * 2,
        }
    )  # fmt: skip
    reasons = dict.fromkeys(range(10, 17), "its label is [odd]") | {20: "its file does not exist"}
    cohort = Cohort(INFO, table, Preprocessing(32), excluded=left_out(reasons))
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    show_cohort(console, cohort, [check_confounding(table["label"], table["source"], 8)])
    text = console.export_text()
    assert "[a]" in text and "8 rows left out" in text
    assert "7 because its label is [odd] (line 12, 13, 14, 15, 16, … of metadata.csv)" in text
    assert "1 because its file does not exist (line 22 of metadata.csv)" in text


def test_reasons_that_are_not_shown_are_counted() -> None:
    table = pd.DataFrame({"patient": ["a", "b"], "split": ["train", "test"]})
    for column in ("row", "label", "source", "target", "bias"):
        table[column] = 0
    reasons = {number: f"its file is already on line {number % 10 + 2}" for number in range(2, 14)}
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    show_cohort(console, Cohort(INFO, table, Preprocessing(32), excluded=left_out(reasons)), [])
    assert console.export_text().splitlines()[-1] == "  and 2 more, for 2 other reasons"


@pytest.mark.parametrize("width", [60, 200])
def test_a_long_folder_is_not_broken(width: int) -> None:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    run = result("erm", 0.5)
    show_results(console, [RunResult(Path("x" * 150), "erm", "m", 0, False, run.metrics)], INFO)
    assert "x" * 150 in console.export_text()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "asked", "written"), [(Terminal, False, False), (Terminal, True, True), (io.StringIO, False, True)]
)
def test_json_is_for_programs(
    stream: type[io.StringIO], asked: bool, written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", stream())
    write_result([result("erm", 0.5)], asked)
    assert sys.stdout.getvalue().startswith("--result\n{") == written  # type: ignore[attr-defined]
