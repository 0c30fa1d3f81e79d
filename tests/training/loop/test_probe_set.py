"""The films that are watched while a run trains: which they are, when they are looked at, what is kept of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from training.loop.probe_set import FILMS, NAME, ProbeSet, is_moment, load_probe_set, probe_positions, save_probe_set
from training.run.checkpoint import load_checkpoint
from training.run.checkpoint_header import CheckpointError
from training.train import main as train

pytestmark = pytest.mark.trains


def test_films_are_held_out_and_every_cell_is_there() -> None:
    split = np.repeat(["train", "test", "external"], [5000, 900, 100])
    table = pd.DataFrame(
        {"split": split, "target": np.arange(6000) % 2, "bias": np.r_[np.zeros(5990, int), np.ones(10, int)]}
    )
    found = probe_positions(table, 0)
    assert len(found) == FILMS and (np.diff(found) > 0).all()
    assert set(table["split"].iloc[found]) == {"test", "external"}
    assert (table["bias"].iloc[found] == 1).sum() == 10, "a rare cell is not drowned"
    assert (probe_positions(table, 0) == found).all() and (probe_positions(table, 1) != found).any()
    assert len(probe_positions(table[:5000], 0)) == 0


@pytest.mark.parametrize("epochs", [1, 2, 6, 8, 80])
def test_moments(epochs: int) -> None:
    moments = [epoch for epoch in range(epochs + 1) if is_moment(epoch, epochs)]
    assert moments[0] == 0 and moments[-1] == epochs
    assert len(moments) == min(epochs, 8) + 1


def test_written_and_read(tmp_path: Path) -> None:
    features = {0: np.ones((3, 2), np.float16), 10: np.zeros((3, 2), np.float16), 2: np.full((3, 2), 2, np.float16)}
    save_probe_set(ProbeSet(np.array([4, 5, 9]), features), tmp_path)
    found = load_probe_set(tmp_path)
    assert found is not None and list(found.features) == [0, 2, 10] and found.rows.tolist() == [4, 5, 9]
    assert (found.features[2] == 2).all()
    assert load_probe_set(tmp_path / "nowhere") is None


def test_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"\x80\x04pickle")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_probe_set(tmp_path)
    save_file({"rows": np.arange(3)}, tmp_path / NAME)
    with pytest.raises(CheckpointError, match="has format None"):
        load_probe_set(tmp_path)
    save_probe_set(ProbeSet(np.arange(3), {0: np.ones((2, 2), np.float16)}), tmp_path)
    with pytest.raises(CheckpointError, match="don't match its films"):
        load_probe_set(tmp_path)


def test_a_run_leaves_one_and_trains_the_same_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["--dataset", "phantom", "--films", "120", "--model", "test_resnet", "--img-size", "32", "--in-chans", "1"]
    train([*small, "--epochs", "2", "--output", str(tmp_path / "a")])
    run = tmp_path / "a" / "phantom-end-test_resnet-s0"
    found = load_probe_set(run)
    assert found is not None and list(found.features) == [0, 1, 2]
    predictions = pd.read_parquet(run / "predictions.parquet").set_index("row")
    assert set(predictions.loc[found.rows, "split"]) == {"test", "external"}
    assert not np.allclose(found.features[0], found.features[2])
    monkeypatch.setattr("training.loop.fit.watch", lambda *_, **__: None)
    train([*small, "--epochs", "2", "--output", str(tmp_path / "b")])
    weights, unwatched = (load_checkpoint(tmp_path / name / run.name).weights for name in ("a", "b"))
    assert all((weights[name] == unwatched[name]).all() for name in weights)
