"""Scoring many films in the background: what a job is asked, how far it is, and what it leaves; free of streamlit.

The work is that of `training.evaluate --dicom-dir`, shard by shard. Torch is imported when a job starts, in its thread.
What a job writes are tables of keyed hashes, in a folder that its owner alone can read and that goes with the job.
"""

import os
import secrets
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from datasets.film.folder import Entry, Folder, FolderError
from datasets.film.identity import KEY_BYTES
from datasets.film.policy import DicomPolicy
from training.run.checkpoint_header import CheckpointError

if TYPE_CHECKING:
    from app.jobs.batch_results import BatchResults
    from training.folder.shard import Shard

Phase = Literal["waiting", "loading", "scoring", "collecting", "ended"]
MOST_FILES = 20_000
TIME_LIMIT = 30.0  # seconds for one file
FEWEST, MOST = 8, 256  # files of a shard: after each the page moves and a job can be stopped


class JobError(ValueError):
    """A job that can't be done; the message is for its visitor."""


@dataclass
class Request:
    """What a visitor wants scored.

    Attributes:
        films: the files.
        runs: run folders by the names that pages give them.
        policy: which films are admitted.
        uploaded: whether the files are uploads.
        notice: a sentence for every row that leaves.
        key: of the hashes; None for one of this job alone, which is kept nowhere.
    """

    films: Folder
    runs: Mapping[str, Path]
    policy: DicomPolicy
    uploaded: bool
    notice: str
    key: bytes | None = None


class BatchJob:
    """One job: `run` works it off in a thread of its own, the page reads the attributes at any time.

    Attributes:
        phase: what it is at.
        total: number of files, once they are listed.
        done: number of files with a result.
        counts: number of files by status, so far.
        cancelled: whether it ended before its time because someone asked for it.
        error: why it ended before its time, in words; else empty.
        results: of the finished part, at the end; None where no part was.
    """

    def __init__(self, request: Request, wanted: Callable[[], bool] = lambda: True) -> None:
        self._request: Request | None = request
        self._wanted = wanted  # false when its visitor has gone
        self._stop = threading.Event()
        self.uploaded, self.own_key = request.uploaded, request.key is None
        self.phase: Phase = "waiting"
        self.total = self.done = 0
        self.counts: dict[str, int] = {}
        self.cancelled = False
        self.error = ""
        self.results: BatchResults | None = None

    @property
    def wanted(self) -> bool:
        """Whether its visitor is still there."""
        return self._wanted()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    @property
    def ended(self) -> bool:
        """Whether nothing more will change."""
        return self.phase == "ended"

    def cancel(self) -> None:
        """Stop before the next shard; what is finished is kept."""
        self._stop.set()

    def run(self) -> None:
        """Work it off; never raises. Folder in memory and files on disk are given up at the end in any case."""
        request, self._request = self._request, None
        try:
            if request is not None and not self._stopping():
                with tempfile.TemporaryDirectory(prefix="end-cxr-") as place:
                    self._work(request, Path(place))
        except Exception as error:  # the texts of most hold paths
            self.error = sentence_of(error)
        finally:
            self.cancelled = self._stop.is_set() and not (self.total and self.done == self.total)
            self.phase = "ended"

    def _stopping(self) -> bool:
        return self._stop.is_set() or not self._wanted()

    def _work(self, request: Request, place: Path) -> None:
        self.phase = "loading"
        entries = _listed(request.films.entries())
        self.total = len(entries)
        import torch

        from app.jobs.batch_results import STATUSES, collect
        from training.folder.shard import FolderJob, ShardScorer, shards_of
        from training.folder.store import ShardStore

        job = FolderJob(
            request.films,
            tuple(request.runs.values()),
            request.key or secrets.token_bytes(KEY_BYTES),
            request.policy,
            workers=min(4, os.cpu_count() or 1),
            time_limit=TIME_LIMIT,
            device="cuda" if torch.cuda.is_available() else "cpu",
            files=max(FEWEST, min(MOST, len(entries) // 40)),
        )
        store, finished = ShardStore(str(place)), list[str]()

        def until_stopped() -> "Iterator[Shard]":
            for shard in shards_of(job, entries):
                if self._stopping():
                    return
                yield shard

        predictors, counted, seen = [], Counter[str](), set[str]()
        try:
            with ShardScorer(job) as scorer:
                predictors = scorer.predictors
                self.phase = "scoring"
                for shard, table in scorer.tables(until_stopped()):
                    store.write(shard, table)
                    finished.append(shard.name)
                    for status, film in zip(table["status"].to_pylist(), table["instance"].to_pylist(), strict=True):
                        copy = status == "scored" and film is not None and film in seen
                        counted["skipped" if copy else status] += 1
                        if status == "scored":
                            seen.add(film)
                    self.counts = {status: counted[status] for status in STATUSES}
                    self.done += len(shard.entries)
                    if self._stopping():
                        break  # files that are being read are left
        except Exception as error:
            self.error = sentence_of(error)
        if finished:
            self.phase = "collecting"
            names = list(request.runs)
            self.results = collect(job, store, finished, predictors, names, request.uploaded, request.notice)


def _listed(found: Iterable[Entry]) -> list[Entry]:
    """All entries; raises JobError for none, and for more than a page is made for."""
    entries: list[Entry] = []
    for entry in found:
        if len(entries) == MOST_FILES:
            raise JobError(
                f"There are more than {MOST_FILES:,} files: choose a sub-folder, or score them from the command line."
            )
        entries.append(entry)
    if not entries:
        raise JobError("There is no file in this folder.")
    return entries


def sentence_of(error: Exception) -> str:
    """What a visitor is told of an error: never its own text, which may hold a path, unless we wrote it for them."""
    if isinstance(error, JobError):
        return str(error)
    if isinstance(error, CheckpointError):
        return "A checkpoint can't be loaded: it was changed or removed. Choose the checkpoints again."
    if isinstance(error, FolderError):
        return "The folder can't be read any more."
    if isinstance(error, MemoryError):
        return "The server ran out of memory: score fewer films at a time."
    if isinstance(error, OSError):
        return (
            f"The server could not keep the results ({os.strerror(error.errno) if error.errno else 'unknown reason'})."
        )
    return f"The job stopped at an error of the program ({type(error).__name__})."
