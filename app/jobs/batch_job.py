"""Scoring many films in the background: request, progress and end of a job; without streamlit.

The work is that of `training.evaluate --dicom-dir`, shard by shard. Torch is imported when a job starts, in its thread.
A job writes tables of keyed hashes alone, into a folder that only its owner can read and that is removed with the job.
"""

import itertools
import os
import secrets
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from datasets.film.folder import Entry, Folder, FolderError
from datasets.film.identity import KEY_BYTES
from datasets.film.policy import DicomPolicy
from training.run.checkpoint_header import CheckpointError

if TYPE_CHECKING:
    from app.jobs.batch_results import BatchResults

Phase = Literal["waiting", "loading", "scoring", "collecting", "ended"]
MOST_FILES = 20_000
TIME_LIMIT = 30.0  # seconds for one file
FEWEST, MOST = 8, 256  # files of a shard: after each the page moves and a job can be stopped


class JobError(ValueError):
    """A job that can't be done; the message is for its visitor."""


@dataclass
class Request:
    """What a visitor wants scored."""

    films: Folder
    runs: Mapping[str, Path]  # run folders by the names that pages give them
    policy: DicomPolicy
    uploaded: bool
    notice: str  # a sentence for every row that leaves
    key: bytes | None = None  # of the hashes; None for one of this job alone, which is not kept


class BatchJob:
    """One job: `run` does it, in a thread of its own; the page reads the attributes at any time."""

    def __init__(self, request: Request, present: Callable[[], bool] = lambda: True) -> None:
        self._request: Request | None = request
        self._stop = threading.Event()
        self.present = present  # false once the visitor has gone, which stops the job
        self.uploaded, self.own_key = request.uploaded, request.key is None
        self.phase: Phase = "waiting"
        self.total = self.finished = 0  # files, once they are listed, and those with a result
        self.counts: dict[str, int] = {}  # files by status, so far
        self.cancelled = False  # whether it was stopped before all files had a result
        self.error = ""  # why it failed, in words
        self.results: BatchResults | None = None  # of the finished shards, at the end; None where no shard was finished

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
        """Do it; never raises. Uploads in memory and files on disk are dropped at the end in any case."""
        request, self._request = self._request, None
        try:
            if request is not None and not self._stopping():
                with tempfile.TemporaryDirectory(prefix="end-cxr-") as place:
                    self._work(request, Path(place))
        except Exception as error:  # the texts of most hold paths
            self.error = sentence_of(error)
        finally:
            self.cancelled = self._stop.is_set() and not (self.total and self.finished == self.total)
            self.phase = "ended"

    def _stopping(self) -> bool:
        return self.stopping or not self.present()

    def _work(self, request: Request, place: Path) -> None:
        self.phase = "loading"
        entries = _listed(request.films)
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
        store, shards = ShardStore(str(place)), list[str]()
        predictors, counts, scored = [], Counter[str](), set[str]()
        try:
            until_stopped = itertools.takewhile(lambda _: not self._stopping(), shards_of(job, entries))
            with ShardScorer(job) as scorer:
                predictors = scorer.predictors
                self.phase = "scoring"
                for shard, table in scorer.tables(until_stopped):
                    store.write(shard, table)
                    shards.append(shard.name)
                    for status, film in zip(table["status"].to_pylist(), table["instance"].to_pylist(), strict=True):
                        copy = status == "scored" and film is not None and film in scored
                        counts["skipped" if copy else status] += 1
                        if status == "scored":
                            scored.add(film)
                    self.counts = {status: counts[status] for status in STATUSES}
                    self.finished += len(shard.entries)
                    if self._stopping():
                        break  # without waiting for the files that are being read
        except Exception as error:
            self.error = sentence_of(error)
        if shards:
            self.phase = "collecting"
            names = list(request.runs)
            self.results = collect(job, store, shards, predictors, names, request.uploaded, request.notice)


def _listed(folder: Folder) -> list[Entry]:
    """All files of a folder; raises JobError for none, and for more than a page is made for."""
    entries = list(itertools.islice(folder.entries(), MOST_FILES + 1))
    if len(entries) > MOST_FILES:
        raise JobError(
            f"There are more than {MOST_FILES:,} files: choose a sub-folder, or score them from the command line."
        )
    if not entries:
        raise JobError("There is no file in this folder.")
    return entries


def sentence_of(error: Exception) -> str:
    """An error in words for a visitor: never its own text, which may hold a path, unless it was written for visitors."""
    if isinstance(error, JobError):
        return str(error)
    if isinstance(error, CheckpointError):
        return "A checkpoint can't be loaded: it was changed or removed. Choose the checkpoints again."
    if isinstance(error, FolderError):
        return "The folder can't be read any more."
    if isinstance(error, MemoryError):
        return "The server ran out of memory: score fewer films at a time."
    if isinstance(error, OSError):
        why = os.strerror(error.errno) if error.errno else "unknown reason"
        return f"The server could not keep the results ({why})."
    return f"The job stopped at an error of the program ({type(error).__name__})."
