"""The runs below a folder, each with its checkpoint's header or the reason why it can't be used; read without torch."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.run.checkpoint_header import NAME, CheckpointError, read_header
from training.run.under_way import UnderWay, under_way

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")
DEPTH = 3  # of folders below the root that are looked at
OF_AN_AUDIT = (
    *("report.json", "report.html", "report.pdf", "*.faircare.csv", "*.fmm.csv"),
    *("files.parquet", "predictions.csv", "studies.parquet", "patients.parquet"),  # of a folder of DICOM files
)
LONGEST = 200  # bytes of a folder name that file systems and their backups take


@dataclass(frozen=True)
class RunEntry:
    """A folder that is a run, or looks like one.

    Attributes:
        name: path below the root, parts separated by `/`.
        problem: why it can't be used, in words; empty for a run that can.
        header: see `training.run.checkpoint_header.read_header`; empty for one that can't be used.
        stamp: changes when the checkpoint does.
        training: how far it is, for a run that has no checkpoint yet.
    """

    name: str
    folder: Path
    problem: str = ""
    header: dict[str, Any] = field(default_factory=dict)
    stamp: str = ""
    training: UnderWay | None = None

    @property
    def usable(self) -> bool:
        """Whether it has a checkpoint that can be loaded."""
        return not self.problem

    @property
    def synthetic(self) -> bool:
        """Whether no film that it was trained on was of a person."""
        return bool(self.header.get("info", {}).get("synthetic"))

    @property
    def films(self) -> bool:
        """Whether it scores chest films, with one class that is positive."""
        info = self.header.get("info", {})
        return info.get("name") != "biased-mnist" and info.get("positive") is not None


def run_index(root: Path) -> list[RunEntry]:
    """All runs below `root`, in the order of their names; none where there is no such folder.

    Links that lead out of the root are not followed.
    """
    return sorted(_below(root, root.resolve(), ""), key=lambda entry: entry.name) if root.is_dir() else []


def audit_folder(runs: Sequence[Path]) -> Path:
    """Where an audit of these run folders goes by default.

    `RUN/audit` for one run; for several a folder `audits` beside the first, in which a folder is named after them all, or
    after the first and a hash where that name would be too long or a run lies in another folder.
    """
    folders = [run.resolve() for run in runs]
    if len(folders) == 1:
        return folders[0] / "audit"
    name = "+".join(os.path.relpath(folder, folders[0].parent) for folder in folders)
    if len(name.encode()) > LONGEST or any(folder.parent != folders[0].parent for folder in folders):
        name = f"{folders[0].name}+{len(folders) - 1}-more-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return folders[0].parent / "audits" / name


def remove_audit(folder: Path) -> None:
    """Remove what an earlier audit left in its folder, but for predictions.parquet, which every audit replaces.

    Nothing in a folder without an audit's report: files of such names are somebody else's there.
    """
    for pattern in OF_AN_AUDIT if (folder / "report.json").is_file() else ():
        for file in folder.glob(pattern):
            file.unlink()


def _below(folder: Path, root: Path, name: str) -> Iterator[RunEntry]:
    for child in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(child.path)
        if child.name.startswith(".") or not child.is_dir() or not path.resolve().is_relative_to(root):
            continue
        below = f"{name}/{child.name}" if name else child.name
        try:
            entry = _entry(below, path)
            if entry is None and below.count("/") + 1 < DEPTH:
                yield from _below(path, root, below)
        except OSError as error:  # no permission, or deleted meanwhile
            entry = RunEntry(below, path, f"it can't be read: {error.strerror}")
        if entry is not None:
            yield entry


def _entry(name: str, folder: Path) -> RunEntry | None:
    """The folder as a run; None where nothing in it looks like one."""
    file = folder / NAME
    if file.is_file():
        status = file.stat()
        try:
            header = read_header(file)
        except CheckpointError as error:
            return RunEntry(name, folder, str(error).replace(str(file), NAME))
        return RunEntry(name, folder, "", header, f"{status.st_size} {status.st_mtime_ns}")
    if training := under_way(folder):
        return RunEntry(name, folder, str(training), training=training)
    pickles = [child.name for child in folder.iterdir() if child.suffix.lower() in PICKLES]
    if pickles:
        return RunEntry(name, folder, f"{min(pickles)} is a pickle, which could run code: only {NAME} is ever opened")
    if (folder / "config.yaml").is_file():
        return RunEntry(name, folder, f"it holds no {NAME}: its training was stopped before the first epoch ended")
    return None
