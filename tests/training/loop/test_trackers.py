"""Trackers: what they are told, that nothing of this machine is in it, and W&B's sweep file."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from training.console.commandline import fields_of, flag_name
from training.loop import trackers
from training.loop.obtain import obtain, train
from training.loop.prepare import prepare
from training.loop.trackers import TRACKERS, TrackerError, numbers_of, require_tracker, tracking
from training.methods import METHODS
from training.run.config import TrainConfig, from_settings, parse
from training.sweeps import __file__ as sweeps
from training.train import main

pytestmark = pytest.mark.trains

SMALL = ["--dataset", "phantom", "--films", "120", "--model", "test_resnet", "--img-size", "32", "--in-chans", "1"]
SWEEP = Path(sweeps).parent / "biased_mnist.yaml"


def scalars(folder: Path) -> dict[str, list[float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def names_machine(content: bytes) -> bool:
    """Whether a field of protobuf or a JSON string is its name; of two letters, that alone can be anywhere by chance."""
    host = socket.gethostname().encode()
    return bytes([len(host)]) + host in content or b'"' + host + b'"' in content


@pytest.fixture(scope="module")
def digits_run(drawn_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs on 300 digits, followed by TensorBoard."""
    output = tmp_path_factory.mktemp("tracked")
    recipe = [
        "--films",
        "300",
        "--img-size",
        "8",
        "--epochs",
        "2",
        "-b",
        "64",
        "--tracker",
        "tensorboard",
        "--rho",
        "0.8",
    ]
    main(["--dataset", "biased-mnist", "--data-dir", str(drawn_digits), "--output", str(output), *recipe])
    return output / "biased-mnist-end-simple_convnet-s0"


def test_a_line_of_metrics_is_flattened_by_hand() -> None:
    record = {
        "epoch": 3, "lr": 0.1, "terms": {"ce": 0.5}, "pairs_per_batch": {"entangling": 7},
        "validation": {"accuracy": 0.75, "auroc": None, "n": 30},
    }  # fmt: skip
    assert numbers_of(record) == {
        "train/lr": 0.1, "train/ce": 0.5, "pairs/entangling": 7.0, "validation/accuracy": 0.75, "validation/n": 30.0,
    }  # fmt: skip
    assert numbers_of({"final": {"test": {"accuracy": 0.5, "leak": float("nan")}}}) == {"final/test/accuracy": 0.5}


def test_tensorboard_reads_back_what_metrics_jsonl_holds(digits_run: Path) -> None:
    told = scalars(digits_run)
    records = [json.loads(line) for line in (digits_run / "metrics.jsonl").read_text().splitlines()]
    assert told["validation/accuracy"] == pytest.approx([record["validation"]["accuracy"] for record in records])
    assert told["train/r_perp"] == pytest.approx([record["terms"]["r_perp"] for record in records])
    assert len(told["pairs/entangling"]) == 2
    (run,) = json.loads((digits_run / "report.json").read_text())["runs"]
    assert told["final/test/leak"] == pytest.approx([run["metrics"]["test"]["leak"]])
    assert "final/external/accuracy" not in told, "undefined numbers are left out"


def test_event_files_name_neither_machine_nor_places(digits_run: Path, drawn_digits: Path) -> None:
    (file,) = (digits_run / "tensorboard").iterdir()
    content = file.read_bytes()
    assert b"simple_convnet" in content, "the settings are told"
    assert socket.gethostname() not in file.name.split(".") and not names_machine(content)
    for secret in (str(drawn_digits), str(digits_run.parent)):
        assert secret.encode() not in content


def test_wandb_offline_needs_no_account_and_names_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    main([*SMALL, "--epochs", "1", "--tracker", "wandb", "--output", str(tmp_path / "cave")])
    assert wandb.run is None, "it was closed"
    folder = tmp_path / "cave" / "phantom-end-test_resnet-s0"
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    content = file.read_bytes()
    for told in (b"validation/accuracy", b"final/test/leak", b"test_resnet", b"phantom-end"):
        assert told in content
    for secret in (str(tmp_path), str(Path(trackers.__file__).parent.parent)):
        assert secret.encode() not in content
    assert not names_machine(content)


def test_a_resumed_run_is_the_same_run_of_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    settings = {"dataset": "phantom", "method": "end"}
    for epoch in (1, 2):
        with tracking("wandb", tmp_path, settings) as track:
            track(epoch, {"terms": {"ce": 0.5}})
    files = sorted(file.name for file in tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert set(files) == {f"run-{(tmp_path / 'wandb' / 'run-id').read_text()}.wandb"}


class Recorder:
    """A tracker that remembers."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.settings, self.log_calls, self.failed = settings, list[int](), None
        RECORDERS.append(self)

    def log(self, epoch: int, numbers: dict[str, float]) -> None:
        self.log_calls.append(epoch)

    def close(self, failed: bool) -> None:
        self.failed = failed


RECORDERS: list[Any] = []


def test_listeners_hear_each_line_once_written_and_may_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRACKERS, "tensorboard", Recorder)
    config = parse([*SMALL, "--epochs", "3", "--tracker", "tensorboard", "--output", str(tmp_path)])
    heard = []

    def listen(epoch: int, record: dict[str, Any]) -> None:
        (file,) = tmp_path.glob("*/metrics.jsonl")
        assert json.loads(file.read_text().splitlines()[-1]) == record and record["epoch"] == epoch
        heard.append(epoch)
        if epoch == 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train(config, prepare(config, Console(quiet=True)), [listen])
    assert heard == [1, 2]
    (recorder,) = RECORDERS
    assert recorder.log_calls == [1, 2] and recorder.failed is True
    assert (
        recorder.settings["alpha"] == 0.1 and "output" not in recorder.settings and "data_dir" not in recorder.settings
    )


def test_a_run_is_found_again_with_whatever_tracker(digits_run: Path) -> None:
    config = from_settings(digits_run / "config.yaml")
    config = TrainConfig(**{**vars(config), "tracker": None})
    run = obtain(config, lambda: pytest.fail("nothing is to be trained"))
    assert run.folder == digits_run


def test_what_is_missing_is_said_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(TrackerError, match=r"the package wandb is not installed; pip install 'end-cxr\[trackers\]'"):
        require_tracker("wandb")
    with pytest.raises(SystemExit):
        main([*SMALL, "--tracker", "wandb", "--output", str(tmp_path / "runs")])
    assert not (tmp_path / "runs").exists()
    require_tracker(None)


def test_an_unknown_tracker_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([*SMALL, "--tracker", "abacus"])
    assert "invalid choice: 'abacus'" in capsys.readouterr().err


def test_the_sweep_file_of_wandb_speaks_our_flags_and_our_metric(digits_run: Path) -> None:
    sweep = yaml.safe_load(SWEEP.read_text())
    assert sweep["command"] == ["${env}", "${interpreter}", "-m", "training.train", "${args}"]
    flags = set(map(flag_name, fields_of(TrainConfig) | fields_of(METHODS["end"].parameters)))
    assert {f"--{name}" for name in sweep["parameters"]} <= flags
    assert sweep["metric"]["name"] in scalars(digits_run)
    # An agent spells its arguments --name=value.
    drawn = {name: entry.get("value", 0.3) for name, entry in sweep["parameters"].items()}
    config = parse([f"--{name}={value}" for name, value in drawn.items()])
    assert (config.dataset, config.rho, config.epochs, config.select) == ("biased-mnist", 0.997, 80, "accuracy")
    assert (config.batch_size, config.opt, config.sched, config.tracker) == (256, "adam", "step", "wandb")
    assert (config.parameters.alpha, config.parameters.beta) == (0.3, 0.3)
    assert {name for name, entry in sweep["parameters"].items() if "min" in entry} == {"alpha", "beta"}
