"""Files that identify patients, written only on request: what each hash stands for, structured reports, saliency images.

They go to folders of their own, readable by their owner only, and never into the results.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from datasets.film.dicom import read_dicom
from datasets.film.folder import Entry, Folder, FolderError
from datasets.film.identity import keyed_hash
from datasets.film.policy import DicomPolicy, Voi
from datasets.film.radiograph import Radiograph, RadiographError
from models.classifier import ModelError
from models.saliency import grad_cam
from training.folder.dicom_derived import DicomReportError, ModelResult
from training.folder.dicom_sc import write_secondary_capture
from training.folder.dicom_sr import write_structured_report
from training.folder.shard import FolderJob
from training.parallel.worker_pool import Lost, WorkerPool
from training.scoring.subjects import Subject

Advance = Callable[[int], object]


class ScoredFilm(NamedTuple):
    """A scored film: its file in the folder, its hash, and the result of each checkpoint, in the order of the checkpoints."""

    entry: Entry
    file: str
    results: list[ModelResult]


def scored_films(job: FolderJob, subjects: Sequence[Subject], predictions: pd.DataFrame) -> Iterator[ScoredFilm]:
    """The folder's scored films with their results, in the folder's order.

    Args:
        predictions: as in predictions.parquet: columns run, file, score, prediction.
    """
    predicted = {name: table.set_index("file") for name, table in predictions.groupby("run")}
    product = version("end-cxr")
    for entry in job.folder.entries():
        file, results = keyed_hash(job.key, entry.name), []
        if file not in next(iter(predicted.values())).index:
            continue
        for subject, checkpoint in zip(subjects, job.checkpoints, strict=True):
            about, row = subject.predictor.checkpoint, predicted[subject.name].loc[file].to_dict()
            assert about.info.positive is not None
            results.append(
                ModelResult(
                    run=subject.name, model=about.model.name, method=str(about.settings.get("method")),
                    score=float(row["score"]), threshold=about.threshold, prediction=str(row["prediction"]),
                    positive=about.info.targets[about.info.positive], version=product, checkpoint=checkpoint,
                )
            )  # fmt: skip
        yield ScoredFilm(entry, file, results)


def write_structured_reports(
    place: Path,
    job: FolderJob,
    films: Iterator[ScoredFilm],
    made: datetime,
    advance: Advance,
    there: list[Path],
) -> Counter[str]:
    """Write one structured report a film, with the scores of all checkpoints; those already there are left.

    The folder is made for its owner only; the reports are named by the films' hashes.

    Args:
        there: is given the path of each report that is written or kept.

    Returns:
        How many were `written` or `kept`, and for those that could not be written how often for each reason.
    """
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    outcome = Counter[str]()
    for film in films:
        name = "-".join([film.file, *(result.checkpoint[:8] for result in film.results)])
        path, how = place / f"{name}.dcm", "kept"
        if not path.exists():
            try:
                write_structured_report(job.folder.read(film.entry.name), film.results, place, name, made=made)
                how = "written"
            except (DicomReportError, RadiographError) as error:
                how = str(error)
        outcome[how] += 1
        if path.exists():
            there.append(path)
        advance(1)
    return outcome


def write_saliency(
    place: Path,
    job: FolderJob,
    subjects: Sequence[Subject],
    films: Iterator[ScoredFilm],
    made: datetime,
    advance: Advance,
    there: list[Path],
) -> Counter[str]:
    """Write a secondary capture for each film and checkpoint: the film under the checkpoint's Grad-CAM.

    Films that say that text is burned into their pixels are left out: it may be a name. Folder, names, `there` and what is
    returned are as in `write_structured_reports`, counting images.
    """
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    outcome, waiting = Counter[str](), list[ScoredFilm]()

    def done(film: ScoredFilm) -> None:
        images = [place / f"{_image_name(film, result)}.dcm" for result in film.results]
        there.extend(path for path in images if path.exists())
        advance(1)

    vois = tuple(dict.fromkeys(subject.predictor.checkpoint.preprocessing.voi for subject in subjects))

    def entries() -> Iterator[Entry]:
        for film in films:
            if all((place / f"{_image_name(film, result)}.dcm").exists() for result in film.results):
                outcome["kept"] += len(film.results)  # of an earlier run: not decoded again
                done(film)
                continue
            waiting.append(film)
            yield film.entry

    again = _ReadAgain(job.folder, job.policy, vois)
    with WorkerPool(again, job.workers, job.time_limit, 2 * job.workers, ending=(FolderError,)) as pool:
        for read in pool.results(entries()):
            film = waiting.pop(0)
            if isinstance(read, Lost | str):
                outcome[read if isinstance(read, str) else f"reading the film {read.how}"] += len(subjects)
            else:
                for subject, result in zip(subjects, film.results, strict=True):
                    outcome[_capture(place, job, subject, film, result, read, made)] += 1
            done(film)
    return outcome


def _capture(
    place: Path,
    job: FolderJob,
    subject: Subject,
    film: ScoredFilm,
    result: ModelResult,
    read: dict[Voi, Radiograph],
    made: datetime,
) -> str:
    """Write one image; returns what became of it."""
    name = _image_name(film, result)
    if (place / f"{name}.dcm").exists():
        return "kept"
    predictor, preprocessing = subject.predictor, subject.predictor.checkpoint.preprocessing
    radiograph = read[preprocessing.voi]
    assert predictor.info.positive is not None
    image = preprocessing(radiograph)[None].to(predictor.device)
    try:
        heat = grad_cam(predictor.model, image, predictor.info.positive)[0, 0].cpu().numpy()
        content = job.folder.read(film.entry.name)
        write_secondary_capture(content, radiograph, heat, result, preprocessing, place, name, made=made)
    except (DicomReportError, RadiographError, ModelError) as error:
        return str(error)
    return "written"


def _image_name(film: ScoredFilm, result: ModelResult) -> str:
    """Of a film's image under a checkpoint: hashes alone."""
    return f"{film.file}-{result.checkpoint[:8]}"


@dataclass(frozen=True)
class _ReadAgain:
    """A scored film at full size, for each way that checkpoints read its greys; its reason where it can't be read now."""

    folder: Folder
    policy: DicomPolicy
    vois: tuple[Voi, ...]

    def __call__(self, entry: Entry) -> dict[Voi, Radiograph] | str:
        try:
            content = self.folder.read(entry.name)
            return {voi: read_dicom(content, self.policy.reading(voi)) for voi in self.vois}
        except RadiographError as error:
            return str(error)
