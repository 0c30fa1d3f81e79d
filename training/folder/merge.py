"""From finished shards to the tables of a folder: the status of each file, the predictions of each checkpoint.

First a survey reads a few columns of all shards, to find second copies of a film, to name institutions by their number of
films and to match the labels. Then the tables are written shard by shard, so that memory does not grow with them.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.cohort.label_table import Labels, match_films
from datasets.files import write_aside
from datasets.film.identity import short_name
from datasets.sample import Split
from training.folder.shard import FACTS, FILE_SCHEMA, HASHES, FolderJob, model_columns
from training.folder.store import ShardStore
from training.scoring.predict import ATTRIBUTES, predictions, read_logits
from training.scoring.subjects import Subject

DUPLICATE, NOT_RECORDED = "duplicate", "not recorded"
NAMED = ("institution", "station")  # shown as A, B, ... by falling number of films, those of a training as there
SOURCES = (*NAMED, "view", *(name for name in FACTS if name != "view_position"))
ROWS = 50_000  # of a row group
FILM_COLUMNS = {"view_position": "view"}
# Columns of the labels and of the predictions that no source and no grouping can be.
TAKEN = {"label", "run", "row", "file", "patient", "study", "source", "split", "target", "logit", "prediction"}
AUDITED = 200_000  # films at most that the audit is made of; beyond, whole patients are drawn by their hashes


@dataclass(frozen=True)
class Survey:
    """What is known of a folder once all its shards are read.

    Attributes:
        files: a row a file in the folder's order: file, status, reason, patient (its hash, else the study's, else the
            file's own), study, label (row of the labels, -1 without), audited, and a column for each of `NAMED`: its
            name, `institution A` being that of the most films that isn't one of the runs' own.
        counts: number of files by status and reason.
        facts: number of scored films by each value of each fact.
        unmatched: number of lines of the labels that no file of the folder goes with, that go with files of which none was
            scored, and that name several files.
        contradicted: scored films that lines of the labels give different labels, by different columns.
        without_patient: scored films that name no patient.
        trained: scored films of patients that a run was trained on; they are not audited.
        copied: audited films with the pixels of an earlier audited film of another patient.
    """

    files: pd.DataFrame
    counts: pd.DataFrame
    facts: dict[str, dict[str, int]]
    unmatched: dict[str, int] = field(default_factory=dict)
    contradicted: int = 0
    without_patient: int = 0
    trained: int = 0
    copied: int = 0

    @property
    def labelled(self) -> bool:
        """Whether any scored film has a label."""
        return bool(((self.files["status"] == "scored") & (self.files["label"] >= 0)).any())


def survey(
    store: ShardStore,
    shards: Sequence[str],
    labels: Labels | None,
    trained: Collection[str] = (),
    sources: Collection[str] = (),
) -> Survey:
    """Read what must be known of all files before the first can be written.

    Args:
        shards: their names, in the folder's order.
        trained: hashes of patients that are not to be audited, because a run was trained on them.
        sources: of the runs' own cohorts: an institution that is one of them by its hash keeps its name.
    """
    columns = ("file", "file_name", "status", "reason", "pixels", *HASHES)
    tables, facts = [], {name: Counter[str]() for name in FACTS}
    instances = set[str]()
    for shard in shards:
        part = store.read(shard, [*columns, *FACTS]).to_pandas(integer_object_nulls=True)
        _mark_copies(part, instances)
        tables.append(part[list(columns)])
        scored = part[part["status"] == "scored"]
        for name, counter in facts.items():
            counts_of = scored[name].astype(object).value_counts(dropna=False)
            counter.update({NOT_RECORDED if pd.isna(value) else str(value): n for value, n in counts_of.items()})
    table = pd.concat(tables, ignore_index=True) if tables else FILE_SCHEMA.empty_table().to_pandas()
    scored = table["status"] == "scored"
    table["label"] = -1
    unmatched, contradicted = dict[str, int](), 0
    if labels is not None:
        match = match_films(labels, table, scored, table["reason"] == DUPLICATE)
        table["label"], unmatched = match.rows, match.unmatched
        contradicted = int((match.contradicted & scored).sum())
    table["patient_known"] = table["patient"].notna()
    table["patient"] = table["patient"].fillna(table["study"]).fillna(table["file"])
    for name in NAMED:
        ranked = table.loc[scored, name].value_counts()
        own = {value: short_name(name, value) for value in ranked.index if short_name(name, value) in sources}
        others = [value for value in ranked.index if value not in own]
        letters = {value: f"{name} {_letters(rank)}" for rank, value in enumerate(others)}
        table[name] = table[name].map(own | letters)
    chosen = scored & (table["label"] >= 0) if (scored & (table["label"] >= 0)).any() else scored
    # A training's table may have passed through a spreadsheet, which writes 00012 as 12.
    known = chosen & (table["patient"].isin(trained) | table["patient_alike"].isin(trained))
    chosen &= ~known
    table["audited"] = chosen & _drawn(table["patient"], chosen, AUDITED)
    copied = int(_copies(table[table["audited"]]).sum())
    counts = table.groupby(["status", "reason"], dropna=False).size().rename("files").reset_index()
    kept = ["file", "status", "reason", "patient", "study", "label", "audited", *NAMED]
    without_patient = int((scored & ~table["patient_known"]).sum())
    common = {name: dict(counter.most_common()) for name, counter in facts.items()}
    return Survey(table[kept], counts, common, unmatched, contradicted, without_patient, int(known.sum()), copied)


def _copies(films: pd.DataFrame) -> pd.Series:
    """Which films have the pixels of an earlier one of another patient."""
    return films["pixels"].notna() & (films["patient"] != films.groupby("pixels")["patient"].transform("first"))


class Audited(NamedTuple):
    """The films that a checkpoint's audit is made of; features are films x width, `perturbed` scores by perturbation."""

    predictions: pd.DataFrame
    features: np.ndarray
    perturbed: dict[str, np.ndarray]


@dataclass(frozen=True)
class Merge:
    """Writes the tables of a folder from its shards.

    Attributes:
        shards: their names, in the folder's order.
        subjects: the checkpoints, in the order of the job's runs.
        source: what a film's source is: one of `SOURCES`, or a column of the labels.
        also: further columns of that kind to take along.
        trained_on: for each subject, the sources of its training films: films of these are test films, others external.
    """

    job: FolderJob
    store: ShardStore
    shards: Sequence[str]
    survey: Survey
    subjects: Sequence[Subject]
    labels: Labels | None
    source: str
    also: tuple[str, ...] = ()
    trained_on: tuple[frozenset[str], ...] = ()

    def write_files(self, path: Path) -> None:
        """files.parquet: every file of the folder with its status and facts."""
        kept = [column for column in FILE_SCHEMA if column.name not in ("file_name", "accession")]
        schema = pa.schema([pa.field("row", pa.int64()), *kept])

        def tables() -> Iterator[pa.Table]:
            for rows, table in self._parts([column.name for column in kept]):
                table = table.assign(row=rows.index, status=rows["status"], reason=rows["reason"])
                copy = (rows["reason"] == DUPLICATE).to_numpy()
                table.loc[copy, "message"] = "another file of the folder holds the same SOP instance"
                yield pa.Table.from_pandas(table, schema, preserve_index=False)

        write_aside(path, lambda file: _write_parquet(file, tables()))

    def write_predictions(self, path: Path) -> None:
        """predictions.parquet and predictions.csv: a row for each scored film and checkpoint."""

        def tables() -> Iterator[pa.Table]:
            for number, _ in enumerate(self.subjects):
                for _, scored, _ in self._predictions(number, with_features=False):
                    yield pa.Table.from_pandas(scored, preserve_index=False)

        write_aside(path, lambda file: _write_parquet(file, tables()))
        write_aside(path.with_suffix(".csv"), lambda file: _write_csv(file, path))

    def audited(self, number: int) -> Audited:
        """What the audit of a checkpoint is made of."""
        tables, features, perturbed = list[pd.DataFrame](), [], []
        for rows, scored, table in self._predictions(number, with_features=True):
            kept = rows["audited"].to_numpy()
            if kept.any():
                tables.append(scored[kept])
                features.append(_stacked(table[model_columns(number)[0]][kept]))
                perturbed.append(_stacked(table[model_columns(number)[2]][kept]))
        if not tables:
            return Audited(pd.DataFrame(), np.empty((0, 0), np.float32), {})
        films = pd.concat(tables, ignore_index=True)
        subject, names = self.subjects[number], self.job.perturbations
        scores = _perturbed_scores(np.concatenate(perturbed), names, subject)
        return Audited(films, np.concatenate(features), scores)

    def _parts(self, columns: Sequence[str]) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """The survey's rows and the shard's columns, shard by shard, on the same index."""
        start = 0
        for shard in self.shards:
            table = self.store.read(shard, columns).to_pandas(integer_object_nulls=True)
            table.index = pd.RangeIndex(start, start + len(table))
            yield self.survey.files.iloc[start : start + len(table)], table
            start += len(table)

    def _predictions(
        self, number: int, with_features: bool
    ) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
        """Rows of the survey, predictions, and the shard's columns, of the scored films of each shard."""
        subject = self.subjects[number]
        info = subject.predictor.info
        features, logits, perturbed = model_columns(number)
        labels = self.labels.targets(info) if self.labels is not None else np.array([], dtype=object)
        columns = [*FACTS, *((features, perturbed) if with_features else ()), logits]
        for rows, table in self._parts(columns):
            kept = (rows["status"] == "scored").to_numpy()
            rows, table = rows[kept], table[kept].rename(columns=FILM_COLUMNS)
            if rows.empty:
                continue
            target = np.full(len(rows), None, dtype=object)
            known = rows["label"].to_numpy() >= 0
            target[known] = labels[rows["label"].to_numpy()[known]]
            films = rows[["file", "patient", "study"]].reset_index(names="row").astype({"row": "int64"})
            films.insert(0, "run", subject.name)
            films["source"] = self._attribute(self.source, rows, table)
            seen = films["source"].isin(self.trained_on[number] if self.trained_on else ())
            films["split"] = np.where(seen, str(Split.TEST), str(Split.EXTERNAL))
            films["target"] = pd.array(target, dtype="string").astype(object)
            scored = predictions(films, _stacked(table[logits]), info, subject.calibration(films["source"]))
            for name in dict.fromkeys((*ATTRIBUTES, *self.also)):
                scored[name] = self._attribute(name, rows, table)
            scored["looks_inverted"] = table["looks_inverted"].eq(True).to_numpy()
            yield rows, scored, table

    def _attribute(self, name: str, rows: pd.DataFrame, table: pd.DataFrame) -> np.ndarray:
        """A fact, a named institution or a column of the labels for each film; None where it isn't known."""
        if self.labels is not None and name in self.labels.table and name not in SOURCES:
            values = np.append(self.labels.table[name].to_numpy(object), "")[rows["label"].to_numpy()]
            return np.array([value or None for value in values], dtype=object)
        column = rows[name] if name in NAMED else table[name]
        return np.array([None if pd.isna(value) else str(value) for value in column], dtype=object)


def sampled_scores(
    job: FolderJob, store: ShardStore, shards: Sequence[str], subjects: Sequence[Subject], films: pd.DataFrame
) -> list[dict[str, np.ndarray]]:
    """Scores of each checkpoint under each perturbation, an entry for each of `films`, NaN for those not in the shards.

    Args:
        job: of these shards, which hold a sample of the folder.
        films: the column file.
    """
    columns = ["file", "status", *(model_columns(number)[2] for number in range(len(subjects)))]
    tables = [store.read(shard, columns).to_pandas() for shard in shards]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    table = table[table["status"] == "scored"]
    at = pd.Index(table["file"]).get_indexer(pd.Index(films["file"]))
    found = []
    for number, subject in enumerate(subjects):
        scores = _perturbed_scores(_stacked(table[model_columns(number)[2]]), job.perturbations, subject)
        found.append(
            {name: np.where(at >= 0, np.append(values, np.nan)[at], np.nan) for name, values in scores.items()}
        )
    return found


def _perturbed_scores(logits: np.ndarray, names: Sequence[str], subject: Subject) -> dict[str, np.ndarray]:
    """Scores by perturbation, from films x (perturbations x classes); none where no class is positive."""
    checkpoint = subject.predictor.checkpoint
    if not names or checkpoint.info.positive is None:
        return {}
    by_name = logits.reshape(-1, len(names), len(checkpoint.info.targets)).transpose(1, 0, 2)
    return {
        name: read_logits(of_name, checkpoint.info.positive, checkpoint.calibration).score
        for name, of_name in zip(names, by_name, strict=True)
    }


def _mark_copies(files: pd.DataFrame, instances: set[str]) -> None:
    """Skip films whose SOP instance was scored before, here or in an earlier shard; `instances` are those."""
    scored = (files["status"] == "scored") & files["instance"].notna()
    before = np.array([instance in instances for instance in files["instance"]])  # isin would copy the whole set
    copies = scored & (files["instance"].where(scored).duplicated() | before)
    instances.update(files.loc[scored, "instance"])
    files.loc[copies, ["status", "reason"]] = ["skipped", DUPLICATE]


def source_names(labels: Labels | None) -> list[str]:
    """What a film's source can be."""
    columns = [] if labels is None else [str(name) for name in labels.table]
    return list(dict.fromkeys((*SOURCES, *(n for n in columns if n not in TAKEN and not n.startswith("score")))))


def csv_safe(table: pd.DataFrame) -> pd.DataFrame:
    """Texts that a spreadsheet would take for a formula get an apostrophe in front.

    After OWASP, "CSV Injection": cells that begin with = + - @, a tab or a carriage return. Numbers are left as they are.
    """
    safe = table.copy()
    for name in safe:
        if safe[name].dtype == object or isinstance(safe[name].dtype, pd.StringDtype):
            text = safe[name].astype(object)
            risky = text.map(lambda value: isinstance(value, str) and value.startswith(tuple("=+-@\t\r")))
            safe[name] = text.where(~risky, "'" + text.astype(str))
    return safe


def _write_csv(file: Path, parquet: Path) -> None:
    """The same rows as the Parquet file, for a spreadsheet."""
    with (
        file.open("w", encoding="utf-8", newline="") as out,
        parquet.open("rb") as content,
        pq.ParquetFile(content) as rows,
    ):
        for number, batch in enumerate(rows.iter_batches(ROWS)):
            csv_safe(batch.to_pandas()).to_csv(out, index=False, header=number == 0)


def _write_parquet(file: Path, tables: Iterator[pa.Table]) -> None:
    """Tables of one schema, in row groups of a useful size. Columns that are empty in one table may not be in the next."""
    groups = _row_groups(tables)
    first = next(groups, pa.table({}))
    schema = _typed(first.schema)
    with file.open("wb") as content, pq.ParquetWriter(content, schema, compression="zstd") as writer:
        for table in chain([first], groups):
            writer.write_table(table.select(schema.names).cast(schema))


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(part.num_rows for part in waiting) >= ROWS:
            yield pa.concat_tables(waiting, promote_options="permissive")
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting, promote_options="permissive")


def _typed(schema: pa.Schema) -> pa.Schema:
    """A column of nulls alone has no type yet: all that can be null here are texts and flags, seen as texts."""
    fields: list[Any] = []
    for column in schema:
        known = FILE_SCHEMA.field(column.name).type if column.name in FILE_SCHEMA.names else pa.string()
        fields.append(column.with_type(known) if pa.types.is_null(column.type) else column)
    return pa.schema(fields)


def _stacked(column: pd.Series) -> np.ndarray:
    """Lists of one length as a matrix."""
    return np.stack(column.tolist()).astype(np.float32) if len(column) else np.empty((0, 0), np.float32)


def _letters(rank: int) -> str:
    """A, B, ..., Z, AA, AB, ... as a spreadsheet names its columns."""
    text = ""
    rank += 1
    while rank:
        rank, letter = divmod(rank - 1, 26)
        text = chr(ord("A") + letter) + text
    return text


def _drawn(patient: pd.Series, chosen: pd.Series, limit: int) -> pd.Series:
    """Which rows stay when whole patients are drawn until about `limit` of the chosen ones are left.

    A patient's keyed hash is a uniform random number that is the same in every run: those below a bound are drawn.
    """
    count = int(chosen.sum())
    if count <= limit:
        return pd.Series(True, index=patient.index)
    number = patient.map(lambda text: int(text, 16) / 2**64)
    return number <= float(np.quantile(number[chosen], limit / count))
