"""How long a training of 100,000 films takes to its first step, and that its memory is that of the table, not of pixels."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from training.console.interruption import EXIT_SAVED
from training.run.report import machine

FILMS, SIDE, PICTURES = 100_000, 128, 200
COLUMNS = ("path", "label", "source", "patient_id", "view", "sex", "age", "licence", "finding")
LABELS = ("covid", "pneumonia", "normal", "other")
PATIENCE = 600  # s


class Start(NamedTuple):
    """What the beginning of a training took: seconds to its first finished step, peak of resident memory in bytes."""

    seconds: float
    memory: int


def write_cohort(root: Path, films: int) -> None:
    """Films of five hospitals, three a patient, in folders of a thousand; names of a few pictures, as noise has no use."""
    rng, rows = np.random.default_rng(0), []
    for number in range(films):
        file = root / f"images/{number // 1000:03d}/{number:06d}.png"
        if number % 1000 == 0:
            file.parent.mkdir(parents=True)
        if number < PICTURES:
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(file)
        else:
            os.link(root / f"images/000/{number % PICTURES:06d}.png", file)
        facts = ("PA", "MF"[number % 2], 20 + number % 70, "CC BY 4.0", "as reported")
        where, label = f"hospital {number // 12 % 5}", LABELS[number % 4]
        rows.append((file.relative_to(root), label, where, f"p{number // 3:06d}", *facts))
    with (root / "metadata.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows([COLUMNS, *rows])


def start_training(data: Path, output: Path) -> Start:
    """Train until the first step is saved, then stop it."""
    command = ["-m", "training.train", "--dataset", "covid", "--data-dir", data, "--output", output, "--cache", "none"]
    command += ["--model", "test_resnet", "--img-size", SIDE, "-b", 32, "--epochs", 1, "--device", "cpu"]
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, *map(str, command), "--save-minutes", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as run:
        while not any(int(file.stem.split("-")[1]) for file in output.glob("*/resume-*.pt")):
            if run.poll() is not None or time.monotonic() > began + PATIENCE:
                run.kill()
                pytest.fail(run.communicate()[1].decode())
            time.sleep(0.02)
        seconds = time.monotonic() - began
        time.sleep(1)  # some steps more
        status = Path(f"/proc/{run.pid}/status").read_text()
        run.send_signal(signal.SIGINT)
        assert "saved" in run.communicate()[1].decode()
    assert run.returncode == EXIT_SAVED
    return Start(seconds, next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak of a process")
def test_a_cohort_of_100_000_films_takes_the_memory_of_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks = []
    with capsys.disabled():
        print(f"\n{machine()}, shared with other work; test_resnet, batches of 32, --cache none")
    for films in (1000, FILMS):
        data = tmp_path / f"{films} films"
        write_cohort(data, films)
        seconds, peak = start_training(data, tmp_path / f"runs {films}")
        peaks.append(peak)
        with capsys.disabled():
            print(
                f"{films:7,} films of {SIDE} x {SIDE}, {4 * films * SIDE**2 / 1e6:4.0f} MB once decoded: first step "
                f"finished {seconds:.0f} s after the command, peak memory {peak / 1e6:.0f} MB"
            )
    table = (data / "metadata.csv").stat().st_size
    with capsys.disabled():
        print(f"metadata.csv of {FILMS:,} films: {table / 1e6:.1f} MB")
    assert peaks[1] - peaks[0] < 40 * table < 0.1 * 4 * FILMS * SIDE**2
