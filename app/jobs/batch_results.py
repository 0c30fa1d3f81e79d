"""The results of a batch job: tables for its page, files for its visitor to take away."""

import io
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from training.folder.merge import Merge, csv_safe, survey
from training.folder.shard import FolderJob
from training.folder.store import ShardStore
from training.scoring.predict import Predictor
from training.scoring.subjects import Subject

STATUSES = ("scored", "skipped", "failed")


@dataclass(frozen=True)
class BatchResults:
    """Tables for the page and bytes for the downloads; files and patients appear as keyed hashes alone."""

    statuses: dict[str, int]
    counts: pd.DataFrame  # number of files by status and reason
    files: pd.DataFrame  # a row a file: film, status, reason, message, and facts that say what kind of film it is
    predictions: pd.DataFrame  # a row a scored film: film, source, then a score and a call for each run
    sources: pd.DataFrame  # a row a source: films, then the mean score and the number of positive calls of each run
    runs: tuple[str, ...]
    positive: tuple[str, ...]  # name of each run's positive class
    inverted: int  # number of scored films that look inverted
    predictions_csv: bytes  # a row for each scored film and run, in the columns of the command line
    files_csv: bytes  # a row a file, with all columns
    parquet: bytes  # a zip with both as Parquet


def collect(
    job: FolderJob,
    store: ShardStore,
    shards: Sequence[str],
    predictors: Sequence[Predictor],
    runs: Sequence[str],
    uploaded: bool,
    notice: str,
) -> BatchResults:
    """Merge the finished shards of a job, given by name in the folder's order; uploaded films are named by their number.

    `predictors` and `runs` (their names on the page) are in the order of the job's runs; every row that leaves gets `notice`.
    """
    surveyed = survey(store, shards, None)
    # Merge names a run after its folder, and two folders may have the same name; the names are set below.
    subjects = [Subject(run, predictor, None) for run, predictor in zip(job.runs, predictors, strict=True)]
    merge = Merge(job, store, shards, surveyed, subjects, None, "institution")
    with tempfile.TemporaryDirectory(prefix="end-cxr-") as place:
        merge.write_files(Path(place) / "files.parquet")
        merge.write_predictions(Path(place) / "predictions.parquet")
        files = pd.read_parquet(Path(place) / "files.parquet")
        predictions = pd.read_parquet(Path(place) / "predictions.parquet")
    scored = int((files["status"] == "scored").sum())
    if predictions.empty:
        predictions = pd.DataFrame(columns=["run", "row", "file", "source", "score", "logit", "prediction"])
    else:
        predictions["run"] = np.repeat(np.array(runs, dtype=object), scored)
        predictions = predictions.drop(columns=["split", "target"])
    predictions["source"] = predictions["source"].fillna("institution not stated")
    files, predictions = _with_film(files, uploaded), _with_film(predictions, uploaded)
    taken = {"files": files.assign(notice=notice), "predictions": predictions.assign(notice=notice)}
    positive = tuple(str(predictor.info.positive_name) for predictor in predictors)
    shown = ["film", "status", "reason", "message", "modality", "view_position", "manufacturer"]
    return BatchResults(
        {status: int((files["status"] == status).sum()) for status in STATUSES},
        surveyed.counts.sort_values(["status", "files"], ascending=[True, False], ignore_index=True),
        files[shown].rename(columns={"view_position": "view"}),
        _side_by_side(predictions, runs),
        _by_source(predictions, runs, positive),
        tuple(runs),
        positive,
        int((files["looks_inverted"].eq(True) & files["status"].eq("scored")).sum()),
        csv_safe(taken["predictions"]).to_csv(index=False).encode(),
        csv_safe(taken["files"]).to_csv(index=False).encode(),
        _zipped(taken, notice),
    )


def _with_film(table: pd.DataFrame, uploaded: bool) -> pd.DataFrame:
    """With a column `film` in front: the number of the upload, or row and keyed hash of a folder's file."""
    if uploaded:
        film = [f"film {row + 1}" for row in table["row"]]
        table = table.drop(columns="file")  # a hash of the name that we gave it says nothing
    else:
        film = [f"row {row} · {file}" for row, file in zip(table["row"], table["file"], strict=True)]
    return table.assign(film=pd.Series(film, index=table.index, dtype=object))[["film", *table.columns]]


def _side_by_side(predictions: pd.DataFrame, runs: Sequence[str]) -> pd.DataFrame:
    """A row a film, two columns a run: its name for the score, and `call: ` before it for the call."""
    films = [predictions[predictions["run"] == run].reset_index(drop=True) for run in runs]
    table = films[0][["film", "source"]].copy()
    for run, rows in zip(runs, films, strict=True):
        table[run], table[f"call: {run}"] = rows["score"].astype(float), rows["prediction"]
    return table


def _by_source(predictions: pd.DataFrame, runs: Sequence[str], positive: Sequence[str]) -> pd.DataFrame:
    """A row a source, in the order of its films; the name of a run heads its mean score, `called: ` its positive calls."""
    first = predictions[predictions["run"] == runs[0]]
    table = first.groupby("source").size().rename("films").to_frame()
    for run, name in zip(runs, positive, strict=True):
        rows = predictions[predictions["run"] == run]
        table[run] = rows.groupby("source")["score"].mean()
        table[f"called: {run}"] = rows["prediction"].eq(name).groupby(rows["source"]).sum()
    return table.sort_values(["films", "source"], ascending=[False, True]).reset_index()


def _zipped(tables: dict[str, pd.DataFrame], notice: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("NOTICE.txt", notice + "\n")
        for name, table in tables.items():
            archive.writestr(f"{name}.parquet", table.to_parquet(index=False))
    return content.getvalue()
