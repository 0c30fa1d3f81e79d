"""The page of runs: what is there, what can't be used and why, curves, settings, and the model card as text."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from streamlit.testing.v1 import AppTest

from tests.app_pages import END, ERM, fine, open_page, texts
from training.run.checkpoint_header import read_header

pytestmark = pytest.mark.app


@pytest.fixture(scope="module")
def folder(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two runs among folders that are none."""
    root = tmp_path_factory.mktemp("mixed")
    for name in (ERM, END):
        shutil.copytree(runs / name, root / name)
    for name in ("pickle", "truncated", "another", "empty"):
        (root / name).mkdir()
    (root / "pickle" / "model.pt").write_bytes(b"\x80\x04\x95")
    whole = (runs / ERM / "model.safetensors").read_bytes()
    (root / "truncated" / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file({"weight": np.zeros(3)}, root / "another" / "model.safetensors", metadata={"format": "pt"})
    (root / ERM / "MODEL_CARD.md").write_text(
        "---\na: b\n---\n# A card\n<script>alert(1)</script> ![x](https://x.org/y)"
    )
    return root


def cells(page: AppTest) -> pd.DataFrame:
    return page.table[0].value.map(lambda cell: str(cell).replace("\\", ""))


def test_runs_with_their_headline_metrics(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("runs", folder, monkeypatch, ERM, END)
    table = cells(page)
    assert list(table.index) == ["end · s0", "erm · s0"] and "SYNTHETIC images" in texts(page)
    metrics = read_header(folder / END)["metrics"]["test"]
    assert table.loc["end · s0", "test AUROC"] == f"{metrics['auroc']:.3f}"
    assert table.loc["end · s0", "leak"] == f"{metrics['leak']:.3f} (chance {metrics['leak_chance']:.2f})"
    page.selectbox(key="run_order").set_value("test AUROC").run()
    by_auroc = [float(value) for value in cells(page)["test AUROC"]]
    assert by_auroc == sorted(by_auroc, reverse=True)
    page.text_input(key="run_filter").set_value("END").run()
    assert list(cells(page).index) == ["end · s0"]
    page = fine(page.switch_page("views/bias.py").run().switch_page("views/runs.py").run())
    assert page.text_input(key="run_filter").value == "END", "a visit keeps the filter"
    assert "No run matches" in texts(page.text_input(key="run_filter").set_value("nothing such").run())


def test_seeds_stand_together_until_they_are_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        shutil.copytree(folder / ERM, tmp_path / name)
    page = open_page("runs", tmp_path, monkeypatch, "one")
    (row,) = cells(page).index
    assert "2 seeds (0, 0)" in row
    page.toggle(key="run_seeds").set_value(False).run()
    assert len(cells(page)) == 2


def test_a_training_under_way_is_followed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "phantom-end-test_resnet-s1"
    run.mkdir()
    for name in ("config.yaml", "metrics.jsonl"):
        shutil.copy(folder / END / name, run / name)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text(lines[0])
    (run / "resume-000000003.pt").touch()
    page = open_page("runs", tmp_path, monkeypatch)
    (bar,) = page.get("progress")
    assert "training, epoch 2 of 2 · saved 0 min ago" in bar.proto.text.replace("\\", "")
    assert "--resume" not in texts(page) and "Not usable" not in texts(page) and not page.code, (
        "nobody starts a second one"
    )
    assert "**training: cross-entropy**" in texts(page), "its curves are there before any run is finished"
    bias = open_page("bias", tmp_path, monkeypatch)
    assert "training, epoch 2 of 2. Its curves are on the page Runs" in texts(bias) and not bias.code
    os.utime(run / "resume-000000003.pt", (0, 0))
    os.utime(run / "metrics.jsonl", (0, 0))
    stopped = open_page("runs", tmp_path, monkeypatch)
    assert "stopped in epoch 2 of 2: --resume continues it" in texts(stopped) and not stopped.get("progress")


def test_what_cannot_be_used_is_named_with_its_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("runs", folder, monkeypatch, ERM, END)
    broken = page.table[1].value["why"]
    assert set(broken.index) == {"pickle", "truncated", "another"}, "a folder without any trace of a run is not named"
    assert "could run code" in broken["pickle"] and "not a safetensors file" in broken["truncated"]
    assert "not written by this package" in broken["another"]
    assert not any(str(folder) in why for why in broken)


def test_curves_of_the_chosen_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("runs", folder, monkeypatch, ERM, END)
    for title in ("training: cross-entropy", "training: term R_perp", "pairs that R_par uses", "validation: AUROC"):
        assert f"**{title}**" in texts(page)
    assert "ring is the epoch" in texts(page)
    alone = open_page("runs", folder, monkeypatch, ERM)
    assert "**training: term R_perp**" not in texts(alone), "a plain run has no such term"


def test_a_run_without_records(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(folder / ERM, tmp_path / "bare")
    for name in ("metrics.jsonl", "report.json"):
        (tmp_path / "bare" / name).unlink()
    shutil.copytree(folder / END, tmp_path / "unsaid")
    (tmp_path / "unsaid" / "report.json").write_text("{")
    page = open_page("runs", tmp_path, monkeypatch, "bare", "unsaid")
    assert "erm · s0 kept no record" in texts(page) and "not known of end · s0" in texts(page)


def test_settings_side_by_side(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("runs", folder, monkeypatch, ERM, END)
    page.segmented_control(key="run_part").set_value("Settings").run()
    assert page.dataframe[0].value.set_index("setting").loc["method"].to_dict() == {
        "erm · s0": "erm",
        "end · s0": "end",
    }
    page.toggle(key="run_differs").set_value(True).run()
    assert not page.exception and "epochs" not in set(page.dataframe[0].value["setting"])


def test_a_model_card_is_text_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("runs", folder, monkeypatch, ERM, END)
    page.segmented_control(key="run_part").set_value("Model card").run()
    card = next(element for element in page.markdown if "# A card" in element.value)
    assert not card.proto.allow_html and "![" not in card.value and "a: b" not in card.value
    page.segmented_control(key="card_of").set_value(END).run()
    assert any(f"training.evaluate {folder / END}" in code.value for code in page.code)


def test_an_empty_folder_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("runs", tmp_path, monkeypatch)
    assert not page.dataframe and any("training.train" in code.value for code in page.code)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text(json.dumps({"seed": 0}))
    page = open_page("runs", tmp_path, monkeypatch)
    assert "stopped before the first epoch ended" in page.table[0].value["why"].iloc[0]
