"""Audits on disk, and where new ones are made."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from app.jobs.audit_job import AuditDesk
from app.numbers.audit import LONGEST, Audit, AuditError, places, read_audit
from training.run.index import RunEntry


class StoredAudit(NamedTuple):
    """An audit of the chosen runs."""

    audit: Audit
    file: Path  # the report.json that it was read from
    stale: list[str]  # names of runs whose checkpoint is newer than it


@st.cache_data(max_entries=16, show_spinner=False)
def _read(file: Path, stamp: str) -> Audit | str:
    """The audit in a file, or why it is none; `stamp` changes when the file does."""
    try:
        if file.stat().st_size > LONGEST:
            return "it is too long to be an audit"
        return read_audit(file.read_text(encoding="utf-8"))
    except AuditError as error:
        return str(error)
    except (OSError, UnicodeDecodeError):
        return "it can't be read"


def audit(entries: Sequence[RunEntry]) -> StoredAudit | str | None:
    """The audit that holds all these runs, the one of them alone before others; why it can't be shown, or None."""
    names = [entry.folder.resolve().name for entry in entries]
    problem = None
    for file in places([entry.folder for entry in entries]):
        status = file.stat()
        stored = _read(file, f"{status.st_size} {status.st_mtime_ns}")
        if isinstance(stored, str):
            problem = problem or stored
        elif stored.covers(names):
            # The stamp of a run ends with the time of its checkpoint.
            stale = [e.name for e in entries if int(e.stamp.split()[-1]) > status.st_mtime_ns]
            return StoredAudit(stored.only(names), file, stale)
    return problem


@st.cache_resource(show_spinner=False, on_release=lambda desk: desk.stop())
def audit_desk() -> AuditDesk:
    """Where audits are made, one at a time for all users."""
    return AuditDesk()
