"""Every command takes the same seeds, and answers others in a sentence."""

import runpy
import sys
from pathlib import Path

import pytest

from datasets.seed import LARGEST, WORDS

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")

COMMANDS = {
    "training.train": ["--dataset", "phantom", "--seed"],
    "training.train, split": ["--dataset", "phantom", "--split-seed"],
    "training.evaluate": ["RUN", "--seed"],
    "training.crossval": ["--dataset", "phantom", "--seeds", "0"],
    "training.sweep": ["--dataset", "phantom", "--seed"],
    "training.recipe, jtt": ["jtt", "RUN", "--seed"],
    "training.recipe, dfr": ["dfr", "RUN", "--seed"],
    "training.recipe, head": ["head", "--pretrained", "--seed"],
    "training.benchmark, audit": ["audit", "--seed"],
    "training.benchmark, paired": ["paired", "--seeds", "0"],
    "datasets.phantom, sheet": ["--sheet", "OUT.png", "--seed"],
    "datasets.phantom, dicom": ["--dicom", "OUT", "--seed"],
    "datasets.manifest": ["--data-dir", "FILMS", "--output", "OUT.csv", "--split-seed"],
    **{
        f"training.bias.simulation, {name}": [name, "--seed"]
        for name in ("coverage", "leak", "small", "verdict", "speed")
    },
}


@pytest.mark.parametrize("value", [-1, LARGEST + 1, "two"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_seed_out_of_range_is_refused_in_a_sentence(
    command: str, value: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["", *COMMANDS[command], str(value)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(command.partition(",")[0], run_name="__main__")
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert stopped.value.code == 2
    assert "seed" in said and str(value) in said
    assert value == "two" or WORDS in said


def test_a_sweeps_last_seed_is_in_range_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    flags = ["--dataset", "phantom", "--method", "end", "--seed", str(LARGEST), "--seeds", "2"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["", *flags])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("training.sweep", run_name="__main__")
    assert stopped.value.code == 2 and f"--seeds 2 from --seed {LARGEST} on" in capsys.readouterr().err
