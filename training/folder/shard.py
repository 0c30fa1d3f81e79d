"""The unit of work of a batch evaluation: some hundred files, read and scored by every checkpoint, as one table.

A shard's name is a hash of the files (name, size, time of change) and of all that decides their scores. So a killed run
finds its finished shards, and a changed file or another checkpoint gives a new shard; no other state is kept.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from datasets.film.folder import Entry, Folder, FolderError
from datasets.film.identity import key_id
from datasets.film.policy import DicomPolicy
from datasets.film.preprocessing import Preprocessing
from training.bias.questions.shortcuts import SHORTCUTS, FilmBatch
from training.folder.reading import FACTS as FACTS
from training.folder.reading import FLAGS, HASHES, NUMBERS, TEXTS, Read, ReadFilm
from training.parallel.worker_pool import Lost, WorkerPool
from training.run.checkpoint_header import NAME
from training.scoring.predict import Predictor
from training.scoring.score import geometry, outputs

LAYOUT = 2  # what the cells below mean: a change makes all shards anew, as one of the columns does
FILES = 512  # files of one shard at most; half as many on average
BATCH = 32
FILE_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("file", "file_name", "status", "reason", "message", "pixels", *HASHES, *TEXTS)]
    + [(name, pa.bool_()) for name in FLAGS]
    + [(name, pa.int32()) for name in NUMBERS]
)
"""What is known of each file. `file` is the keyed hash of its path in the folder, `file_name` that of the name alone;
`status` is scored, skipped or failed; `reason` a few fixed words, `message` a sentence, `pixels` the keyed hash of what the
first checkpoint sees of the film; the rest are the facts of
`read_dicom`."""


@dataclass(frozen=True)
class FolderJob:
    """Which files are scored, by which checkpoints, and how; picklable, the same for every shard and machine.

    Attributes:
        runs: run folders, or their checkpoints.
        policy: which films are admitted; each checkpoint knows itself how their greys are read.
        perturbations: names of `training.bias.questions.shortcuts.SHORTCUTS` to score the films under as well.
        files: of one shard at most; what a kill can cost.
    """

    folder: Folder
    runs: tuple[Path, ...]
    key: bytes = field(repr=False)  # an object store or a traceback may print a job
    policy: DicomPolicy = DicomPolicy()
    perturbations: tuple[str, ...] = ()
    workers: int = 2
    time_limit: float = 60  # seconds for one file
    device: str = "cpu"
    files: int = FILES

    @cached_property
    def checkpoints(self) -> list[str]:
        """SHA-256 of each checkpoint's file, in hex."""
        files = [run / NAME if run.is_dir() else run for run in self.runs]
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]

    @cached_property
    def fingerprint(self) -> str:
        """Names everything but the files that a score depends on."""
        tables = LAYOUT, FILE_SCHEMA.names, model_columns(0)
        parts: list[object] = [*self.checkpoints, tables, BATCH, key_id(self.key), self.policy, self.perturbations]
        return hashlib.sha256(repr(parts).encode()).hexdigest()


class Shard(NamedTuple):
    """Files that are scored together, in the folder's order; the name is 32 hex digits, see the module."""

    name: str
    entries: list[Entry]


def shards_of(job: FolderJob, entries: Iterable[Entry]) -> Iterator[Shard]:
    """Cut a folder's entries into shards of at most `job.files` files.

    Names decide where to cut, not counts: so a file that comes or goes changes its own shard, and at times the next. With
    counts it would move all later cuts, and all those shards would be scored again.
    """
    cut: list[Entry] = []
    fewest = max(1, job.files // 4)
    for entry in entries:
        cut.append(entry)
        if len(cut) >= job.files or (len(cut) >= fewest and _number(entry.name) % fewest == 0):
            yield Shard(_name(job, cut), cut)
            cut = []
    if cut:
        yield Shard(_name(job, cut), cut)


def _number(name: str) -> int:
    """A pseudo-random number, the same for a name in every run."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest())


def _name(job: FolderJob, entries: list[Entry]) -> str:
    digest = hashlib.sha256(job.fingerprint.encode())
    for entry in entries:
        digest.update(repr(tuple(entry)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


class ShardScorer:
    """Checkpoints and decoding processes, ready to turn shards into tables."""

    def __init__(self, job: FolderJob) -> None:
        self.job = job
        self.predictors = [Predictor.load(run, job.device) for run in job.runs]
        self.geometries = tuple(dict.fromkeys(geometry(p.checkpoint.preprocessing) for p in self.predictors))
        self.read = ReadFilm(job.folder, job.key, job.policy, self.geometries)
        self.pool: WorkerPool[Entry, Read] = WorkerPool(
            self.read, job.workers, job.time_limit, ahead=BATCH + 4, ending=(FolderError,)
        )

    def __enter__(self) -> "ShardScorer":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.close()

    def tables(self, shards: Iterable[Shard]) -> Iterator[tuple[Shard, pa.Table]]:
        """One table a shard: `FILE_SCHEMA`, and the columns of `model_columns` for each checkpoint, null unless scored.

        While a shard is scored, files of the next are read. Rows do not depend on how shards were grouped into calls.
        """
        waiting: list[Shard] = []

        def entries() -> Iterator[Entry]:
            for shard in shards:
                waiting.append(shard)
                yield from shard.entries

        facts, batch = list[dict[str, Any]](), list[Read]()
        for result in self.pool.results(entries()):
            shard = waiting[0]
            read = self._without_result(shard.entries[len(facts)], result) if isinstance(result, Lost) else result
            facts.append(read.facts)
            if read.pixels:
                batch.append(read)
            last = len(facts) == len(shard.entries)
            if batch and (last or len(batch) == BATCH):
                self._score(batch)
                batch = []
            if last:
                yield shard, pa.Table.from_pylist(facts, self.schema)
                waiting.pop(0)
                facts = []

    @cached_property
    def schema(self) -> pa.Schema:
        """Of the tables."""
        columns = [name for number in range(len(self.predictors)) for name in model_columns(number)]
        return pa.schema([*FILE_SCHEMA, *(pa.field(name, pa.list_(pa.float32())) for name in columns)])

    def _without_result(self, entry: Entry, lost: Lost) -> Read:
        why = f"reading the file {lost.how} ({lost.detail})" if lost.detail else f"reading the file ran {lost.how}"
        reason = "error" if lost.how == "failed" else lost.how
        return Read(self.read.named(entry) | {"status": "failed", "reason": reason, "message": why})

    def _score(self, batch: list[Read]) -> None:
        """Add the outputs of each checkpoint to the facts of the films."""
        # Shuffling draws from the film's own hash, so that a film's scores don't depend on where it lies.
        seeds = [int(read.facts["file"], 16) >> 1 for read in batch]
        columns = zip(*(read.pixels for read in batch), strict=True)
        pixels = {g: torch.from_numpy(np.stack(c))[:, None] for g, c in zip(self.geometries, columns, strict=True)}
        images: dict[Preprocessing, torch.Tensor] = {}
        for number, predictor in enumerate(self.predictors):
            preprocessing = predictor.checkpoint.preprocessing
            shape = geometry(preprocessing)
            films = FilmBatch(pixels[shape], seeds)
            if shape not in images:
                perturbed = (SHORTCUTS[name](films) for name in self.job.perturbations)
                images[shape] = torch.cat([films.pixels, *perturbed])
            features, both = outputs(predictor, preprocessing.normalise(images[shape]))
            # Perturbations x films x classes, after the films as they are.
            logits, others = both[: len(batch)], both[len(batch) :].reshape(-1, len(batch), both.shape[1])
            flat = others.transpose(1, 0, 2).reshape(len(batch), -1)
            for read, *values in zip(batch, features[: len(batch)], logits, flat, strict=True):
                read.facts.update(zip(model_columns(number), values, strict=True))


def model_columns(number: int) -> tuple[str, str, str]:
    """Columns of a checkpoint in a shard: features, logits, and logits under each perturbation, one after the other."""
    return f"features {number}", f"logits {number}", f"perturbed {number}"
