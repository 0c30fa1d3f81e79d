"""The page of the feature space: maps of two runs, play, picked films, and runs that have no map."""

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.app_pages import END, ERM, open_page, texts

pytestmark = pytest.mark.app


@pytest.fixture
def page(runs: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return open_page("feature_space", runs, monkeypatch, ERM, END)


def charts(app: AppTest) -> list[str]:
    return [chart.proto.spec for chart in app.get("vega_lite_chart")]


def test_two_maps_and_the_lines_for_two_runs(page: AppTest) -> None:
    assert len(charts(page)) == 3
    assert "**erm · s0**" in texts(page) and "**end · s0**" in texts(page)
    assert texts(page).count("of all variance") == 2
    assert page.select_slider(key="map_epoch").options == ["before training", "after epoch 1", "after epoch 2"]
    assert "SYNTHETIC" in texts(page) and "Not a medical device" in texts(page)


def test_the_slider_moves_both_maps(page: AppTest) -> None:
    page.select_slider(key="map_epoch").set_value(0).run()
    assert not page.exception
    first = charts(page)[:2]
    page.select_slider(key="map_epoch").set_value(2).run()
    assert all(before != after for before, after in zip(first, charts(page)[:2], strict=True))
    far = charts(page)[0]
    page.toggle(key="map_near").set_value(True).run()
    assert not page.exception and charts(page)[0] != far


def test_t_sne_coloured_by_error(page: AppTest) -> None:
    page.segmented_control(key="map_by").set_value("t-SNE").run()
    page.segmented_control(key="map_colour").set_value("error").run()
    assert not page.exception
    assert any("t-SNE keeps neighbours together" in caption.help for caption in page.caption)
    assert "of all variance" not in texts(page)
    assert any("false alarm" in chart or "missed" in chart for chart in charts(page)[:2])


def test_play_starts_again_from_the_first_epoch_and_stops_at_the_last(page: AppTest) -> None:
    page.button(key="map_play").click().run()
    assert page.button(key="map_play").label == "Pause" and page.select_slider(key="map_epoch").value == 0
    seen = []
    for _ in range(4):  # the clock of a browser runs the page every so often
        page.session_state["map_moved"] = -1e9
        page.run()
        seen.append(page.select_slider(key="map_epoch").value)
    assert not page.exception and seen == [1, 2, 2, 2]
    assert page.button(key="map_play").label == "Play"


def test_a_group_is_picked_without_the_mouse_and_shown(page: AppTest) -> None:
    choice = page.selectbox(key="map_choice")
    name = next(option for option in choice.options if option.startswith("all from east"))
    choice.set_value(name).run()
    assert not page.exception
    count = int(name.partition("(")[2].rstrip(")"))
    table = next(frame.value for frame in page.dataframe if "score, left" in frame.value)
    assert len(table) == count and set(table["source"]) == {"east"}
    apart = (table["score, left"] - table["score, right"]).abs()
    assert apart.is_monotonic_decreasing, "films that the runs disagree on come first"
    assert len(page.get("image")) == min(6, count)
    page.selectbox(key="map_choice").set_value(None).run()
    assert "None yet." in texts(page)


def test_one_run_has_one_map(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("feature_space", runs, monkeypatch, ERM)
    assert len(charts(page)) == 2 and "end · s0" not in texts(page)
    options = page.selectbox(key="map_choice").options
    assert any(option.startswith("wrong in erm · s0") for option in options)
    assert not any("differently" in option or "end · s0" in option for option in options)


def test_runs_without_a_map_get_a_sentence(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ERM, END):
        shutil.copytree(runs / name, tmp_path / name)
    (tmp_path / ERM / "probe_set.safetensors").unlink()
    page = open_page("feature_space", tmp_path, monkeypatch, ERM, END)
    assert "kept no features" in texts(page) and len(charts(page)) == 2, "the other run is still there"

    (tmp_path / END / "probe_set.safetensors").write_bytes(b"\x80\x04pickle")
    (tmp_path / END / "model.safetensors").touch()  # the stamp of a run that was trained anew
    page = open_page("feature_space", tmp_path, monkeypatch, ERM, END)
    assert "is not a safetensors file" in texts(page) and str(tmp_path) not in texts(page)
    assert not charts(page) and any("training.train" in code.value for code in page.code)
