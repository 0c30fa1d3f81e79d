"""How fast the films of an archive are scored: against retrieval alone, and against scoring alone from a folder."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from datasets.film.dicomweb_folder import folder_of
from datasets.film.folder import Entry, Folder, FolderError, LocalFolder
from datasets.film.policy import DEFAULT
from datasets.film.radiograph import RadiographError
from training.benchmark.dicom import MODEL, SIZE, untrained
from training.benchmark.timing import in_turn
from training.console.messages import ERRORS
from training.folder.shard import BATCH, FolderJob, ShardScorer, shards_of
from training.parallel.worker_pool import WorkerPool
from training.run.checkpoint import save_checkpoint
from training.run.checkpoint_header import NAME
from training.run.report import machine

KEY = b"key" * 11


@dataclass(frozen=True)
class First:
    """The first entries of a folder; itself a `datasets.film.folder.Folder`."""

    folder: Folder
    films: int

    def entries(self) -> Iterator[Entry]:
        """Of the folder, as many as are wanted."""
        return islice(self.folder.entries(), self.films)

    def read(self, name: str) -> bytes:
        """As the folder's."""
        return self.folder.read(name)


@dataclass(frozen=True)
class Retrieve:
    """Reads an entry and keeps nothing of it."""

    folder: Folder

    def __call__(self, entry: Entry) -> int:
        """Its size in bytes, 0 where it can't be read."""
        try:
            return len(self.folder.read(entry.name))
        except RadiographError:
            return 0


def dicomweb(
    url: str, query: list[str], header_file: Path | None, ca_file: Path | None, films: int, repeats: int, workers: int
) -> None:
    """Print films a second of retrieval, of scoring and of both, medians of `repeats` taken in turn, and their ratio."""
    console = Console()
    archive = First(folder_of(url, query, header_file, ca_file, DEFAULT.modalities, 60.0), films)
    started = time.perf_counter()
    entries = list(archive.entries())
    listing = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as place:  # readable by its owner alone
        run, copies = Path(place) / "run", Path(place) / "films"
        run.mkdir()
        copies.mkdir()
        save_checkpoint(untrained(), run / NAME)
        with ERRORS.status("fetching the films once"):
            size = 0
            for number, entry in enumerate(entries):
                content = archive.read(entry.name)
                (copies / f"{number:07d}.dcm").write_bytes(content)
                size += len(content)
        pool = WorkerPool(Retrieve(archive), workers, ending=(FolderError,))
        with (
            closing(pool),
            scorer_of(LocalFolder(copies), run, workers) as local,
            scorer_of(archive, run, workers) as both,
        ):
            times = in_turn(
                {
                    "retrieval": lambda: list(pool.results(entries)),
                    "scoring": lambda: list(local.tables(shards_of(local.job, local.job.folder.entries()))),
                    "both": lambda: list(both.tables(shards_of(both.job, entries))),
                },
                repeats,
            )
    rates = {name: len(entries) / statistics.median(seconds) for name, seconds in times.items()}
    films_are = f"{len(entries):,} films, {size / len(entries) / 1000:,.0f} kB each"
    console.print(f"{films_are}, {MODEL} at {SIZE} px, {workers} processes; {machine()}")
    headings = ("listing", *rates, "share of the slower", "share of allowed")
    table = Table(*(Column(heading, justify="right") for heading in headings))
    slower = min(rates["retrieval"], rates["scoring"])
    allowed = 1 / (1 / rates["retrieval"] + 1 / rates["scoring"])
    shown = [f"{len(entries) / listing:.1f}", *(f"{rate:.1f}" for rate in rates.values())]
    table.add_row(*shown, *(f"{100 * rates['both'] / limit:.0f} %" for limit in (slower, allowed)))
    console.print(table)
    console.print(
        "Films a second. retrieval: fetched and dropped. scoring: the same films from a folder. both: fetched and scored. "
        "The share of the slower can reach 100 % where fetching is mostly waiting; where archive and scoring need the same "
        "cores, allowed is what they leave: one after the other.",
        highlight=False,
    )


def scorer_of(folder: Folder, run: Path, workers: int) -> ShardScorer:
    """Its processes, after they have scored a first batch."""
    scorer = ShardScorer(FolderJob(folder, (run,), KEY, workers=workers))
    list(scorer.tables(shards_of(scorer.job, islice(folder.entries(), BATCH))))
    return scorer
