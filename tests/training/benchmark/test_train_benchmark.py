"""The benchmark of training: both sides see the same films, and every row and ratio is printed."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from training.benchmark.timing import in_turn
from training.benchmark.training import image_folder, phantom_folder, timm_epoch, train
from training.run.config import parse

pytestmark = pytest.mark.trains


def test_both_sides_are_timed_and_the_step_is_taken_apart(capsys: pytest.CaptureFixture[str]) -> None:
    train(None, 60, "test_resnet", 32, 8, repeats=1, workers=0)
    said = capsys.readouterr().out
    rows = {name: float(speed) for name, speed in re.findall(r"│ (timm|erm|end|end, decoding) +│ +([\d.]+)", said)}
    assert set(rows) == {"timm", "erm", "end", "end, decoding"} and all(rows.values())
    assert re.search(r"end against timm: [\d.]+, aim 1.0: (not )?reached", said)
    assert re.search(r"end against erm: [\d.]+, aim 0.98: (not )?reached", said)
    parts = [
        float(share)
        for share in re.findall(r"│ (?:films|classifier|cross-entropy|optimiser|backward).*?([\d.]+)%", said)
    ]
    assert len(parts) == 5 and sum(parts) == pytest.approx(100, abs=0.5)
    assert "aten::" in said


def test_timm_gets_the_training_films_by_class(tmp_path: Path) -> None:
    films = phantom_folder(tmp_path / "films", 60)
    table = pd.read_csv(films / "metadata.csv").rename(columns={"label": "target_name"})
    folder = image_folder(films, table, tmp_path / "by class")
    found = {path.name: path.parent.name for path in folder.glob("*/*")}
    mine = table[table["split"] == "train"]
    assert found == dict(zip(mine["path"], mine["target_name"], strict=True))
    assert len(set(found.values())) == 3
    for path in folder.glob("*/*"):
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(films / path.name)))
    config = parse(
        ["--dataset", "covid", "--data-dir", str(films), "--model", "test_resnet", "--img-size", "32", "-b", "8"]
    )
    assert len(in_turn({"timm": timm_epoch(folder, config, 0)}, 2)["timm"]) == 2
