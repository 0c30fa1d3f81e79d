"""The choice of runs: kept in the page's address, short names, and which runs are synthetic."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from streamlit.testing.v1 import AppTest

from app.services.runs import SYNTHETIC, list_runs
from tests.app_pages import END, ERM, MAIN, fine, open_page, texts
from training.run.checkpoint_header import read_header

pytestmark = pytest.mark.app


def as_of_people(run: Path) -> None:
    """Let a run on phantoms say that its films are of people."""
    header = read_header(run)
    header["info"] |= {"synthetic": False}
    weights = load_file(run / "model.safetensors")
    metadata = {"format": "end-cxr", "version": "1", "header": json.dumps(header)}
    save_file(weights, run / "model.safetensors", metadata=metadata)


def test_a_link_holds_page_and_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("runs", runs, monkeypatch)
    assert page.query_params["run"] == [ERM, END], "a plain run and its twin, where the link names none"
    page.sidebar.multiselect[0].set_value([END]).run()
    assert page.query_params["run"] == END
    list_runs.clear()
    link = AppTest.from_file(MAIN, default_timeout=120)
    link.query_params["run"] = [END, "not/there"]
    fine(link.switch_page("views/bias.py").run())
    assert link.session_state["chosen_runs"] == [END] and link.query_params["run"] == END


def test_runs_have_short_names_in_the_sidebar(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_page("runs", runs, monkeypatch).sidebar.multiselect[0].options == ["end · s0", "erm · s0"]


def test_only_a_run_on_phantoms_is_called_synthetic(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SYNTHETIC in texts(open_page("runs", runs, monkeypatch, ERM, END))
    root = Path(shutil.copytree(runs, tmp_path / "runs"))
    as_of_people(root / END)
    text = texts(open_page("runs", root, monkeypatch, ERM, END))
    assert SYNTHETIC not in text and "erm · s0 · SYNTHETIC was trained on SYNTHETIC images" in text
    assert not open_page("bias", root, monkeypatch, END).warning, "the other run is not in sight"


def test_the_command_of_an_empty_folder_trains_into_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "my runs"
    (command,) = open_page("bias", root, monkeypatch).code
    assert command.value == f"python -m training.train --dataset phantom --paired --output '{root}'"
