"""What a batch job leaves: counts, scores, what became of each file, and the tables to take away."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import streamlit as st

from app.jobs.batch_job import BatchJob, JobError
from app.services import batches

if TYPE_CHECKING:  # batch_results imports torch
    from streamlit.elements.lib.column_types import ColumnConfig

    from app.jobs.batch_results import BatchResults

NOT_SCORED, ALL = "Not scored", "All"


def counts(total: int, statuses: dict[str, int]) -> None:
    """Number of files by status, and their sum: the number of all files at the end."""
    columns = st.columns(4)
    finished = sum(statuses.values())
    columns[0].metric("files" if finished == total else "files with a result", f"{finished:,}")
    for (status, count), column in zip(statuses.items(), columns[1:], strict=True):
        column.metric(status, f"{count:,}")


def outcome(job: BatchJob) -> None:
    """How the job ended, and its results."""
    if st.button("Score other films", icon=":material/restart_alt:", key="batch_again", help="Drops these results."):
        batches.batch_desk().forget(batches.visitor())
        st.rerun()
    if job.error:
        st.error(job.error, icon=":material/error:")
    if job.cancelled:
        st.warning(
            f"Stopped: {job.finished:,} of {job.total:,} files have a result."
            if job.finished
            else "Stopped before any file was read.",
            icon=":material/stop_circle:",
        )
    elif job.error and job.finished:
        st.write(f"{job.finished:,} of {job.total:,} files have a result.")
    results = job.results
    if results is None:
        return
    counts(job.total, results.statuses)
    again(job)
    if results.inverted:
        st.warning(
            f"{results.inverted:,} scored films look inverted (air bright). Scores of inverted films mean nothing."
        )
    unlike = int(results.predictions["warning"].str.contains("unlike").sum())
    if unlike:
        st.warning(
            f"{unlike:,} scored films are unlike the training films of a checkpoint: those scores mean little. Of films "
            "like the training films about 5 in 100 are flagged too."
        )
    downloads(results)
    st.caption(join_key(job))
    if len(results.predictions):
        st.header("Scores")
        config = run_columns(results.labels, "score", "called")
        config["warning"] = st.column_config.TextColumn("before you read the score")
        st.dataframe(results.predictions, hide_index=True, column_config=config)
        positives = " or ".join(dict.fromkeys(results.positive))
        own = [results.labels[run] for run in results.labels if run in job.thresholds]
        yours = f" That of {' and '.join(own)} is yours." if own else ""
        st.caption(
            f"Scores are of {positives}. A film at or above the threshold of the checkpoint is called so.{yours} "
            f"Checkpoints: {', '.join(results.labels)}."
        )
        st.header("By source", help="A source is an institution that the films state; A has the most films.")
        st.dataframe(results.sources, hide_index=True, column_config=run_columns(results.labels, "mean score", "calls"))
    files(results)


def again(job: BatchJob) -> None:
    """A button for files whose failure may pass."""
    if not job.may_pass:
        return
    what = "file" if job.may_pass == 1 else f"{job.may_pass:,} files"
    how = "Timed out, out of memory, unreadable at that moment, or a reader that crashed: the others fail each time."
    if st.button(f"Try {what} again", icon=":material/refresh:", key="batch_retry", help=how):
        try:
            batches.batch_desk().again(batches.visitor())
        except JobError as error:
            st.error(str(error), icon=":material/error:")
            return
        st.rerun()


def join_key(job: BatchJob) -> str:
    """How the tables join with others, in a line."""
    if job.named:
        where = "To join: `film` is your file's name" + ("." if job.uploaded else " with its path below the folder.")
    elif job.uploaded:
        where = "To join: `row` + 1 is the place in the order of upload."
    else:
        where = "To join: `row` counts the files of the folder from 0, by name."
    if job.uploaded or job.own_key:
        return f"{where} Hashes of patients are made with a key of this job alone, which is not kept."
    return f"{where} Hashes are made with the key of the runs' folder, and join with the tables below it."


def files(results: "BatchResults") -> None:
    """What became of each file."""
    st.header("Files")
    others = results.counts[results.counts["status"] != "scored"]
    table = results.files
    if len(others):
        st.dataframe(others, hide_index=True, width="content")
        which = st.segmented_control("Show", [NOT_SCORED, ALL], default=NOT_SCORED, key="batch_show", required=True)
        if which == NOT_SCORED:
            table = table[table["status"] != "scored"]
    st.dataframe(
        table.fillna(""), hide_index=True, column_config={"message": st.column_config.TextColumn(width="large")}
    )


def run_columns(labels: Mapping[str, str], score: str, call: str) -> "dict[str, ColumnConfig]":
    """Headings of two columns a run."""
    config: dict[str, ColumnConfig] = {}
    for run, short in labels.items():
        suffix = f" · {short}" if len(labels) > 1 else ""
        config[run] = st.column_config.NumberColumn(f"{score}{suffix}", format="%.3f", help=run)
        config[f"call: {run}"] = config[f"called: {run}"] = st.column_config.Column(f"{call}{suffix}", help=run)
    return config


def downloads(results: "BatchResults") -> None:
    """The tables to take away."""
    offers = [
        ("predictions.csv", results.predictions_csv, "text/csv", "A row a film and checkpoint"),
        ("files.csv", results.files_csv, "text/csv", "A row a file: what became of it and what is known of it"),
        ("batch-parquet.zip", results.parquet, "application/zip", "Both tables as Parquet"),
    ]
    with st.container(horizontal=True):
        for name, content, kind, what in offers:
            st.download_button(name, content, name, kind, icon=":material/download:", help=what, on_click="ignore")
