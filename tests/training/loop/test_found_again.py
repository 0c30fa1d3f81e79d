"""A finished run is found again by its settings and its films."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.datasets.test_covid import good
from tests.datasets.test_covid import write as write_table
from training.loop.obtain import obtain
from training.loop.prepare import prepare
from training.run.config import parse

SMALL = ["--model", "test_resnet", "--img-size", "32", "--in-chans", "1", "--epochs", "1", "--method", "erm"]


def write(folder: Path, label: str) -> None:
    """A cohort whose last film has this label."""
    records = good()
    records[-1]["label"] = label
    write_table(folder, records)
    rng = np.random.default_rng(0)
    for record in records:
        Image.fromarray(rng.integers(0, 256, (40, 40), np.uint8)).save(folder / record["path"])


@pytest.mark.trains
def test_a_run_on_films_whose_labels_changed_since_is_not_the_same(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    config = parse([*SMALL, "--data-dir", str(films), "--output", str(tmp_path / "runs")])

    def run() -> Path:
        return obtain(config, lambda: prepare(config, Console(quiet=True))).folder

    write(films, "normal")
    first = run()
    assert run() == first
    write(films, "covid")
    second = run()
    assert second.name == f"{first.name}-2" and run() == second
    write(films, "normal")
    assert run() == first
