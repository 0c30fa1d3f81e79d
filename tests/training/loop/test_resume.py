"""Interrupted equals uninterrupted, to the bit, wherever it was cut; and what a state on disk keeps to."""

import dataclasses
import json
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from datasets.cohort.films import Cohort
from tests.planted import Planted
from training.console.interruption import InterruptedTrainingError
from training.loop import fit, measure, obtain, trackers, twin
from training.loop.assembly import Assembly, assemble
from training.loop.prepare import prepare
from training.loop.resume import Progress, load_state, restore, save_progress, tidy
from training.methods import METHODS
from training.recipe.jtt import just_train_twice, second_config
from training.recipe.parent import Parent, read_parent
from training.run.checkpoint import load_checkpoint
from training.run.checkpoint_header import CheckpointError, state_files
from training.run.config import parse
from training.run.existing import find_run
from training.run.probe_file import load_probe_set
from training.run.report import RunResult
from training.train import main

pytestmark = pytest.mark.trains

SMALL = [
    "--dataset", "phantom", "--films", "64", "--model", "test_resnet", "--img-size", "32", "--in-chans", "1", "-b", "16",
    "--epochs", "2", "--select", "loss", "--device", "cpu", "--hash-key", "key",
]  # fmt: skip
# Whatever draws random numbers or keeps a state of its own.
EVERYTHING = ["--model-kwargs", "drop_path_rate=0.3", "--ema", "0.9", "--clip-grad", "1", "--amp", "--opt", "adamw"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """The same for all methods, as --split-seed makes the phantom."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place := tmp_path_factory.mktemp("cohort"))
        (place / "key").write_text(bytes(range(32)).hex())
        return prepare(parse(SMALL), Console(quiet=True))


@pytest.fixture(scope="module")
def whole(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """An undisturbed run, never written to by a test."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place := tmp_path_factory.mktemp("whole"))
        (place / "key").write_text(bytes(range(32)).hex())
        return run(cohort, str(place / "runs"))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output folder of its own, with a key."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text(bytes(range(32)).hex())
    return tmp_path


def run(cohort: Cohort, output: str, *flags: str) -> RunResult:
    config = parse([*SMALL, *flags, "--output", output])
    Path(output).mkdir(exist_ok=True)
    result = obtain.obtain(config, lambda: cohort)
    assert not state_files(result.folder)
    return result


@pytest.fixture
def films_at_hand(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command draws no films of its own, which takes it longer than to train on them."""
    monkeypatch.setattr(twin, "prepare", lambda *_: cohort)


def told_to_stop(monkeypatch: pytest.MonkeyPatch, where: str, call: int, number: int = signal.SIGTERM) -> None:
    """Send this process a signal just before the call-th call of a function of the loop."""
    owners = {
        "update": Assembly,
        "prepare": twin,
        "validate": fit,
        "watch": fit,
        "infer": measure,
        "write_run": measure,
    }
    owner: Any = owners.get(where, obtain)
    whole, calls = getattr(owner, where), [0]

    def signalled(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            signal.raise_signal(number)
        return whole(*arguments, **named)

    monkeypatch.setattr(owner, where, signalled)


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "films_per_second"} for line in found]


def assert_same(whole: RunResult, cut: RunResult) -> None:
    first, second = load_checkpoint(whole.folder), load_checkpoint(cut.folder)
    assert first.weights.keys() == second.weights.keys()
    for name, value in first.weights.items():
        assert torch.equal(value, second.weights[name]), name
    assert first.metrics == second.metrics and first.temperature == second.temperature
    assert lines(whole.folder) == lines(cut.folder)
    watched, again = load_probe_set(whole.folder), load_probe_set(cut.folder)
    assert watched is not None and again is not None and list(watched.features) == list(again.features) == [0, 1, 2]
    assert all((values == again.features[epoch]).all() for epoch, values in watched.features.items())
    reports = [json.loads((one.folder / "report.json").read_text()) for one in (whole, cut)]
    assert reports[0]["selection"] == reports[1]["selection"]


# Nothing of its own, a counter, buffers of films and of groups, a network: outside the gate one method of each kind.
SAMPLE = ("erm", "end", "lff", "group_dro", "lnl")


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.gate) for name in METHODS]
)
def test_every_method_goes_on_from_the_middle_of_an_epoch(
    method: str, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--method", method, *EVERYTHING]
    whole = run(cohort, "whole", *flags)
    with monkeypatch.context() as patched:
        told_to_stop(patched, "update", 3)
        with pytest.raises(InterruptedTrainingError, match="SIGTERM after step 3 of 4 of epoch 1, and saved"):
            run(cohort, "cut", *flags)
    assert_same(whole, run(cohort, "cut", *flags))


@pytest.mark.parametrize(
    ("where", "call"),
    [("update", 1), ("update", 4), ("update", 5), ("update", 8), ("validate", 1), ("validate", 2), ("watch", 2),
     ("infer", 1), ("infer", 6), ("infer", 7), ("finish", 1), ("write_run", 1)],
)  # fmt: skip
def test_every_place_of_a_training(
    where: str, call: int, cohort: Cohort, whole: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        told_to_stop(patched, where, call, signal.SIGINT)
        with pytest.raises(InterruptedTrainingError, match="SIGINT"):
            run(cohort, "cut")
    assert_same(whole, run(cohort, "cut"))


def test_interrupted_at_every_step_in_turn(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = [*EVERYTHING, "--workers", "2", "--keep", "3"]
    whole = run(cohort, "whole", *EVERYTHING)
    for step in range(1, 9):
        with monkeypatch.context() as patched:
            told_to_stop(patched, "update", 1)
            with pytest.raises(InterruptedTrainingError):
                run(cohort, "cut", *flags)
        (folder,) = Path("cut").glob("phantom-*")
        assert state_files(folder)[-1].name == f"resume-{step:09d}.pt" and len(state_files(folder)) == min(step + 1, 3)
    assert_same(whole, run(cohort, "cut", *flags))


@pytest.mark.parametrize("flags", [["--amp", "--amp-dtype", "float16"], ["--accumulate", "2"]], ids=" ".join)
def test_a_loss_scale_and_parts_of_batches_go_on(
    flags: list[str], cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*EVERYTHING, *flags]
    whole = run(cohort, "whole", *flags)
    with monkeypatch.context() as patched:
        told_to_stop(patched, "update", 6)
        with pytest.raises(InterruptedTrainingError):
            run(cohort, "cut", *flags)
    assert_same(whole, run(cohort, "cut", *flags))


def test_a_loss_scale_makes_no_step_wait_for_the_device(cohort: Cohort) -> None:
    optimiser = assemble(parse([*SMALL, "--amp", "--amp-dtype", "float16"]), cohort).optimiser
    assert optimiser._step_supports_amp_scaling  # type: ignore[attr-defined]


def test_saving_changes_nothing(cohort: Cohort, whole: RunResult) -> None:
    assert_same(whole, run(cohort, "often", "--save-minutes", "0"))


def test_what_is_finished_is_not_trained_again(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(cohort, "whole")
    monkeypatch.setattr(obtain, "train", lambda *_: pytest.fail("trained again"))
    again = run(cohort, "whole", "--keep", "4", "--save-minutes", "1")  # neither changes the result
    assert again.folder == whole.folder and again.metrics["test"]["accuracy"] == whole.metrics["test"]["accuracy"]


@pytest.mark.usefixtures("films_at_hand")
def test_the_command_line_takes_auto_a_folder_and_a_state(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SMALL[: SMALL.index("--hash-key")]
    pair = [*small, "--paired"]
    main([*pair, "--output", "whole"])
    for flags, call in (([], 2), (["--resume", "auto"], 1), (["--resume", "auto"], 8)):  # ERM, ERM again, then EnD
        capsys.readouterr()
        with monkeypatch.context() as patched, pytest.raises(SystemExit) as stopped:
            told_to_stop(patched, "update", call)
            main([*pair, *flags, "--output", "cut"])
        way = "the same command resumes it" if flags else "resume it with --resume cut/phantom-"
        assert stopped.value.code == 75 and f"and saved; {way}" in capsys.readouterr().err
    (begun,) = {file.parent for file in Path("cut").glob("*/resume-*.pt")}
    assert "-end-" in begun.name
    with pytest.raises(SystemExit) as refused:
        parse(["--resume", str(begun), "--lr", "1"])
    assert refused.value.code == 2 and "give no other flag" in capsys.readouterr().err
    main([f"--resume={state_files(begun)[-1]}"])
    capsys.readouterr()
    main([*pair, "--resume", "auto", "--output", "cut"])
    result = json.loads(capsys.readouterr().out.rpartition("--result\n")[2])
    assert [entry["method"] for entry in result["runs"]] == ["erm", "end"] and result["difference"]
    for folder in sorted(Path("whole").glob("phantom-*")):
        first, second = load_checkpoint(folder), load_checkpoint(Path("cut") / folder.name)
        assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_an_earlier_state_takes_the_place_of_later_ones(
    cohort: Cohort, whole: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lest what is saved from there on goes, as older than they are."""
    config = parse([*SMALL, "--output", "cut", "--keep", "9"])
    for last, keep, place in ((7, 9, None), (2, 1, "resume-000000004.pt")):
        folder = next(Path("cut").glob("phantom-*"), Path())
        config = dataclasses.replace(config, keep=keep, resume=place and folder / place)
        with monkeypatch.context() as patched, pytest.raises(InterruptedTrainingError):
            told_to_stop(patched, "update", last)
            Path("cut").mkdir(exist_ok=True)
            obtain.train(config, cohort)
    (state,) = state_files(folder)
    assert state.name == "resume-000000006.pt"
    assert_same(whole, run(cohort, "cut"))


def test_what_was_cut_short_is_swept_up(cohort: Cohort) -> None:
    training, folder = begun(cohort)
    save_progress(training, Progress(epoch=1), folder, keep=1)
    for name in (".report.json.abc.aside", ".predictions.parquet.abc.aside", "diverged.json"):
        (folder / name).write_text("half")
    (folder / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n{"ep')
    tidy(folder, training, Progress(epoch=1))
    assert sorted(file.name for file in folder.iterdir()) == ["metrics.jsonl", "resume-000000004.pt"]
    assert (folder / "metrics.jsonl").read_text() == '{"epoch": 1}\n'


def test_states_that_outlived_the_report_go(cohort: Cohort) -> None:
    whole = run(cohort, "whole")
    (whole.folder / "resume-000000008.pt").write_bytes(b"killed before this was deleted")
    assert run(cohort, "whole").folder == whole.folder  # which looks for states


@pytest.mark.usefixtures("films_at_hand")
@pytest.mark.parametrize("where", ["prepare", "assemble", "read_result"])
def test_a_signal_outside_of_the_loop_has_the_same_code(
    where: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*SMALL[: SMALL.index("--hash-key")], "--epochs", "1", "--resume", "auto"]
    if where == "read_result":
        main(flags)
    for number in (signal.SIGTERM, signal.SIGINT):
        with monkeypatch.context() as patched, pytest.raises(SystemExit) as stopped:
            told_to_stop(patched, where, 1, number)
            main(flags)
        said = " ".join(capsys.readouterr().err.split())
        assert stopped.value.code == 75 and f"stopped by {number.name} outside of the training itself" in said


@pytest.mark.usefixtures("films_at_hand")
def test_a_signal_that_comes_when_all_is_measured_is_not_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tracker is told the last numbers and closed, which may take a while; the second run of the pair would begin."""
    flags = [*SMALL[: SMALL.index("--hash-key")], "--paired", "--resume", "auto", "--tracker", "tensorboard"]

    def close(self: trackers.TensorBoard, failed: bool) -> None:
        self.writer.close()
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as stopped:
        patched.setattr(trackers.TensorBoard, "close", close)
        main(flags)
    (folder,) = Path("runs").glob("phantom-*")
    assert stopped.value.code == 75 and "-erm-" in folder.name and state_files(folder)
    assert "stopped by SIGTERM" in capsys.readouterr().err
    main(flags)
    assert [(path / "report.json").is_file() for path in Path("runs").glob("phantom-*")] == [True, True]


def test_a_recipe_goes_on_too(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(cohort, "runs", "--method", "erm")

    def twice(output: str) -> tuple[Parent, RunResult]:
        Path(output).mkdir(exist_ok=True)
        parent = read_parent(first.folder, {"output": Path(output), "hash_key": Path("key")})
        return parent, just_train_twice(parent, cohort, second_config(parent, 3, None), 2)

    _, whole = twice("whole")
    with (
        monkeypatch.context() as patched,
        pytest.raises(InterruptedTrainingError, match="saved; the same command resumes it"),
    ):
        told_to_stop(patched, "update", 6)
        twice("cut")
    cut = twice("cut")[1]
    assert cut.folder.name == whole.folder.name
    for one in (whole, cut):
        obtain.conclude([one])
    assert_same(whole, cut)


def test_folders_that_hold_no_settings_are_passed_over(place: Path) -> None:
    config = parse([*SMALL, "--method", "erm"])
    for number, text in enumerate(("a: [", "", "- 1", "\0")):
        (place / "runs" / f"phantom-erm-test_resnet-s0-{number}").mkdir(parents=True)
        (place / "runs" / f"phantom-erm-test_resnet-s0-{number}" / "config.yaml").write_text(text)
    assert find_run(config) == (None, None)


def begun(cohort: Cohort, **changes: Any) -> tuple[Assembly, Path]:
    config = parse([*SMALL, *(f"--{name.replace('_', '-')}={value}" for name, value in changes.items())])
    folder = Path("begun")
    folder.mkdir(exist_ok=True)
    return assemble(config, cohort), folder


def test_a_state_that_is_no_state_is_passed_over_for_the_one_before(cohort: Cohort) -> None:
    training, folder = begun(cohort)
    save_progress(training, Progress(epoch=1), folder, keep=2)
    for bad in (b"", b"half", state_files(folder)[0].read_bytes()[:1000]):
        (folder / "resume-000000009.pt").write_bytes(bad)
        assert restore(training, folder).epoch == 1
    torch.save([1, 2], folder / "resume-000000009.pt")
    assert load_state(folder)[1].name == "resume-000000004.pt"
    state_files(folder)[0].unlink()
    with pytest.raises(CheckpointError, match="holds no state of a training"):
        restore(training, folder)


def test_a_planted_pickle_is_never_executed(tmp_path: Path) -> None:
    trace, file = tmp_path / "executed", tmp_path / "resume-000000001.pt"
    writes: list[Callable[[], object]] = [
        lambda: file.write_bytes(pickle.dumps(Planted(trace))),
        lambda: torch.save({"version": 2, "joint": Planted(trace)}, file),
    ]
    for write in writes:
        write()
        with pytest.raises(CheckpointError, match="without executing it"):
            load_state(tmp_path)
        assert not trace.exists()


def test_states_of_other_films_settings_and_versions_are_sentences(cohort: Cohort) -> None:
    training, folder = begun(cohort)
    save_progress(training, Progress(), folder, keep=1)
    fewer = cohort.without({int(cohort.positions(cohort.table["split"].iloc[0])[0]): "gone"})
    with pytest.raises(CheckpointError, match="films or their splits have changed"):
        restore(begun(fewer)[0], folder)
    with pytest.raises(CheckpointError, match="does not fit the settings of its run"):
        restore(begun(cohort, model="resnet10t")[0], folder)
    file = state_files(folder)[0]
    torch.save(torch.load(file, weights_only=True) | {"version": 1}, file)
    with pytest.raises(CheckpointError, match="another version"):
        restore(training, folder)
    with pytest.raises(CheckpointError, match="nothing to resume"):
        load_state(Path())
    (folder / "report.json").write_text("{}")
    file.unlink()
    with pytest.raises(CheckpointError, match="its training is finished"):
        load_state(folder)


def test_a_disk_that_fills_up_leaves_the_last_state(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    training, folder = begun(cohort)
    save_progress(training, Progress(epoch=1), folder, keep=1)
    before = state_files(folder)[0].read_bytes()

    def full(state: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(OSError, match="No space left"):
            save_progress(training, Progress(epoch=2), folder, keep=1)
    assert [file.name for file in folder.iterdir()] == ["resume-000000004.pt"]
    assert state_files(folder)[0].read_bytes() == before and restore(training, folder).epoch == 1
