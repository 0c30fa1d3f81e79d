"""What goes wrong in the middle of a training: numbers that are none, films that can't be read, signals, a full disk."""

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from datasets.cohort.films import CohortSamples, UnreadableFilmError
from datasets.sample import Sample, Split
from models.classifier import Output
from tests.training_process import codes, start
from training.console.interruption import ECHO, InterruptedTrainingError, Interruption, ignore_signals, stopping_at_once
from training.loop import saver
from training.loop.assembly import Assembly
from training.methods.erm import Erm
from training.run.config import parse
from training.train import main

pytestmark = pytest.mark.trains

SMALL = [
    "--model",
    "test_resnet",
    "--img-size",
    "32",
    "--in-chans",
    "1",
    "-b",
    "16",
    "--epochs",
    "2",
    "--device",
    "cpu",
]
PHANTOM = [*SMALL, "--dataset", "phantom", "--films", "64"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("END_CXR_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main([*flags])
    assert stopped.value.code == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture
def films(place: Path) -> Path:
    """PNG files of two labels from two sources, split beforehand."""
    folder, rng, rows = place / "films", np.random.default_rng(0), []
    folder.mkdir()
    for number in range(120):
        Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(folder / f"{number}.png")
        split = ("train", "train", "validation", "test")[number // 4 % 4]
        rows.append((f"{number}.png", ("covid", "normal")[number % 2], "ab"[number // 2 % 2], f"p{number}", split))
    columns = ["path", "label", "source", "patient_id", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "metadata.csv", index=False)
    return folder


def poison(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The loss is not a number at one step."""
    calls, whole = [0], Erm.forward

    def forward(self: Erm, output: Output, batch: Sample) -> dict[str, Tensor]:
        calls[0] += len(batch.row) > 2  # two are the blank films of the rehearsal
        terms = whole(self, output, batch)
        return {name: value * float("nan") for name, value in terms.items()} if calls[0] == call else terms

    monkeypatch.setattr(Erm, "forward", forward)


@pytest.mark.parametrize("minutes", ["10", "0"])
def test_a_loss_that_is_no_number_names_step_films_and_state(
    minutes: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 6)  # of 4 steps an epoch: the second of epoch 2
    said = refused(capsys, *PHANTOM, "--method", "erm", "--save-minutes", minutes, "--keep", "9")
    assert "ce is not finite at step 2 of epoch 2, on the films of lines " in said
    (folder,) = Path("runs").glob("phantom-*")
    last = {"10": 4, "0": 5}[minutes]
    assert f"the last good state is {folder}/resume-{last:09d}.pt" in said
    for file in folder.glob("resume-*.pt"):  # not one of them is poisoned
        assert all(value.isfinite().all() for value in torch.load(file, weights_only=True)["joint"].values())
    record = json.loads((folder / "diverged.json").read_text())
    assert (record["epoch"], record["step"], record["terms"], len(record["rows"])) == (2, 2, ["ce"], 16)
    config = parse([*PHANTOM, "--method", "erm"])
    from rich.console import Console

    from datasets.cohort.samplers import EpochSampler
    from training.loop.prepare import prepare

    cohort = prepare(config, Console(quiet=True))
    at = cohort.positions(Split.TRAIN)
    target, bias = (cohort.table[name].to_numpy()[at] for name in ("target", "bias"))
    batch = EpochSampler(at, target, bias, 16, 0).batches(1)[1]
    assert record["rows"] == cohort.table["row"].to_numpy()[at[batch]].tolist()


def finite_states(folder: Path) -> list[str]:
    """Names of the states, none of which is poisoned."""
    files = sorted(folder.glob("resume-*.pt"))
    for file in files:
        assert all(value.isfinite().all() for value in torch.load(file, weights_only=True)["joint"].values())
    return [file.name for file in files]


def test_weights_that_are_no_numbers_are_never_saved(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slope of a finite loss may be none; the state before would be deleted for one that can't be gone on from."""
    calls, whole = [0], Assembly.update

    def update(self: Assembly, step: int) -> None:
        calls[0] += 1
        if calls[0] == 6:
            next(p for p in self.joint.parameters() if p.grad is not None).grad.fill_(torch.nan)  # type: ignore[union-attr]
        whole(self, step)

    monkeypatch.setattr(Assembly, "update", update)
    said = refused(capsys, *PHANTOM, "--method", "erm", "--save-minutes", "0")
    (folder,) = Path("runs").glob("phantom-*")
    assert "a weight is not finite at step 2 of epoch 2, on the films of lines " in said
    assert finite_states(folder) == ["resume-000000005.pt"] and f"{folder.name}/resume-000000005.pt" in said


def test_a_film_that_breaks_after_a_loss_that_is_no_number_saves_nothing(
    films: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: Erm, output: Output, batch: Sample) -> dict[str, Tensor]:
        for row in range(120 if len(batch.row) > 2 else 0):  # two are the blank films of the rehearsal
            break_film(films, row)
        return {"ce": output.logits.sum() * float("nan")}

    monkeypatch.setattr(Erm, "forward", forward)
    said = refused(capsys, *SMALL, "--data-dir", str(films), "--cache", "none", "--method", "erm")
    (folder,) = Path("runs").glob("*-s[0-9]*")
    assert "ce is not finite at step 1 of epoch 1" in said and finite_states(folder) == ["resume-000000000.pt"]


def break_film(folder: Path, row: int) -> None:
    (folder / f"{row}.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_film_that_breaks_stops_the_training_which_goes_on_once_it_is_mended(
    workers: str, films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (films / "0.png").read_bytes()
    flags = [*SMALL, "--data-dir", str(films), "--cache", "none", "--workers", workers, "--method", "erm"]
    break_film(films, 0)
    others = multiprocessing.active_children()  # of earlier tests
    said = refused(capsys, *flags)
    assert "error: the film on line 2 of metadata.csv can't be used: it is not a whole PNG" in said or "PNG" in said
    assert "--on-bad-image skip" in said and "Traceback" not in said and "DataLoader" not in said
    left = [child for child in multiprocessing.active_children() if child not in others]
    assert not left, "the program would wait for them for ever"
    (films / "0.png").write_bytes(whole)
    (folder,) = Path("runs").glob("*-s[0-9]*")
    main(["--resume", str(folder)])
    assert json.loads((folder / "report.json").read_text())["stood_in_for"] == []


@pytest.mark.parametrize("workers", ["0", "2"])
def test_others_stand_in_for_films_that_break_and_it_is_said(
    workers: str, films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"train": [0, 1], "validation": [8], "test": [12, 13]}
    for rows in broken.values():
        for row in rows:
            break_film(films, row)
    flags = [*SMALL, "--data-dir", str(films), "--cache", "none", "--workers", workers, "--on-bad-image", "skip"]
    main([*flags, "--method", "erm"])
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("can't be used") == 7 and said.count("stands in for it") == 2
    assert said.count("it is left out of what is measured") == 5
    (folder,) = Path("runs").glob("*-s[0-9]*")
    report = json.loads((folder / "report.json").read_text())
    assert [entry["row"] for entry in report["stood_in_for"]] == [0, 1]
    assert sorted(entry["row"] for entry in report["excluded"]) == [0, 1, 8, 12, 13]
    predictions = pd.read_parquet(folder / "predictions.parquet")
    assert len(predictions) == 115 and not set(predictions["row"]) & {0, 1, 8, 12, 13}
    again = json.loads((folder / "report.json").read_text())["runs"][0]["metrics"]["test"]
    assert again["n"] == (predictions["split"] == "test").sum()


def test_a_film_of_validation_that_breaks_stops_the_training_too(
    films: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (films / "8.png").read_bytes()
    break_film(films, 8)
    said = refused(capsys, *SMALL, "--data-dir", str(films), "--cache", "none", "--method", "erm")
    assert "the film on line 10 of metadata.csv can't be used" in said and "--on-bad-image skip" in said
    (folder,) = Path("runs").glob("*-s[0-9]*")
    assert finite_states(folder) == ["resume-000000004.pt"]
    (films / "8.png").write_bytes(whole)
    main(["--resume", str(folder)])
    assert json.loads((folder / "report.json").read_text())["excluded"] == []


def test_stand_ins_take_over_where_the_training_stopped(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_film(films, 0)
    flags = [*SMALL, "--data-dir", str(films), "--cache", "none", "--method", "erm", "--resume", "auto"]
    refused(capsys, *flags)
    main([*flags, "--on-bad-image", "skip"])
    (folder,) = Path("runs").glob("*-s[0-9]*")
    assert [entry["row"] for entry in json.loads((folder / "report.json").read_text())["stood_in_for"]] == [0]
    assert "on_bad_image: skip" in (folder / "config.yaml").read_text()


def test_a_film_that_can_be_read_again_stays_left_out(
    films: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs are compared on the same films."""
    tries, whole = [0], CohortSamples._decode

    def decode(self: CohortSamples, film: int) -> Tensor:
        if int(self.row[film]) == 8:
            tries[0] += 1
            if tries[0] == 1:
                error = UnreadableFilmError("the disk was away")
                error.position = film
                raise error
        return whole(self, film)

    monkeypatch.setattr(CohortSamples, "_decode", decode)
    flags = [*SMALL, "--data-dir", str(films), "--cache", "none", "--on-bad-image", "skip"]
    main([*flags, "--method", "erm"])
    assert "the disk was away; it is left out of what is measured" in " ".join(capsys.readouterr().err.split())
    (folder,) = Path("runs").glob("*-s[0-9]*")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["validation"]["n"] for line in lines] == [27, 27] and tries == [1]
    assert [row["row"] for row in json.loads((folder / "report.json").read_text())["excluded"]] == [8]


def test_a_worker_that_is_killed_and_memory_that_is_full_are_sentences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Assembly.update

    def kill_worker(self: Assembly, step: int) -> None:
        whole(self, step)
        if step == 2:
            os.kill(self.loader._iterator._workers[0].pid, signal.SIGKILL)  # type: ignore[union-attr]
            time.sleep(0.5)

    def out_of_memory(self: Assembly, step: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    for number, (broken, expected) in enumerate(
        ((kill_worker, "of --workers was killed"), (out_of_memory, "--accumulate 2"))
    ):
        monkeypatch.setattr(Assembly, "update", broken)
        said = refused(capsys, *PHANTOM, "--workers", "2", "--output", f"runs{number}")
        assert expected in said and "/resume-000000000.pt" in said


def test_ctrl_c_during_the_imports_needs_no_traceback(place: Path) -> None:
    job = subprocess.Popen([sys.executable, "-m", "training.train", *PHANTOM], stderr=subprocess.PIPE, text=True)
    while "libtorch" not in Path(f"/proc/{job.pid}/maps").read_text() and job.poll() is None:
        time.sleep(0.005)
    job.send_signal(signal.SIGINT)
    _, said = job.communicate(timeout=60)
    assert "Traceback" not in said and job.returncode in (-signal.SIGINT, 75)


def test_a_stand_in_is_of_the_same_label_and_source_and_always_the_same(films: Path) -> None:
    from datasets.cohort.films import Draw, UnreadableFilmError
    from datasets.covid import load_covid
    from datasets.film.preprocessing import Preprocessing

    break_film(films, 0)
    cohort = load_covid(films, Preprocessing(32)).cached("none")
    (at,) = np.flatnonzero(cohort.table["row"] == 0)
    samples = cohort.samples(seed=3, stand_ins=True)
    found = [samples.__getitems__([Draw(int(at), epoch, 5)]) for epoch in (0, 0, 1, 2, 3)]
    rows = [int(batch.row[0]) for batch in found]
    assert rows[0] == rows[1] and len(set(rows)) > 1 and 0 not in rows
    for batch in found:
        film = cohort.table[cohort.table["row"] == int(batch.row[0])].iloc[0]
        assert (film["label"], film["source"], film["split"]) == ("covid", "a", "train")
        assert (int(batch.target[0]), int(batch.bias[0])) == (film["target"], film["bias"])
    with pytest.raises(UnreadableFilmError):
        cohort.samples(seed=3).__getitems__([Draw(int(at), 0, 5)])
    with pytest.raises(UnreadableFilmError):  # in evaluation nothing stands in
        samples.__getitems__([int(at)])
    for row in cohort.table["row"][cohort.table["source"] == "a"]:
        break_film(films, row)
    with pytest.raises(UnreadableFilmError, match="nor can 20 others of its label and source"):
        samples.__getitems__([Draw(int(at), 0, 5)])


def test_a_second_signal_kills_but_not_an_echo() -> None:
    with pytest.raises(InterruptedTrainingError), stopping_at_once(), Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)  # as torchrun and a scheduler pass it on once more
        assert interruption.asked == "SIGTERM"
        with pytest.raises(InterruptedTrainingError), interruption.raising():
            pytest.fail("it was told before")
        interruption.since -= 2 * ECHO
        previous = signal.getsignal(signal.SIGINT)
        assert previous == interruption._handle
        with pytest.MonkeyPatch.context() as patched:
            sent: list[tuple[int, Any]] = []
            patched.setattr(signal, "raise_signal", lambda number: sent.append((number, signal.getsignal(number))))
            interruption._handle(signal.SIGINT, None)
        assert sent == [(signal.SIGINT, signal.SIG_DFL)]


def test_handlers_are_put_back_and_workers_listen_to_none() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    try:
        ignore_signals(0)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN == signal.getsignal(signal.SIGTERM)
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)


def test_the_whole_process_group_is_signalled_as_by_a_terminal(place: Path) -> None:
    """Ctrl-C reaches the DataLoader's processes too; the state is saved all the same."""
    command = [*PHANTOM, "--epochs", "200", "--workers", "2", "--output", str(place / "out")]
    (job,) = start(command, errors=place / "said", group=True)
    while not list(place.glob("out/*/metrics.jsonl")) and job.is_alive():
        time.sleep(0.05)
    assert job.pid is not None
    os.killpg(job.pid, signal.SIGINT)
    assert codes([job]) == [75]
    said = (place / "said").read_text()
    assert "stopped by SIGINT after" in said and "Traceback" not in said
    assert len(list(place.glob("out/*/resume-*.pt"))) == 1


def _train_on_a_full_disk(arguments: list[str], errors: Path) -> None:
    """The third state is larger than what may be written."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
    saves, whole = [0], saver.save_progress

    def counted(*given: Any) -> Any:
        saves[0] += 1
        if saves[0] == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        return whole(*given)

    saver.save_progress = counted
    main(arguments)


def test_a_file_that_may_not_grow_ends_in_a_sentence_with_the_last_state(place: Path) -> None:
    """As on a full disk."""
    command = [*PHANTOM, "--output", str(place / "out")]
    job = multiprocessing.get_context("forkserver").Process(
        target=_train_on_a_full_disk, args=(command, place / "said")
    )
    job.start()
    assert codes([job]) == [2]
    said = (place / "said").read_text()
    assert "can't be written, is the disk full?" in said and "Traceback" not in said, said
    (folder,) = place.glob("out/phantom-*")
    assert [file.name for file in folder.glob("*.pt")] == ["resume-000000004.pt"]
    main(["--resume", str(folder)])
    assert (folder / "report.json").is_file()
