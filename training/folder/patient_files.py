"""What is written on request alone, because it belongs to the patient: the meaning of the hashes."""

import csv
import os
from pathlib import Path

from datasets.dicom import read_identities
from datasets.identity import keyed_hash
from datasets.radiograph import RadiographError
from training.folder.merge import Survey
from training.folder.shard import Job

COLUMNS = ("file", "path", "sop_instance_uid", "study_instance_uid", "accession_number", "patient_id")


def write_linkage(path: Path, job: Job, found: Survey) -> None:
    """Write a CSV that leads from the hash of each file back to its path and, where it was scored, to its identifiers.

    Readable by its owner only (mode 0600) from the moment it exists. It identifies patients: it is for the hospital's own
    join, and never part of the results.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            scored = dict(zip(found.files["file"], found.files["status"] == "scored", strict=True))
            for entry in job.folder.entries():
                name = keyed_hash(job.key, entry.name)
                known: dict[str, str] = {}
                if scored.get(name):
                    try:
                        known = read_identities(job.folder.read(entry.name))
                    except RadiographError:  # changed since it was scored
                        known = {}
                shown = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                table.writerow([name, shown, *(known.get(column, "") for column in COLUMNS[2:])])
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
