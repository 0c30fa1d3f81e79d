"""What becomes of thousands of damaged DICOM films: `python -m tests.fuzz_dicom --n 10000 --seed 0`.

Each film goes through the decoding processes of a batch evaluation. Promised, and checked: every file gives one row with a
status and, unless it is scored, a reason and a sentence without a name; none takes longer than the limit, none raises what
the reader doesn't foresee, and no process grows beyond `MEMORY`. A codec that ends its process
is counted, and costs that one row.

And a film that is scored must have the stored values of the film before the damage, or a mark among its facts, or other
tags that decide its greys. What no reader can notice is counted as unseen: the formats have no checksum, so bytes of
a picture that changed and still decode without a warning are another picture. Values that differ although
the bytes of the picture don't would be a fault of the reader.

Memory is VmHWM, the largest resident memory, in which a process counts all it shares with its siblings too. The kernel is
told to count anew before each film; the parent also polls it, for processes that die.
"""

import argparse
import io
import os
import platform
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pydicom

from datasets.film.radiograph import silenced
from tests.damaged_films import BOMB, DAMAGES, DamagedFolder, Outcome, ReadDamaged, resident_peak
from tests.dicom_bombs import bombs
from tests.small_films import SECRET, sound_films
from training.parallel.worker_pool import Lost, WorkerPool

TIME_LIMIT = 5.0
"""Seconds for a film: of its processor always, and of the clock unless `--time-limit` gives a busy machine more."""
MEMORY = 1000.0
"""MB of a process, of which Python and torch take about half before the first film."""

STATUSES = ("scored", "skipped", "failed")
PIXELS = ("equal", "marked", "tags changed", "no original", "unseen", "wrong")
"""See `tests.damaged_films.compared`."""


class Row(NamedTuple):
    """One file: its damage, which film it was, and what became of it."""

    damage: str
    film: str
    result: Outcome | Lost


class Fuzz:
    """One run."""

    def __init__(
        self, n: int, seed: int, workers: int = 2, time_limit: float = TIME_LIMIT, memory: float = MEMORY
    ) -> None:
        self.folder = DamagedFolder(seed, sound_films(), bombs())
        self.n, self.seed, self.time_limit, self.memory = n, seed, time_limit, memory
        self.rows: list[Row] = []
        self.polled = 0.0
        self.start = time.perf_counter()
        with WorkerPool(ReadDamaged(self.folder), workers, time_limit) as pool:
            ended = threading.Event()
            poll = threading.Thread(target=self._poll, args=(pool, ended))
            poll.start()
            for number, result in enumerate(pool.results(range(n))):
                damaged = self.folder.damaged(number)
                self.rows.append(Row(damaged.damage, damaged.film, result))
            ended.set()
            poll.join()
        self.seconds = time.perf_counter() - self.start

    def _poll(self, pool: WorkerPool[int, Outcome], ended: threading.Event) -> None:
        while not ended.wait(0.02):
            self.polled = max(self.polled, *(resident_peak(worker.process.pid or 0) for worker in pool._workers))

    def lost(self, how: str) -> list[tuple[int, Row]]:
        """Numbers and rows of those without an outcome, for this cause."""
        return [(i, row) for i, row in enumerate(self.rows) if isinstance(row.result, Lost) and row.result.how == how]

    @property
    def outcomes(self) -> list[tuple[int, Row, Outcome]]:
        """Numbers, rows and outcomes of those that have one."""
        return [(i, row, row.result) for i, row in enumerate(self.rows) if isinstance(row.result, Outcome)]

    def broken(self) -> Iterator[str]:
        """The promises that weren't kept, each with the number of a film that shows it."""
        if len(self.rows) != self.n:
            yield f"{len(self.rows)} rows for {self.n} files"
        for how in ("timed out", "out of memory", "failed"):
            for number, row in self.lost(how):
                yield f"{how}: {number} ({row.damage} of {row.film}): {row.result}"
        for number, row, outcome in self.outcomes:
            where = f"{number} ({row.damage} of {row.film})"
            if outcome.status not in STATUSES:
                yield f"no status: {where}"
            elif (outcome.status == "scored") == bool(outcome.reason and outcome.message):
                yield f"reason and status don't fit: {where}: {outcome}"
            if any(part in outcome.message.upper() for part in SECRET.split("^")):
                yield f"a name in the message: {where}"
            if outcome.status == "scored" and outcome.pixels not in PIXELS[:-1]:
                yield f"other pixels than those of the film: {where}"
            if outcome.seconds > TIME_LIMIT:
                yield f"{outcome.seconds:.1f} s of CPU: {where}"
            if outcome.peak > self.memory:
                yield f"{outcome.peak:.0f} MB: {where}"
        if self.polled > self.memory:
            yield f"{self.polled:.0f} MB in some process"

    def summary(self) -> Iterator[str]:
        """Lines to print."""
        names = ("pydicom", "python-gdcm", "pyjpegls", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pillow", "numpy")
        yield f"{self.n} damaged films, seed {self.seed}: {len(self.folder.films)} films, {len(self.folder.bombs)} bombs"
        yield ""
        causes = ("crashed", "timed out", "out of memory", "failed")
        titles = [*STATUSES, "crashed", "timed out", "memory", "error"]
        yield f"{'damage':<12}" + "".join(f"{title:>10}" for title in ["files", *titles])
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for row in self.rows:
            key = f"lost {row.result.how}" if isinstance(row.result, Lost) else row.result.status
            counts[row.damage][key] += 1
            counts["all"][key] += 1
        for damage in [*DAMAGES, BOMB, "all"]:
            cells = [counts[damage].total(), *(counts[damage][key] for key in STATUSES)]
            cells += [counts[damage][f"lost {cause}"] for cause in causes]
            yield f"{damage:<12}" + "".join(f"{cell:>10}" for cell in cells)
        yield ""
        yield from self._pixels()
        yield ""
        reasons = Counter(outcome.reason for _, _, outcome in self.outcomes if outcome.reason)
        yield "reasons: " + ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        for (film, damage, signal), count in Counter(
            (row.film, row.damage, row.result.detail) for _, row in self.lost("crashed") if isinstance(row.result, Lost)
        ).most_common():
            yield f"crashed: {count} of {film} ({damage}): {signal}"
        slow, row, outcome = max(self.outcomes, key=lambda found: found[2].seconds)
        yield f"slowest: {outcome.seconds:.2f} s of CPU, {row.film} ({row.damage}, number {slow})"
        yield f"limits: {TIME_LIMIT:g} s of CPU, {self.time_limit:g} s of the clock"
        large, row, outcome = max(self.outcomes, key=lambda found: found[2].peak)
        least = min(outcome.peak for _, _, outcome in self.outcomes)
        yield f"largest: {outcome.peak:.0f} MB, {row.film} ({row.damage}, number {large}); limit {self.memory:.0f} MB"
        yield f"memory of a process before a film: {least:.0f} MB; largest seen from outside: {self.polled:.0f} MB"
        yield f"{self.seconds:.0f} s, {os.cpu_count()} CPU cores ({platform.machine()}), Python {platform.python_version()}"
        yield ", ".join(f"{name} {version(name)}" for name in names)

    def _pixels(self) -> Iterator[str]:
        """What became of the pixels, by the syntax of the film before the damage."""
        films = {**self.folder.films, **self.folder.bombs}
        syntaxes = {name: _syntax(content) for name, content in films.items()}
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for _, row, outcome in self.outcomes:
            for key in (syntaxes[row.film], "all"):
                counts[key]["refused" if outcome.status != "scored" else outcome.pixels] += 1
        titles = ("refused", *PIXELS)
        yield f"{'syntax of the film':<52}" + "".join(f"{title:>14}" for title in ("files", *titles))
        for key in [*sorted(set(counts) - {"all"}), "all"]:
            cells = [counts[key].total(), *(counts[key][title] for title in titles)]
            yield f"{key[:51]:<52}" + "".join(f"{cell:>14}" for cell in cells)
        unseen = [outcome.differing for _, _, outcome in self.outcomes if outcome.pixels == "unseen"]
        if unseen:
            yield f"unseen: half of them in at most {100 * sorted(unseen)[len(unseen) // 2]:.2g} % of the pixels"


def _syntax(film: bytes) -> str:
    """The name of a film's transfer syntax."""
    try:
        with silenced():
            meta = pydicom.dcmread(io.BytesIO(film), force=True, stop_before_pixels=True).file_meta
            return str(meta.TransferSyntaxUID.name)
    except Exception:  # some of pydicom's test files are none
        return "unstated"


def main() -> int:
    """Run, print, and return 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="number of films (default 10000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="decoding processes (default 2)")
    parser.add_argument("--time-limit", type=float, default=TIME_LIMIT, help="seconds of the clock (default 5)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the films there that crashed a process")
    options = parser.parse_args()
    fuzz = Fuzz(options.n, options.seed, options.workers, options.time_limit)
    print("\n".join(fuzz.summary()))
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        for number, _ in fuzz.lost("crashed"):
            (options.keep / f"{number}.dcm").write_bytes(fuzz.folder.damaged(number).content)
    broken = list(fuzz.broken())
    for promise in broken:
        print(f"BROKEN {promise}")
    print("broken promises: " + str(len(broken)))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
