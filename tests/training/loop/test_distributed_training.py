"""One training over two processes: the weights of one process, and what becomes of it when it is stopped or one dies."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from PIL import Image
from rich.console import Console

from datasets.cohort.samplers import EpochSampler
from tests.training_process import Disturbance, codes, start
from training.loop import prepare as prepare_films
from training.loop.assembly import assemble
from training.loop.resume import Progress, save_progress
from training.parallel.device import TrainingError
from training.run.checkpoint import load_checkpoint
from training.run.checkpoint_header import state_files
from training.run.config import parse

pytestmark = pytest.mark.process

# GroupNorm in place of batch norm, nothing random in the network.
SMALL = [
    "--dataset", "phantom", "--films", "64", "--model", "test_efficientnet_gn", "--img-size", "32", "--in-chans", "1",
    "-b", "16", "--epochs", "2", "--opt", "sgd", "--lr", "0.05", "--device", "cpu",
]  # fmt: skip
MOST = 1e-6  # relative difference of weights


def folder_of(output: Path) -> Path:
    (folder,) = (path for path in output.iterdir() if path.is_dir() and not path.name.startswith("."))
    return folder


def trained(output: Path, *flags: str, ranks: int = 1, double: bool = False) -> Path:
    assert codes(start([*SMALL, *flags, "--output", str(output)], ranks, double=double)) == [0] * ranks
    return folder_of(output)


def worst_difference(first: Path, second: Path) -> float:
    one, other = (load_checkpoint(folder).weights for folder in (first, second))
    pairs = [(value.double(), other[name].double()) for name, value in one.items()]
    return max(float((first - second).norm() / first.norm().clamp(min=1e-12)) for first, second in pairs)


def defined(numbers: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if value is not None}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process with whole batches, in float64."""
    return trained(tmp_path_factory.mktemp("whole"), double=True)


@pytest.mark.parametrize("flags", [[], ["--accumulate", "2"], ["--sampler", "balanced"]], ids=" ".join)
def test_two_processes_end_in_the_weights_of_one(flags: list[str], tmp_path: Path, whole: Path) -> None:
    sampled = "--sampler" in flags
    one = trained(tmp_path / "one", *flags, double=True) if sampled else whole
    two = trained(tmp_path / "two", *flags, ranks=2, double=True)
    assert worst_difference(one, two) < MOST
    lines = [[json.loads(line) for line in (folder / "metrics.jsonl").open()] for folder in (one, two)]
    for first, second in zip(*lines, strict=True):
        assert second["terms"] == pytest.approx(first["terms"], rel=1e-6)
        assert second["pairs_per_batch"] == first["pairs_per_batch"]
        assert defined(second["validation"]) == pytest.approx(defined(first["validation"]), rel=1e-6)
    tables = [
        pd.read_parquet(folder / "predictions.parquet").drop(columns=["file", "patient"]) for folder in (one, two)
    ]
    pd.testing.assert_frame_equal(*tables, rtol=1e-5)


def test_parts_of_a_batch_end_in_the_weights_of_whole_ones(tmp_path: Path, whole: Path) -> None:
    assert worst_difference(whole, trained(tmp_path, "--accumulate", "4", double=True)) < MOST


def test_stopped_processes_go_on_to_the_same_weights(tmp_path: Path) -> None:
    # With batch norm and dropped paths: not the numbers of one process, but always the same.
    flags = ["--model", "test_resnet", "--model-kwargs", "drop_path_rate=0.3", "--epochs", "4"]
    undisturbed = trained(tmp_path / "undisturbed", *flags, ranks=2)
    output = tmp_path / "stopped"
    command = [*SMALL, *flags, "--output", str(output)]
    told = Disturbance(6, signal.SIGTERM, rank=1)  # one is told, both stop
    assert codes(start(command, 2, told)) == [75, 75]
    assert state_files(folder_of(output))
    died = Disturbance(7, signal.SIGKILL, rank=1)
    found = codes(start([*command, "--resume", "auto"], 2, died, errors=tmp_path / "said"))
    assert (
        found == [2, -signal.SIGKILL]
        and "another process of this training has ended" in (tmp_path / "said").read_text()
    )
    stopped = trained(output, *flags, "--resume", "auto", ranks=2)
    assert worst_difference(undisturbed, stopped) == 0


@pytest.mark.slow
def test_torchrun_passes_a_signal_on_and_a_dead_rank_ends_the_job(tmp_path: Path) -> None:
    flags = [*SMALL, "--epochs", "300", "--save-minutes", "0", "--output", str(tmp_path), "--resume", "auto"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "training.train", *flags]
    for number in (signal.SIGTERM, signal.SIGKILL):
        known = {file.name for file in tmp_path.glob("*/resume-*.pt")}
        with (tmp_path / "log").open("w") as log:
            job = subprocess.Popen(command, stderr=log, stdout=log)
            deadline = time.monotonic() + 90
            while {file.name for file in tmp_path.glob("*/resume-*.pt")} <= known:
                assert job.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.05)
            if number == signal.SIGTERM:
                job.send_signal(number)
            else:
                ranks = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True).stdout.split()
                assert len(ranks) == 2
                subprocess.run(["kill", "-KILL", ranks[1]], check=True)
            assert job.wait(90) != 0
        said = (tmp_path / "log").read_text()
        assert "and saved; the same command goes on" in said or number == signal.SIGKILL
        (file,) = tmp_path.glob("*/resume-*.pt")
        assert torch.load(file, weights_only=True)["epoch"] < 300


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """PNG files, of which the one that the second process needs last in the first step is broken."""
    folder, rng, rows = tmp_path / "films", np.random.default_rng(0), []
    folder.mkdir()
    for number in range(64):
        Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(folder / f"{number}.png")
        split = ("train", "train", "validation", "test")[number // 4 % 4]
        rows.append((f"{number}.png", ("covid", "normal")[number % 2], "ab"[number // 2 % 2], f"p{number}", split))
    columns = ["path", "label", "source", "patient_id", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "metadata.csv", index=False)
    at = np.array([number for number in range(64) if number // 4 % 4 < 2])
    broken = at[EpochSampler(at, at % 2, at // 2 % 2, 16, 0).batches(0)[0][-1]]
    (folder / f"{broken}.png").write_bytes(b"no PNG")
    return folder


def test_a_film_that_the_second_process_can_not_read_is_told(films: Path, tmp_path: Path) -> None:
    flags = [*SMALL[2:], "--data-dir", str(films), "--cache", "none", "--method", "erm", "--resume", "auto"]
    flags = [flag for flag in flags if flag not in ("--films", "64")] + ["--output", str(tmp_path / "runs")]
    assert codes(start(flags, 2, errors=tmp_path / "said")) == [2, 2]
    assert "of metadata.csv can't be used" in (tmp_path / "said").read_text()
    assert codes(start([*flags, "--on-bad-image", "skip"], 2, errors=tmp_path / "said")) == [0, 0]
    report = json.loads((folder_of(tmp_path / "runs") / "report.json").read_text())
    assert len(report["stood_in_for"]) == 1


def _save_slowly(rank: int, folder: str) -> None:
    """The first process takes its time to save; then the two have other films."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    config = parse([*SMALL, "--output", folder])
    training = assemble(config, prepare_films.prepare(config, Console(quiet=True)))
    whole = torch.save
    torch.save = lambda *arguments: (time.sleep(2), whole(*arguments))  # type: ignore[assignment]
    progress = Progress(stand_ins={5: "it is torn"} if rank else {})
    save_progress(training, progress, Path(folder), keep=1)
    assert len(state_files(Path(folder))) == 1 and list(progress.stand_ins) == [5]
    prepare_films.digest = lambda cohort: f"those of {rank}"
    with pytest.raises(TrainingError, match="the processes read other films than the first"):
        prepare_films.prepare(config, Console(quiet=True))
    dist.destroy_process_group()


def test_no_process_leaves_before_the_state_is_saved_or_trains_on_films_of_its_own(tmp_path: Path) -> None:
    """torchrun ends the others, the one that writes among them, when one has ended."""
    mp.start_processes(_save_slowly, (str(tmp_path),), nprocs=2, start_method="forkserver")


def test_a_batch_that_can_not_be_shared_out_is_a_sentence() -> None:
    positions, label = np.arange(40), np.arange(40) % 2
    with pytest.raises(ValueError, match="over 2 processes in 3 parts each: take a multiple of 6"):
        EpochSampler(positions, label, label, 16, 0, ranks=2, parts=3)
    with pytest.raises(ValueError, match="40 training films are fewer than 50 processes"):
        EpochSampler(positions, label, label, 100, 0, ranks=50)
    shares = [EpochSampler(positions, label, label, 99, 0, rank=rank, ranks=3) for rank in range(3)]
    assert [len(next(iter(share))) for share in shares] == [13, 13, 13]
    whole = EpochSampler(positions, label, label, 39, 0)
    assert [draw for share in shares for draw in next(iter(share))] == next(iter(whole))


def test_sync_bn_needs_several_cuda_devices() -> None:
    config = parse([*SMALL, "--sync-bn"])
    with pytest.raises(TrainingError, match="--sync-bn: torch has it for several processes on CUDA"):
        assemble(config, None)  # type: ignore[arg-type]
