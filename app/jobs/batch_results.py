"""The results of a batch job: tables for its page, files for its visitor to take away."""

import io
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from app.jobs.batch_request import Request
from training.folder.merge import Merge, Survey, csv_safe, survey
from training.folder.shard import FolderJob, model_columns
from training.folder.store import ShardStore
from training.run.reference import Reference
from training.scoring.predict import Predictor
from training.scoring.subjects import Subject

STATUSES = ("scored", "skipped", "failed")
UNLIKE = "unlike_training"  # whether a film is unlike the run's training films; before its score


@dataclass(frozen=True)
class BatchResults:
    """Tables for the page and bytes for the downloads; patients appear as keyed hashes alone, files too unless named."""

    statuses: dict[str, int]
    counts: pd.DataFrame  # number of files by status and reason
    files: pd.DataFrame  # a row a file: film, status, reason, message, and facts that say what kind of film it is
    predictions: pd.DataFrame  # a row a scored film: film, source, warning, then a score and a call for each run
    sources: pd.DataFrame  # a row a source: films, then the mean score and the number of positive calls of each run
    labels: dict[str, str]  # short names of the runs, by the names in the tables
    positive: tuple[str, ...]  # name of each run's positive class
    inverted: int  # number of scored films that look inverted
    predictions_csv: (
        bytes  # a row for each scored film and run: columns of the command line, unlike_training, threshold
    )
    files_csv: bytes  # a row a file, with all columns
    parquet: bytes  # a zip with both as Parquet


def collect(
    job: FolderJob,
    store: ShardStore,
    shards: Sequence[str],
    predictors: Sequence[Predictor],
    references: Sequence[Reference | None],
    request: Request,
) -> BatchResults:
    """Merge the finished shards of a job, given by name in the folder's order.

    `predictors` and `references` are in the order of the request's runs. Films are called as `_with_film` says; every row
    that leaves gets the request's notice.
    """
    runs, notice = list(request.runs), request.notice
    labels = {run: request.labels.get(run, run) for run in runs}
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
    unlike = [_unlike(reference, store, shards, surveyed, number) for number, reference in enumerate(references)]
    predictions.insert(list(predictions).index("score"), UNLIKE, np.concatenate(unlike) if scored else [])
    predictions = _called(predictions, predictors, request)
    files, predictions = (_with_film(table, request) for table in (files, predictions))
    taken = {"files": files.assign(notice=notice), "predictions": predictions.assign(notice=notice)}
    positive = tuple(str(predictor.info.positive_name) for predictor in predictors)
    shown = ["film", "status", "reason", "message", "modality", "view_position", "manufacturer"]
    return BatchResults(
        {status: int((files["status"] == status).sum()) for status in STATUSES},
        surveyed.counts.sort_values(["status", "files"], ascending=[True, False], ignore_index=True),
        files[shown].rename(columns={"view_position": "view"}),
        _side_by_side(predictions, labels),
        _by_source(predictions, runs, positive),
        labels,
        positive,
        int((files["looks_inverted"].eq(True) & files["status"].eq("scored")).sum()),
        csv_safe(taken["predictions"]).to_csv(index=False).encode(),
        csv_safe(taken["files"]).to_csv(index=False).encode(),
        _zipped(taken, notice),
    )


def _unlike(
    reference: Reference | None, store: ShardStore, shards: Sequence[str], surveyed: Survey, number: int
) -> np.ndarray:
    """Whether each scored film is unlike a run's training films; None where that can't be told."""
    column, found, start = model_columns(number)[0], [np.empty(0, object)], 0
    for shard in shards:
        features = store.read(shard, [column])[column].to_pandas()
        scored = (surveyed.files["status"].iloc[start : start + len(features)] == "scored").to_numpy()
        start += len(features)
        if reference is None or np.isnan(reference.limit):
            found.append(np.full(int(scored.sum()), None, object))
        elif scored.any():
            found.append((reference.distances(np.stack(features[scored])) > reference.limit).astype(object))
    return np.concatenate(found)


def _called(predictions: pd.DataFrame, predictors: Sequence[Predictor], request: Request) -> pd.DataFrame:
    """With a column `threshold`, and the calls by the visitor's threshold where there is one."""
    predictions = predictions.assign(threshold=np.nan)
    for run, predictor in zip(request.runs, predictors, strict=True):
        info, rows = predictor.info, predictions["run"] == run
        own = predictor.checkpoint.calibration.threshold
        threshold = request.thresholds.get(run, own)
        if threshold is None or len(info.targets) != 2 or info.positive is None:
            continue
        predictions.loc[rows, "threshold"] = threshold
        names = np.array([info.targets[1 - info.positive], info.targets[info.positive]], object)
        calls = (predictions.loc[rows, "score"] >= threshold).astype(int)
        if threshold != own:
            predictions.loc[rows, "prediction"] = names[calls]
    return predictions


def _with_film(table: pd.DataFrame, request: Request) -> pd.DataFrame:
    """With a column `film` in front: the file's own name where that was asked for, else what names nobody.

    That is the number of an upload, or row and keyed hash of a folder's file.
    """
    if request.names is not None:
        film = [request.names[row] for row in table["row"]]
    elif request.uploaded:
        film = [f"film {row + 1}" for row in table["row"]]
    else:
        film = [f"row {row} · {file}" for row, file in zip(table["row"], table["file"], strict=True)]
    if request.uploaded:
        table = table.drop(columns="file")  # a hash of the name that we gave it says nothing
    return table.assign(film=pd.Series(film, index=table.index, dtype=object))[["film", *table.columns]]


def _side_by_side(predictions: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """A row a film: what warns of its scores, then for each run its name for the score, `call: ` and it for the call."""
    films = [predictions[predictions["run"] == run].reset_index(drop=True) for run in labels]
    table = films[0][["film", "source"]].copy()
    inverted = films[0].get("looks_inverted", pd.Series(False, index=films[0].index)).eq(True)
    warnings = []
    for number, looks_inverted in enumerate(inverted):
        far = [labels[run] for run, rows in zip(labels, films, strict=True) if rows[UNLIKE].iloc[number] is True]
        found = ["looks inverted"] if looks_inverted else []
        warnings.append("; ".join([*found, *([f"unlike the training films of {', '.join(far)}"] if far else [])]))
    table["warning"] = pd.Series(warnings, index=table.index, dtype=object)
    for run, rows in zip(labels, films, strict=True):
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
