"""Scoring many films in the background: request, progress and end of a job; without streamlit.

The work is that of `training.evaluate --dicom-dir`, shard by shard. Torch is imported when a job starts, in its thread.
A job writes tables of keyed hashes alone, into a folder that only its owner can read. The folder stays while files can be
tried again that failed for a reason that may pass, and so do such uploads; at the longest until the job is forgotten.
"""

import itertools
import os
import secrets
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from app.jobs.batch_request import Request
from app.jobs.batch_uploads import Uploads
from datasets.film.folder import Entry, Folder, FolderError
from datasets.film.identity import KEY_BYTES
from training.run.checkpoint_header import CheckpointError

if TYPE_CHECKING:
    import pyarrow as pa

    from app.jobs.batch_results import BatchResults
    from training.folder.shard import FolderJob, Shard
    from training.folder.store import ShardStore
    from training.run.reference import Reference
    from training.scoring.predict import Predictor

Phase = Literal["waiting", "loading", "scoring", "collecting", "ended"]
MOST_FILES = 20_000
TIME_LIMIT = 30.0  # seconds for one file
FEWEST, MOST = 8, 256  # files of a shard: after each the page moves and a job can be stopped


class JobError(ValueError):
    """A job that can't be done; the message is for its visitor."""


@dataclass
class Work:
    """What a job has done so far, and all that is needed to try files again."""

    job: "FolderJob"
    store: "ShardStore"
    request: Request
    references: "list[Reference | None]"  # features of each run's training films
    shards: "list[Shard]" = field(default_factory=list)  # those that are finished


class BatchJob:
    """One job: `run` does it, in a thread of its own; the page reads the attributes at any time."""

    def __init__(self, request: Request, present: Callable[[], bool] = lambda: True) -> None:
        self._request: Request | None = request
        self._stop = threading.Event()
        self.present = present  # false once the visitor has gone, which stops the job
        self.uploaded, self.own_key = request.uploaded, request.key is None
        self.named = request.own_names or request.names is not None
        self.thresholds = dict(request.thresholds)
        self.phase: Phase = "waiting"
        self.total = self.finished = 0  # files, once they are listed, and those with a result
        self.counts: dict[str, int] = {}  # files by status, so far
        self.cancelled = False  # whether it was stopped before all files had a result
        self.error = ""  # why it failed, in words
        self.results: BatchResults | None = None  # of the finished shards, at the end; None where no shard was finished
        self._began = 0.0  # of scoring
        self._place: tempfile.TemporaryDirectory[str] | None = None
        self._work: Work | None = None  # while files can be tried again
        self._scored = set[str]()  # films by the hash of their SOP instance

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    @property
    def ended(self) -> bool:
        """Whether nothing more will change."""
        return self.phase == "ended"

    @property
    def may_pass(self) -> int:
        """Number of files that failed for a reason that may pass, and can be tried again."""
        return 0 if self._work is None else sum(len(rows) for _, rows in _passing(self._work))

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the files that have a result; None before there are some."""
        if self.phase != "scoring" or not self.finished:
            return None
        return (time.monotonic() - self._began) / self.finished * (self.total - self.finished)

    def cancel(self) -> None:
        """Stop before the next shard; what is finished is kept, but nothing can be tried again."""
        self._stop.set()
        if self.ended:
            self._close()

    def again(self) -> None:
        """Make the next `run` of an ended job try those files once more that failed for a reason that may pass."""
        self.phase, self.error = "waiting", ""

    def run(self) -> None:
        """Do it; never raises. Uploads in memory and files on disk are dropped at the end, but for what `again` needs."""
        request, self._request = self._request, None
        try:
            if request is not None and not self._stopping():
                self._place = tempfile.TemporaryDirectory(prefix="end-cxr-")
                self._score(request, Path(self._place.name))
            elif self._work is not None and not self._stopping():
                self._try_again(self._work)
        except Exception as error:  # the texts of most hold paths
            self.error = sentence_of(error)
        finally:
            self.cancelled = self._stop.is_set() and not (self.total and self.finished == self.total)
            self.phase = "ended"
            if self.stopping or not self.may_pass:
                self._close()

    def _close(self) -> None:
        place, self._place, self._work = self._place, None, None
        if place is not None:
            place.cleanup()

    def _stopping(self) -> bool:
        return self.stopping or not self.present()

    def _score(self, request: Request, place: Path) -> None:
        self.phase = "loading"
        entries = _listed(request.films)
        self.total = len(entries)
        if request.own_names:
            request = replace(request, names=[entry.name for entry in entries])
        import torch

        from training.folder.shard import FolderJob, ShardScorer, shards_of
        from training.folder.store import ShardStore

        references = [_reference(name, run) for name, run in request.runs.items()]
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
        work = Work(job, ShardStore(str(place)), request, references)
        predictors = []
        try:
            until_stopped = itertools.takewhile(lambda _: not self._stopping(), shards_of(job, entries))
            with ShardScorer(job) as scorer:
                predictors = scorer.predictors
                self.phase, self._began = "scoring", time.monotonic()
                for shard, table in scorer.tables(until_stopped):
                    work.store.write(shard, table)
                    work.shards.append(shard)
                    self._count(table)
                    self.finished += len(shard.entries)
                    if self._stopping():
                        break  # without waiting for the files that are being read
        except Exception as error:
            self.error = sentence_of(error)
        self._collect(work, predictors)

    def _try_again(self, work: Work) -> None:
        """Score files once more, and put what becomes of them in the place of their failures."""
        import pyarrow as pa

        from training.folder.shard import Shard, ShardScorer

        self.phase = "loading"
        failures = _passing(work)
        shards = [Shard(shard.name, [shard.entries[row] for row in rows]) for shard, rows in failures]
        predictors = []
        try:
            with ShardScorer(work.job) as scorer:
                predictors = scorer.predictors
                self.phase, self._began = "scoring", time.monotonic()
                self.total, self.finished = sum(len(rows) for _, rows in failures), 0
                until_stopped = itertools.takewhile(lambda _: not self._stopping(), shards)
                for (shard, rows), (_, table) in zip(failures, scorer.tables(until_stopped), strict=False):
                    order = list(range(len(shard.entries)))
                    for number, row in enumerate(rows):
                        order[row] = len(order) + number
                    both = pa.concat_tables([work.store.read(shard.name), table])
                    work.store.write(shard, both.take(pa.array(order)))
                    self.finished += len(rows)
        except Exception as error:
            self.error = sentence_of(error)
        self.total = self.finished = sum(len(shard.entries) for shard in work.shards)
        self.counts, self._scored = {}, set()
        for shard in work.shards:
            self._count(work.store.read(shard.name, ["status", "instance"]))
        if predictors:
            self._collect(work, predictors)

    def _count(self, table: "pa.Table") -> None:
        """Add the files of a finished shard by status; a second copy of a scored film is skipped."""
        from app.jobs.batch_results import STATUSES

        counts = Counter(self.counts)
        for status, film in zip(table["status"].to_pylist(), table["instance"].to_pylist(), strict=True):
            copy = status == "scored" and film is not None and film in self._scored
            counts["skipped" if copy else status] += 1
            if status == "scored":
                self._scored.add(film)
        self.counts = {status: counts[status] for status in STATUSES}

    def _collect(self, work: Work, predictors: "Sequence[Predictor]") -> None:
        """Make the results, and keep what trying again needs."""
        from app.jobs.batch_results import collect

        if not work.shards:
            return
        self.phase = "collecting"
        shards = [shard.name for shard in work.shards]
        self.results = collect(work.job, work.store, shards, predictors, work.references, work.request)
        passing = {shard.name: rows for shard, rows in _passing(work)}
        if passing and isinstance(work.request.films, Uploads):
            # Names of uploads carry their contents: those of all others are let go.
            for number, shard in enumerate(work.shards):
                rows = passing.get(shard.name, [])
                entries = [e if row in rows else e._replace(name=str(e.name)) for row, e in enumerate(shard.entries)]
                work.shards[number] = shard._replace(entries=entries)
            work.request = replace(work.request, films=Uploads())
            work.job = replace(work.job, folder=Uploads())
        self._work = work if passing else None


def _reference(name: str, run: Path) -> "Reference | None":
    """Features of a run's training films; raises JobError for a damaged file, before any film is scored."""
    from training.run.reference import NAME, load_reference

    try:
        return load_reference(run)
    except CheckpointError:
        raise JobError(f"{NAME} of {name} is damaged, or of another run: copy it again, or remove it.") from None


def _passing(work: Work) -> "list[tuple[Shard, list[int]]]":
    """Shards with files that failed for a reason that may pass, and which files these are."""
    from training.folder.store import PASSING

    found = []
    for shard in work.shards:
        table = work.store.read(shard.name, ["status", "reason"])
        both = zip(table["status"].to_pylist(), table["reason"].to_pylist(), strict=True)
        rows = [row for row, (status, reason) in enumerate(both) if status == "failed" and reason in PASSING]
        if rows:
            found.append((shard, rows))
    return found


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
