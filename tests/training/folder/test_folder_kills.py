"""Evaluations that are killed at any moment, and go on from there to the same tables."""

import random
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest

from training.evaluate.__main__ import main
from training.parallel import worker_pool

pytestmark = pytest.mark.process

QUICK = ["--resamples", "100", "--permutations", "100", "--workers", "2", "--no-shortcuts"]
TABLES = ("files.parquet", "predictions.parquet", "patients.parquet", "studies.parquet")


def evaluate(arguments: list[object], output: Path, ripe: Callable[[], bool] = lambda: False) -> bool:
    """Evaluate in a process of its own, killed (SIGKILL) once it is `ripe`; returns whether it came to its end."""
    command = [*map(str, arguments), "--output", str(output), *QUICK]
    process = get_context("forkserver").Process(target=_evaluate, args=(command,))
    process.start()
    while process.is_alive():
        if ripe():
            process.kill()
            process.join()
            return process.exitcode == 0
        process.join(0.002)
    assert process.exitcode == 0
    return True


def _evaluate(command: list[str]) -> None:
    """The processes that decode are forked from this one: a server of its own would import all that this one has."""
    worker_pool.get_context = lambda _: get_context("fork")  # type: ignore[attr-defined]
    main(command)


def finished_shards(output: Path) -> set[str]:
    """Names of the shards that are there; each must be whole."""
    files = [file for file in (output / "shards").glob("*.parquet") if not file.name.startswith(".")]
    for file in files:
        pd.read_parquet(file)
    return {file.name for file in files}


def kill(count: int, arguments: list[object], place: Path, say: Callable[[str], object]) -> None:
    """Kill so many evaluations, each going on where the one before it was stopped; compare what the last one made.

    A moment is drawn for each: some time after its start, after some more shards, or while it writes its tables. A new
    folder is begun whenever an evaluation came to its end.
    """
    assert evaluate(arguments, place / "whole")
    whole = {name: pd.read_parquet(place / "whole" / name) for name in TABLES}
    shards = len(finished_shards(place / "whole"))
    say(f"{len(whole['files.parquet'])} files in {shards} shards, undisturbed")

    draw = random.Random(count)
    killed = folders = compared = 0
    done = set[str]()
    while killed < count or done:
        output = place / f"killed {folders}"
        kind = draw.choice(("start", "shards", "shards", "shards", "tables"))
        last = killed >= count or len(done) == shards  # nothing is left that a kill could cost
        ripe = ripe_at(kind, draw, output, len(done), shards) if not last else lambda: False
        if evaluate(arguments, output, ripe):
            for name, table in whole.items():
                pd.testing.assert_frame_equal(pd.read_parquet(output / name), table, check_exact=True)
            assert len(finished_shards(output)) == shards
            compared, folders, done = compared + 1, folders + 1, set()
            say(f"folder {folders} came to its end: {', '.join(TABLES)} equal, row for row")
            continue
        before, done = done, finished_shards(output)
        assert before <= done, "what was finished is kept"
        killed += 1
        say(f"kill {killed:2d} ({kind}): {len(done)} of {shards} shards are finished")
        if killed == count:  # go on to the end, whatever is there
            done = done or {"none"}
    assert compared
    say(f"{killed} kills, {compared} folders compared: nothing lost, nothing doubled")


def ripe_at(kind: str, draw: random.Random, output: Path, done: int, shards: int) -> Callable[[], bool]:
    """Whether the moment to kill has come, of three kinds."""
    start, delay, enough = time.monotonic(), draw.uniform(0, 0.03), min(shards - 1, done + draw.randint(1, 20))
    if kind == "start":
        soon = draw.uniform(0, 2)
        return lambda: time.monotonic() > start + soon

    def reached() -> bool:
        names = [file.name for file in (output / "shards").glob("*")]
        if kind == "shards":
            return sum(not name.startswith(".") for name in names) >= enough
        return any(file.name.startswith((".files.", ".predictions.")) for file in output.glob(".*"))

    def ripe() -> bool:
        if not reached():
            return False
        time.sleep(delay)
        return True

    return ripe


@pytest.fixture
def killed_arguments(film_folder: Path, folder_runs: tuple[Path, Path], folder_key: Path) -> list[object]:
    options = ["--hash-key", folder_key, "--aggregate", "mean", "--shard-files", "6"]
    return [folder_runs[0], "--dicom-dir", film_folder, *options]


@pytest.mark.gate
def test_four_kills_lose_and_double_nothing(killed_arguments: list[object], tmp_path: Path) -> None:
    kill(4, killed_arguments, tmp_path, print)


@pytest.mark.slow
def test_fifty_kills_lose_and_double_nothing(
    killed_arguments: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    say("")
    kill(50, killed_arguments, tmp_path, say)
