"""The page of the threshold: numbers that follow the sliders, from validation films alone, and runs without a threshold."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from tests.app_pages import END, ERM, open_page, texts
from training.run.checkpoint_header import read_header

pytestmark = pytest.mark.app


def values(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_it_starts_at_the_run_s_own_threshold_and_says_why_test_is_locked(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("threshold", runs, monkeypatch, ERM, END)
    own = read_header(runs / ERM)["threshold"]
    assert page.slider(key=f"threshold of {ERM}").value == own
    assert "stay locked" in texts(page) and "look better" in texts(page)
    table = pd.read_parquet(runs / ERM / "predictions.parquet").query("split == 'validation'")
    called, ill = table["score"] >= own, table["target"] == "covid"
    # Films of patients with many count a little less.
    sensitivity, specificity = (called & ill).sum() / ill.sum(), (~called & ~ill).sum() / (~ill).sum()
    assert float(values(page)["sensitivity"]) == pytest.approx(sensitivity, abs=0.03)
    assert float(values(page)["specificity"]) == pytest.approx(specificity, abs=0.03)
    shown = page.dataframe[0].value
    assert shown["films of"].iloc[0] == "all films" and shown["films"].iloc[0] == len(table)
    assert shown["films"].iloc[1:].sum() == len(table), "no test film is counted"
    assert set(shown["films of"].iloc[1:]) == set(table["source"])


def test_numbers_follow_the_sliders_and_the_presets(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("threshold", runs, monkeypatch, ERM, END)
    before = values(page)
    page.slider(key="prevalence").set_value(1.0).run()
    rare = values(page)
    assert rare["sensitivity"] == before["sensitivity"] and rare["PPV"] != before["PPV"]
    page.slider(key=f"threshold of {ERM}").set_value(0.0).run()
    assert values(page)["sensitivity"] == "1.000" and values(page)["specificity"] == "0.000"
    assert values(page)["PPV"] == "0.010" and values(page)["NPV"] == "–", "no film is called negative: no NPV"
    page.button(key=f"threshold of {ERM} Youden's J").click().run()
    assert not page.exception and any("--operating-point youden" in code.value for code in page.code)
    page.segmented_control(key="threshold_of").set_value(END).run()
    assert page.slider(key=f"threshold of {END}").value == read_header(runs / END)["threshold"]


def test_small_sources_allow_no_conclusion(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("threshold", runs, monkeypatch, ERM)
    shown = page.dataframe[0].value
    assert (shown["with covid"] < 10).any()
    small = shown[shown["with covid"] < 10]
    assert set(small["sensitivity"]) == set(small["PPV"]) == {"cannot conclude"}
    assert "fewer than 10 patients" in texts(page)


def test_runs_that_allow_no_threshold_get_a_sentence(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, kept in (("a", None), ("b", "split == 'test'"), ("c", "target == 'covid'")):
        shutil.copytree(runs / ERM, tmp_path / name)
        file = tmp_path / name / "predictions.parquet"
        table = pd.read_parquet(file)
        file.unlink()
        if kept:
            table.query(kept).to_parquet(file)
    assert "kept no predictions" in texts(open_page("threshold", tmp_path, monkeypatch, "a"))
    for name in ("b", "c"):  # not what the training measured
        (error,) = open_page("threshold", tmp_path, monkeypatch, name).error
        assert f"predictions.parquet of {name} is of another run, or not whole: n of its" in error.value
