"""What each hash of a folder's files stands for: a table that identifies patients, for the hospital's own join alone."""

import contextlib
import csv
import os
from collections.abc import Collection
from pathlib import Path

from datasets.film.dicom import read_identities
from datasets.film.folder import Folder
from datasets.film.identity import keyed_hash
from datasets.film.radiograph import RadiographError

COLUMNS = ("file", "path", "sop_instance_uid", "study_instance_uid", "accession_number", "patient_id")


class LinkageError(ValueError):
    """A place where no linkage can be written; the message says why."""


def require_place(path: Path) -> None:
    """Raise LinkageError where something else is than an earlier linkage, such as the table of labels."""
    if not path.exists():
        return
    heading = ",".join(COLUMNS).encode()
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(heading)) == heading:
                return
    raise LinkageError(f"--linkage {path} is there already and is no linkage: name another file")


def write_linkage(path: Path, folder: Folder, key: bytes, films: Collection[str]) -> None:
    """Write a CSV that leads from the hash of each file back to its path and, where it is a film, to its identifiers.

    Readable by its owner only (mode 0600) from the moment it exists. `films` are the hashes of the files that are films.
    LinkageError where another file is in its place.
    """
    require_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", newline="") as out:
            table = csv.writer(out)
            table.writerow(COLUMNS)
            for entry in folder.entries():
                file, known = keyed_hash(key, entry.name), dict[str, str]()
                if file in films:
                    with contextlib.suppress(RadiographError):  # changed since it was read
                        known = read_identities(folder.read(entry.name))
                path_text = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                table.writerow([file, path_text, *(known.get(column, "") for column in COLUMNS[2:])])
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
