"""The DICOM objects that were asked for of the scored films: written, and sent to the archive that the films came from.

What an archive has is not sent again. Objects are told by their SOP instance UIDs, which follow from film and checkpoints,
so that a run that was interrupted, or is made anew, changes nothing that is there.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from datasets.cohort.parquet_table import read_parquet
from datasets.film.dicomweb import Connection, DicomWebError, RefusedError
from datasets.film.dicomweb_folder import INSTANCE, DicomWebFolder, value_of
from datasets.film.radiograph import RadiographError
from training.console.messages import progress_bar
from training.folder.dicom_derived import read_derived
from training.folder.patient_files import scored_films, write_saliency, write_structured_reports
from training.folder.shard import FolderJob
from training.scoring.subjects import Subject

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

DUPLICATE = 0x0111  # PS3.7 C.5.6: the archive has an object of this SOP instance
NO_STORE = (404, 405, 501)  # of HTTP: there is no STOW-RS at this address
SENT, THERE = "sent", "there before"


def write_objects(options: argparse.Namespace, job: FolderJob, subjects: list[Subject], console: Console) -> None:
    """Write structured reports and saliency images where they were asked for, send them with `--store`, say how many."""
    table = read_parquet(options.output / "predictions.parquet", columns=["run", "file", "score", "prediction"])
    films, made = int((table["run"] == subjects[0].name).sum()), datetime.now()
    for place, what in ((options.sr, "structured reports"), (options.saliency, "saliency images")):
        if place is None:
            continue
        objects: list[Path] = []
        with progress_bar() as progress:
            advance = partial(progress.advance, progress.add_task(what, total=films))
            scored = scored_films(job, subjects, table)
            if place is options.sr:
                outcome = write_structured_reports(place, job, scored, made, advance, objects)
            else:
                outcome = write_saliency(place, job, subjects, scored, made, advance, objects)
        written = outcome.pop("written", 0) + outcome.pop("kept", 0)
        console.print(f"identifies patients: {written:,} {what} in {place}", markup=False, highlight=False)
        show_failures(outcome, "not written", console)
        if options.store and isinstance(job.folder, DicomWebFolder):
            with progress_bar() as progress:
                advance = partial(progress.advance, progress.add_task(f"{what}, sent", total=len(objects)))
                outcome = send_objects(objects, job.folder.connection, advance)
            counts = f"{outcome.pop(SENT, 0):,} {what} sent, {outcome.pop(THERE, 0):,} were there before"
            console.print(f"identifies patients: {job.folder.connection.url}: {counts}", markup=False, highlight=False)
            show_failures(outcome, "not sent", console)


def show_failures(outcome: Counter[str], what: str, console: Console) -> None:
    """Print how often each reason held."""
    for reason, count in outcome.most_common():
        console.print(f"  {count:,} {what}: {reason}", style="yellow", markup=False, highlight=False)


def send_objects(objects: Sequence[Path], connection: Connection, advance: Callable[[int], object]) -> Counter[str]:
    """Send each object that the archive does not have (STOW-RS, PS3.18 10.5).

    Returns:
        How many were `SENT` or `THERE`, and for those that the archive does not take how often for each reason.

    Raises:
        DicomWebError: the archive is lost, or takes no objects at all.
    """
    outcome = Counter[str]()
    for path in objects:
        try:
            outcome[connection.ask(partial(_send, path))] += 1
        except RefusedError as refused:
            if refused.status in NO_STORE:
                raise DicomWebError(
                    f"{connection.url} answers {refused.status}: it takes no objects (STOW-RS); they are in {path.parent}"
                ) from None
            outcome[str(refused)] += 1
        except RadiographError as error:
            outcome[str(error)] += 1
        except DicomWebError as lost:
            raise DicomWebError(f"{lost}; what is sent stays, and the same command sends the rest") from None
        advance(1)
    return outcome


def _send(path: Path, client: "DICOMwebClient") -> str:
    """Send an object unless the archive has it; asked each time, for an answer may be lost after it was stored."""
    dataset = read_derived(path)
    study, instance = str(dataset.StudyInstanceUID), str(dataset.SOPInstanceUID)
    found = client.search_for_instances(study, search_filters={"SOPInstanceUID": instance})
    if any(value_of(item, INSTANCE) == instance for item in found):  # an archive may leave the filter out of account
        return THERE
    answer = client.store_instances([dataset])
    for failed in answer.get("FailedSOPSequence") or []:
        reason = int(failed.get("FailureReason") or 0)
        return THERE if reason == DUPLICATE else f"the archive refuses it (failure reason {reason:04X})"
    return SENT
