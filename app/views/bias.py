"""Bias: the audit of the chosen runs, and where there is none, a button that makes it."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from app.drawing.audit_answer import answer
from app.drawing.audit_parts import PARTS
from app.drawing.markdown import escaped
from app.jobs import audit_job
from app.numbers.audit import PAGE, REPORT
from app.numbers.pairs import JUDGED
from app.services import audits, batches, models
from app.services.runs import label, require_runs
from training.bias.evidence import PERTURBED_FILMS
from training.run.index import RunEntry, audit_folder

WHAT = (
    "An audit asks whether a checkpoint uses the source of a film: errors by group, whether the source can be predicted from "
    "its features, and how it scores films whose lungs, or all but the border, are blanked. Each answer has an interval."
)
COST = (
    "It scores {films:,} test and external films, {perturbed:,} of them about {times} times, and resamples their patients: a "
    "minute or two for a thousand films on a computer without a graphics card. The films must still be where the runs found "
    "them."
)
POLL = 2.0  # seconds between two looks at an audit that is running
TIMES = 7  # that each film is scored: as it is, and with each part taken away


def page() -> None:
    """The audit that there is, or how to make it."""
    st.title("Bias", help=WHAT)
    entries = require_runs()
    output = audit_folder([entry.folder for entry in entries])
    job = audits.audit_desk().job()
    running = job is not None and job.state == audit_job.RUNNING
    if running:
        watch()
    elif job is not None and job.output == output:
        outcome(job)
    stored = audits.audit(entries)
    if isinstance(stored, audits.StoredAudit):
        show(stored, entries, output, running)
        return
    if stored is not None:
        st.warning(f"There is an audit of these runs that can't be shown: {stored}.", icon=":material/error:")
    if not running or (job is not None and job.output != output):
        offer(entries, output, running)


def offer(entries: Sequence[RunEntry], output: Path, running: bool) -> None:
    """What an audit is and takes, and the button."""
    st.header("No audit of " + escaped(" and ".join(label(entry) for entry in entries)))
    st.write(WHAT)
    tables = [models.predictions(entry) for entry in entries]
    films = max((int(t["split"].isin(JUDGED).sum()) for t in tables if t is not None), default=0)
    if films:
        st.write(COST.format(times=TIMES, films=films, perturbed=min(films, PERTURBED_FILMS)))
    start_button("Audit these runs", entries, output, running)
    st.write("This command makes it, too:")
    st.code(audit_job.command([entry.folder for entry in entries]), language=None, wrap_lines=True)


def start_button(title: str, entries: Sequence[RunEntry], output: Path, running: bool) -> None:
    """The button that starts an audit; disabled while one is running."""
    note = "Another audit is running: one at a time." if running else "It runs on this server, beside the app."
    if st.button(title, disabled=running, help=note, icon=":material/balance:", key="start_audit"):
        names, folders = [label(entry) for entry in entries], [entry.folder for entry in entries]
        audits.audit_desk().start(names, folders, output, batches.visitor())
        st.rerun()


@st.fragment(run_every=POLL)
def watch() -> None:
    """The audit that is running; the whole page is drawn again when it has ended."""
    job = audits.audit_desk().job()
    if job is None or job.state != audit_job.RUNNING:
        st.rerun()
    box = st.status(f"Auditing {' and '.join(job.names)}: {job.seconds:.0f} s", state="running", expanded=True)
    share = audit_job.share_done(job.stage)
    text = f"{job.stage[:1].upper()}{job.stage[1:]}" or "Starting"
    box.progress(0.0 if share is None else share, text=f"{text}. You can look at other pages meanwhile.")
    if job.owner != batches.visitor():
        box.caption("Another visitor started it, who alone can stop it.")
    elif box.button("Stop it", icon=":material/stop_circle:", key="stop_audit"):
        audits.audit_desk().stop(batches.visitor())
        st.rerun()


def outcome(job: audit_job.AuditJob) -> None:
    """How the last audit of these runs ended."""
    if job.state == audit_job.DONE:
        st.success(f"The audit is finished; it took {job.seconds:.0f} s.", icon=":material/check_circle:")
    elif job.state == audit_job.STOPPED:
        st.info(f"The audit was stopped after {job.seconds:.0f} s; nothing of it was kept.", icon=":material/cancel:")
    else:
        st.error(f"The audit failed: {job.reason}.", icon=":material/error:")


def show(stored: audits.StoredAudit, entries: Sequence[RunEntry], output: Path, running: bool) -> None:
    """The answer on one screen; all else is folded below it."""
    audit, about = stored.audit.with_short_names(), stored.audit.about
    films, splits = audit.runs[0], str(about.get("films", "films")).replace(",", " and ")
    st.caption(
        f"{films.films:,} films of {films.patients:,} patients: {splits} · made {about.get('made', 'at an unknown time')}",
        help=f"Intervals hold 95 % of {about.get('resamples', 0):,} resamples of patients.",
    )
    if stored.stale:
        trained = " and ".join(label(entry) for entry in entries if entry.name in stored.stale)
        st.warning(
            f"Out of date: {escaped(trained)} was trained again after this audit. Make it again before you use it.",
            icon=":material/history:",
        )
        start_button("Audit them again", entries, output, running)
    answer(audit)
    with st.expander("Details: all answers, groups, curves, leakage, shortcuts, films, differences"):
        part = st.segmented_control("Show", list(PARTS), default=next(iter(PARTS)), key="audit_part", required=True)
        PARTS[part or next(iter(PARTS))](audit)
    downloads(stored)


def downloads(stored: audits.StoredAudit) -> None:
    """The report's own files; the notice is within them."""
    row, icon = st.container(horizontal=True), ":material/download:"
    file = stored.file.with_name(PAGE)
    if file.is_file():
        row.download_button("Report as HTML", file.read_bytes, PAGE, "text/html", icon=icon)
    row.download_button("Report as JSON", stored.file.read_bytes, REPORT, "application/json", icon=icon)
    audited = stored.file.parent.name if stored.file.parent.parent.name == "audits" else ""
    if audited.count("+") > len(stored.audit.runs) - 1:
        st.caption("The files hold more runs than are chosen here: all that were audited together.")


page()
