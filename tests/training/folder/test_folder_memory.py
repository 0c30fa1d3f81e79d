"""How much memory the evaluation of a large folder takes, summed over all its processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from datasets.phantom.folder import SCANNERS, film_dataset
from training.run.report import machine

pytestmark = pytest.mark.process

FILES = 20_000
LIMIT = 1500  # MB


def fill(folder: Path, files: int) -> None:
    """One film of 32 pixels under many SOP instance UIDs, a patient for every two, in folders of a thousand."""
    film = film_dataset(1, 90_000, "covid", "north", 32, SCANNERS["north"][0])
    film.PatientID, film.StudyInstanceUID, film.SOPInstanceUID = "P00000000", "1.2.3.900000000", "1.2.3.800000000"
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
    film.save_as(folder / "film", enforce_file_format=True)
    data = (folder / "film").read_bytes()
    (folder / "film").unlink()
    for number in range(files):
        place = folder / f"{number // 1000:03d}"
        place.mkdir(exist_ok=True)
        new = data.replace(b"1.2.3.800000000", b"1.2.3.8%08d" % number)
        new = new.replace(b"1.2.3.900000000", b"1.2.3.9%08d" % (number // 2))
        new = new.replace(b"P00000000", b"P%08d" % (number // 2))
        (place / f"{number:05d}.dcm").write_bytes(new)


def tree_of(root: int) -> list[int]:
    """The process and all below it."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def megabytes(process: int) -> float:
    """Proportional set size: what processes share is counted once."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1000 for line in text.splitlines() if line.startswith("Pss:")), 0)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells how much memory is shared")
def test_twenty_thousand_files_take_less_than_1500_megabytes(
    folder_runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    fill(films, FILES)
    command = ["-m", "training.evaluate", folder_runs[0], "--dicom-dir", films, "--output", out, "--workers", "2"]
    command += ["--resamples", "100", "--permutations", "100"]
    start, peak, processes, samples = time.monotonic(), 0.0, 0, []
    with subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        while run.poll() is None:
            tree = tree_of(run.pid)
            taken = sum(map(megabytes, tree))
            samples.append((time.monotonic() - start, taken))
            peak, processes = max(peak, taken), max(processes, len(tree))
            time.sleep(0.5)
        printed = run.stdout.read().decode() if run.stdout else ""
    seconds = time.monotonic() - start
    with capsys.disabled():
        print(f"\n{machine()}, {os.cpu_count()} cores shared with other work")
        print(f"{FILES:,} files of 32 x 32 pixels, 2 decoding processes, test_resnet: {seconds:.0f} s")
        for share in (0.25, 0.5, 0.75):
            print(f"after {share:.0%} of the time: {samples[int(share * len(samples))][1]:.0f} MB")
        print(f"peak of the sum over at most {processes} processes (PSS): {peak:.0f} MB")
    assert run.returncode == 0 and f"{FILES:,} files" in printed
    assert len(pd.read_parquet(out / "predictions.parquet", columns=["file"])) == FILES
    assert peak < LIMIT
