"""The page Threshold: the threshold that reaches what is wanted, from validation films alone, carried to other pages."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from scipy.special import expit, logit
from streamlit.testing.v1 import AppTest

from tests.app_pages import END, ERM, fine, open_page, texts
from training.bias.numbers.groups import ALL_FILMS
from training.run.checkpoint_header import read_header
from training.run.site_calibration import NAME, write_site_calibration

pytestmark = pytest.mark.app


def validation(runs: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(runs / name / "predictions.parquet").query("split == 'validation'")


def table(page: AppTest, number: int) -> pd.DataFrame:
    return page.table[number].value.map(lambda cell: cell.replace("\\", ""))


def choose(page: AppTest, key: str, option: str) -> AppTest:
    return fine(page.segmented_control(key=key).set_value(option).run())


def test_it_starts_with_the_threshold_of_ninety_per_cent_sensitivity_of_both_runs(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("threshold", runs, monkeypatch, ERM, END)
    assert page.header[0].value == "90 % sensitivity, all films" and "stay locked" in texts(page)
    shown = table(page, 0)
    assert list(shown.index) == ["erm · s0", "end · s0"]
    for name, run in ((ERM, "erm · s0"), (END, "end · s0")):
        films = validation(runs, name)
        ill = films["score"][films["target"] == "covid"].sort_values(ascending=False)
        threshold = next(score for score in ill if (ill >= score).mean() >= 0.9)
        assert float(shown.loc[run, "threshold"]) == pytest.approx(threshold, abs=0.0006)
        assert f"{run}: threshold **{threshold:.3f}**" in texts(page)
    sources = table(page, 1)
    assert set(sources.index) == {ALL_FILMS, *validation(runs, ERM)["source"]}, "no test film is counted"
    counted = sources.loc[ALL_FILMS, "covid found"].str.split().str[-1].astype(int)
    assert counted.tolist() == [int((validation(runs, name)["target"] == "covid").sum()) for name in (ERM, END)]


def test_numbers_follow_what_is_wanted(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("threshold", runs, monkeypatch, ERM)
    before = table(page, 0).iloc[0]
    page = fine(page.number_input(key="wanted_sensitivity").set_value(50.0).run())
    assert float(table(page, 0)["threshold"].iloc[0]) > float(before["threshold"])
    page = fine(page.number_input(key="prevalence").set_value(1.0).run())
    rare = table(page, 0).iloc[0]
    assert rare["PPV at 1 %"] != before["PPV at 10 %"] and "Of 1000 films" in texts(page)
    assert "At 1 % (dotted), per 100 films: erm · s0 " in texts(page)
    page = choose(page, "threshold_rule", "the run's own")
    assert table(page, 0)["threshold"].iloc[0] == f"{read_header(runs / ERM)['threshold']:.3f}"
    page = choose(page, "threshold_rule", "Youden's J")
    assert any("--operating-point youden" in code.value for code in page.code)
    page = choose(page, "threshold_rule", "a score")
    page = fine(page.number_input(key="wanted_score").set_value(0.0).run())
    last = table(page, 0).iloc[0]
    assert last["sensitivity"].startswith("1.00") and last["specificity"].startswith("0.00")
    assert last["NPV at 1 %"] == "cannot conclude", "no film is called negative"
    assert fine(page.switch_page("views/runs.py").run()).title[0].value == "Runs"
    page = fine(page.switch_page("views/threshold.py").run())
    assert page.number_input(key="prevalence").value == 1.0, "a visit keeps what was typed"


def test_small_sources_show_counts_and_allow_no_conclusion(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("threshold", runs, monkeypatch, ERM)
    films = validation(runs, ERM)
    ill = films[films["target"] == "covid"].groupby("source")["patient"].nunique().reindex(films["source"].unique())
    small = str(ill.fillna(0).idxmin())
    row = table(page, 1).loc[small]
    assert row["sensitivity"] == "cannot conclude" and "\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}" in row["covid found"]
    page = choose(page, "threshold_at", small)
    assert f"erm · s0, {small}: cannot conclude" in texts(page), "no threshold from so few"
    assert page.header[0].value == "At every source with the thresholds in use" and small in table(page, 0).index
    page = choose(page, "threshold_rule", "the run's own")
    assert table(page, 0).iloc[0]["sensitivity"] == "cannot conclude"


def test_a_threshold_is_carried_to_other_pages_and_back(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("threshold", runs, monkeypatch, ERM, END)
    assert not page.info
    page = fine(page.button(key=f"use {END}").click().run())
    (threshold,) = page.session_state["visit_thresholds"].values()
    assert f"end · s0 from {threshold:.3f}" in texts(page)
    assert not [button for button in page.button if button.key == f"use {END}"], "it is in use"
    page = fine(page.button(key=f"back {END}").click().run())
    assert page.session_state["visit_thresholds"] == {} and not page.info


def test_runs_that_allow_no_threshold_get_a_sentence(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, kept in (("a", None), ("b", "split == 'test'"), ("c", "target == 'covid'")):
        shutil.copytree(runs / ERM, tmp_path / name)
        file = tmp_path / name / "predictions.parquet"
        films = pd.read_parquet(file)
        file.unlink()
        if kept:
            films.query(kept).to_parquet(file)
    assert "kept no predictions" in texts(open_page("threshold", tmp_path, monkeypatch, "a"))
    for name in ("b", "c"):  # not what the training measured
        (error,) = open_page("threshold", tmp_path, monkeypatch, name).error
        assert f"predictions.parquet of {name} is of another run, or not whole: n of its" in error.value


def test_a_calibrated_site_s_threshold_is_one_of_the_rules(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        "a calibrated site"
        not in open_page("threshold", runs, monkeypatch, ERM).segmented_control(key="threshold_rule").options
    )
    copies = shutil.copytree(runs, tmp_path / "runs")
    fit = {"own": True, "temperature": {"estimate": 2.0}, "threshold": {"estimate": 0.3}}
    values = {"sites": {"Mercy": fit}, "patients": [], "key": ""}
    write_site_calibration(copies / ERM, values)
    page = choose(open_page("threshold", copies, monkeypatch, ERM, END), "threshold_rule", "a calibrated site")
    own = read_header(copies / ERM)["temperature"]
    expected = expit(2.0 / own * logit(0.3))
    assert page.header[0].value == "As at Mercy, all films"
    assert f"erm · s0: threshold **{expected:.3f}**" in texts(page)
    assert "no calibration of Mercy" in texts(page), "the other run has none"


def test_a_site_calibration_that_can_not_be_used_is_told(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = shutil.copytree(runs, tmp_path / "runs")
    fit = {"own": True, "temperature": {"estimate": 2.0}, "threshold": {"estimate": 0.3}}
    write_site_calibration(copies / END, {"sites": {"Mercy": fit}, "patients": [], "key": ""})
    shutil.copyfile(copies / END / NAME, copies / ERM / NAME)  # as after a training anew under the same name
    (copies / END / NAME).write_text("{}")
    page = fine(open_page("threshold", copies, monkeypatch, ERM, END))
    told = texts(page).replace("\\", "")
    again = "fit it anew with python -m training.calibrate"
    assert f"{NAME} was fitted for another checkpoint than the one beside it: {again} {ERM}" in told, told
    assert f"{NAME} is no site calibration: {again} {END}" in told and str(tmp_path) not in told
    assert "a calibrated site" not in page.segmented_control(key="threshold_rule").options
