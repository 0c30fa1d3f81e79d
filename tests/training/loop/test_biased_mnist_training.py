"""Biased MNIST through the main job: on drawn digits everywhere, on MNIST itself where END_CXR_MNIST names it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from training.train import main

pytestmark = pytest.mark.trains


def train(capsys: pytest.CaptureFixture[str], folder: Path, output: Path, *arguments: str) -> list[dict[str, Any]]:
    main(["--dataset", "biased-mnist", "--data-dir", str(folder), "--output", str(output), *arguments])
    shown = capsys.readouterr().out
    assert "SYNTHETIC" in shown and "colour" in shown
    runs: list[dict[str, Any]] = json.loads(shown.split("--result\n")[1])["runs"]
    return runs


def test_drawn_digits_with_the_authors_command(
    drawn_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--films", "800", "--img-size", "14", "--epochs", "3", "-b", "64", "--lr", "4e-3", "--logit-scale", "10"]
    (run,) = train(capsys, drawn_digits, tmp_path, "--rho", "0.9", "--alpha", "0.1", "--beta", "0.1", *small)
    assert run["synthetic"] and run["model"] == "simple_convnet"
    metrics = run["metrics"]
    assert metrics["train"]["accuracy"] > 0.5 and metrics["train"]["n"] == 800
    assert metrics["test"]["n"] == 1200 and metrics["test"]["auroc"] is None
    assert metrics["test"]["aligned_accuracy"] > metrics["test"]["conflicting_accuracy"]
    assert metrics["test"]["leak"] > metrics["test"]["leak_chance"] == pytest.approx(0.1, abs=0.05)
    assert metrics["external"]["n"] == 0 and metrics["external"]["accuracy"] is None


@pytest.mark.slow
def test_a_small_recipe_on_mnist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's small recipe: EnD is above ERM on digits whose colour is not their own."""
    folder = os.environ.get("END_CXR_MNIST")
    if not folder:
        pytest.skip("END_CXR_MNIST names no folder of MNIST")
    recipe = "--films 4000 --rho 0.97 --img-size 14 --epochs 8 -b 128 --lr 4e-3 --logit-scale 10 --sched cosine"
    erm, end = train(capsys, Path(folder), tmp_path, "--paired", *recipe.split())
    assert erm["metrics"]["test"]["aligned_accuracy"] > 0.9
    assert end["metrics"]["test"]["conflicting_accuracy"] > erm["metrics"]["test"]["conflicting_accuracy"]
