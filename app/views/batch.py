"""Batch: a folder of the server or many uploads, scored in the background by the chosen checkpoints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from app import services
from app.jobs.batch_job import BatchJob, Folder, JobError, Request
from app.jobs.batch_uploads import Uploads
from app.jobs.film_folders import VARIABLE, WHOLE, FilmsFolderError, confined, films_root
from datasets.film.folder import LocalFolder
from datasets.film.policy import DicomPolicy
from training.run.index import RunEntry

if TYPE_CHECKING:  # it imports torch
    from app.jobs.batch_results import BatchResults

UPLOAD, FOLDER = "Upload", "A folder of this server"
NOT_SCORED, ALL = "Not scored", "All"
MOST_BYTES = 2 << 30  # of a job's uploads: they wait in memory
MOST_UPLOADS = 500
VIEWS = {
    "PA": "PA",
    "AP": "AP",
    "FRONTAL": "frontal, PA or AP",
    "UNKNOWN": "not stated",
    "LATERAL": "lateral",
    "DECUBITUS": "lying on a side",
    "OTHER": "any other",
}
MODALITIES = {
    "CR": "CR: computed radiography",
    "DX": "DX: digital radiography",
    "RG": "RG: radiographic imaging",
    "RF": "RF: fluoroscopy",
    "SC": "SC: secondary capture",
    "OT": "OT: other",
}
WHAT_IT_DOES = (
    "Scores many DICOM films with the chosen checkpoints, exactly as the command line does. Every file becomes a row: "
    "scored, or why not. PNG and JPEG films go to *Compare on a film*."
)


def page() -> None:
    """A form, or how far the visitor's job is, or what it found."""
    st.title("Batch")
    job = services.batch_desk().job(services.visitor())
    if job is None:
        form(services.require_runs())
    elif job.ended:
        ended(job)
    else:
        st.fragment(progress, run_every=1.0)()


def form(entries: Sequence[RunEntry]) -> None:
    """Ask for films and start."""
    st.write(WHAT_IT_DOES)
    root = films_root()
    source = UPLOAD
    if root is not None:
        source = st.segmented_control("Films", [UPLOAD, FOLDER], default=UPLOAD, key="batch_from", required=True)
    with st.form("batch", border=False, enter_to_submit=False):
        typed, given, own_key = "", [], True
        if source == FOLDER and root is not None:
            typed = st.selectbox(
                "Folder, with all that lies below it: choose one, or type its path below the films' folder",
                [WHOLE, *services.film_folders(str(root))],
                accept_new_options=True,
                key="batch_folder",
            )
            if services.shared_key() is not None:
                own_key = not st.checkbox(
                    "Results are to join with other tables of this server", key="batch_shared_key",
                    help="Hashes are then made with the key of the runs' folder: the same patient has the same hash in all "
                    "its tables. Else the key is made for this job and thrown away.",
                )  # fmt: skip
        else:
            given = st.file_uploader(
                "DICOM films; they stay in memory and are never written",
                accept_multiple_files=True,
                key="batch_uploads",
            )
            st.caption(
                "Results call them film 1, film 2, ... in the order of upload, which is that of their names where you choose "
                "all at once. Their names are used for nothing."
            )
        policy = options()
        names = ", ".join(entry.name for entry in entries)
        st.caption(f"Checkpoints, from the sidebar: {names}.")
        wanted = st.form_submit_button("Score", icon=":material/play_arrow:")
    if root is None:
        st.caption(
            "Only uploads: no folder of this server is open to visitors. An administrator opens one by starting the app with "
            f"the environment variable {VARIABLE} set to it; the names of its sub-folders are then shown to every visitor."
        )
    if not wanted:
        return
    try:
        films: Folder = LocalFolder(confined(root, typed)) if source == FOLDER and root is not None else uploads(given)
        start(entries, films, policy, own_key)
    except (FilmsFolderError, JobError) as error:
        st.error(str(error), icon=":material/error:")
        return
    st.rerun()


def options() -> DicomPolicy:
    """Which films are admitted, in plain words."""
    default = DicomPolicy()
    with st.expander("Which films are scored"):
        views = st.multiselect(
            "Views, as the header says; the checkpoints learnt from frontal films",
            list(VIEWS),
            default.views,
            format_func=lambda name: VIEWS[name],
            key="batch_views",
        )
        modalities = st.multiselect(
            "Modalities", list(MODALITIES), default.modalities, format_func=lambda name: MODALITIES[name],
            key="batch_modalities",
        )  # fmt: skip
        anywhere = st.checkbox("Also films that state another part of the body than the chest", key="batch_parts")
        raw = st.checkbox(
            "Also films marked FOR PROCESSING: their pixels are the detector's own, unlike any film of the training",
            key="batch_raw",
        )
    parts = (*default.body_parts, "OTHER") if anywhere else default.body_parts
    return DicomPolicy(modalities=tuple(modalities), views=tuple(views), body_parts=parts, for_processing=raw)


def uploads(found: Sequence[object]) -> Uploads:
    """The visitor's files, nameless; raises JobError for none or too many."""
    if not found:
        raise JobError("Choose some films first.")
    if len(found) > MOST_UPLOADS:
        raise JobError(f"{len(found)} films: upload {MOST_UPLOADS} at most at a time.")
    if sum(file.size for file in found) > MOST_BYTES:  # type: ignore[attr-defined]
        raise JobError(
            f"These films have more than {MOST_BYTES >> 30} GiB: upload fewer at a time, or ask for a folder."
        )
    return Uploads([file.getvalue() for file in found])  # type: ignore[attr-defined]


def start(entries: Sequence[RunEntry], films: Folder, policy: DicomPolicy, own_key: bool) -> None:
    """Hand the job in; raises JobError."""
    if not policy.views or not policy.modalities:
        raise JobError("No film would be scored: choose a view and a modality.")
    notice = services.RESEARCH_ONLY
    if any(entry.synthetic for entry in entries):
        notice = f"{notice} {services.SYNTHETIC}"
    runs = {entry.name: entry.folder.resolve() for entry in entries}
    key = None if own_key else services.shared_key()
    request = Request(films, runs, policy, isinstance(films, Uploads), notice, key)
    services.batch_desk().submit(services.visitor(), BatchJob(request, services.presence()))


def progress() -> None:
    """How far the job is, once a second; the page is drawn anew at its end."""
    desk = services.batch_desk()
    job = desk.job(services.visitor())
    if job is None or job.ended:
        st.rerun()
        return
    before = desk.before(job)
    if job.phase == "waiting":
        others = "another job" if before == 1 else f"{before} other jobs"
        st.info(
            f"Your films wait for {others}: the server scores one job at a time. Yours starts by itself.",
            icon=":material/hourglass_top:",
        )
    elif job.phase == "loading":
        st.progress(0.0, f"{job.total:,} files; loading the checkpoints" if job.total else "Listing the files")
    elif job.phase == "collecting":
        st.progress(1.0, "Writing the tables")
    else:
        st.progress(job.done / max(job.total, 1), f"{job.done:,} of {job.total:,} files")
    if job.counts:
        figures(job.total, job.counts)
    if job.stopping:
        st.button("Stopping", disabled=True, icon=":material/stop:", key="batch_stopping")
    elif st.button("Stop", icon=":material/stop:", key="batch_stop", help="What is finished is kept."):
        desk.cancel(job)
        st.rerun()
    st.caption("You can go to other pages and come back. Reloading the browser page or closing it gives the job up.")


def figures(total: int, counts: dict[str, int]) -> None:
    """Counts that add up."""
    columns = st.columns(4)
    columns[0].metric("files with a result" if sum(counts.values()) != total else "files", f"{sum(counts.values()):,}")
    for (status, count), column in zip(counts.items(), columns[1:], strict=True):
        column.metric(status, f"{count:,}")


def ended(job: BatchJob) -> None:
    """What the job found, and what it didn't."""
    if st.button("Score other films", icon=":material/restart_alt:", key="batch_again", help="Drops these results."):
        services.batch_desk().forget(services.visitor())
        st.rerun()
    if job.error:
        st.error(job.error, icon=":material/error:")
    if job.cancelled:
        st.warning(
            f"Stopped: {job.done:,} of {job.total:,} files have a result."
            if job.done
            else "Stopped before any file was read.",
            icon=":material/stop_circle:",
        )
    elif job.error and job.done:
        st.write(f"{job.done:,} of {job.total:,} files have a result.")
    found = job.results
    if found is None:
        return
    figures(job.total, found.statuses)
    if found.inverted:
        st.warning(
            f"{found.inverted:,} scored films look inverted (air bright). Scores of inverted films mean nothing."
        )
    downloads(job)
    if len(found.predictions):
        st.subheader("By source")
        st.dataframe(found.sources, hide_index=True, column_config=run_columns(found.runs, "mean score", "calls"))
        positives = " or ".join(dict.fromkeys(found.positive))
        st.caption(
            f"A source is an institution, A being that of the most films. Scores are of {positives}; calls are films at or "
            f"above the threshold of the checkpoint. Checkpoints: {', '.join(found.runs)}."
        )
        st.subheader("Scores")
        st.dataframe(found.predictions, hide_index=True, column_config=run_columns(found.runs, "score", "called"))
    files(found)
    where = "Films are numbered in the order of upload." if job.uploaded else "Rows count the files from 0, by name."
    key = (
        "Hashes are made with a key of this job alone, which is kept nowhere: they join with no other table."
        if job.own_key
        else "Hashes are made with the key of the runs' folder, and join with the tables below it."
    )
    st.caption(f"{where} {key}")


def files(found: "BatchResults") -> None:
    """What became of each file."""
    st.subheader("Files")
    others = found.counts[found.counts["status"] != "scored"]
    shown = found.files
    if len(others):
        st.dataframe(others, hide_index=True, width="content")
        which = st.segmented_control("Show", [NOT_SCORED, ALL], default=NOT_SCORED, key="batch_show", required=True)
        if which == NOT_SCORED:
            shown = shown[shown["status"] != "scored"]
    st.dataframe(
        shown.fillna(""), hide_index=True, column_config={"message": st.column_config.TextColumn(width="large")}
    )


def run_columns(runs: Sequence[str], score: str, call: str) -> dict[str, ColumnConfig]:
    """Headings of two columns a run."""
    config: dict[str, ColumnConfig] = {}
    for run, short in zip(runs, short_names(runs), strict=True):
        behind = f" · {short}" if short else ""
        config[run] = st.column_config.NumberColumn(f"{score}{behind}", format="%.3f", help=run)
        config[f"call: {run}"] = config[f"called: {run}"] = st.column_config.Column(f"{call}{behind}", help=run)
    return config


def short_names(runs: Sequence[str]) -> list[str]:
    """Names of runs without the parts that all have: `covid-erm-resnet18-s0` and `covid-end-resnet18-s0` are erm and end."""
    parts = [run.split("-") for run in runs]
    if len({len(words) for words in parts}) != 1:
        return list(runs)
    differs = [len(set(words)) > 1 for words in zip(*parts, strict=True)]
    return ["-".join(word for word, kept in zip(words, differs, strict=True) if kept) for words in parts]


def downloads(job: BatchJob) -> None:
    """The tables to take away."""
    found = job.results
    assert found is not None
    offers = [
        ("predictions.csv", found.predictions_csv, "text/csv", "A row a film and checkpoint"),
        ("files.csv", found.files_csv, "text/csv", "A row a file: what became of it and what is known of it"),
        ("batch-parquet.zip", found.parquet, "application/zip", "Both tables as Parquet"),
    ]
    with st.container(horizontal=True):
        for name, content, kind, what in offers:
            st.download_button(name, content, name, kind, icon=":material/download:", help=what, on_click="ignore")


page()
