"""What a batch job leaves: counts, scores, what became of each file, and the tables to take away."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from app.jobs.batch_job import BatchJob
from app.services import batches
from training.bias.report.headline import short_names

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
    if results.inverted:
        st.warning(
            f"{results.inverted:,} scored films look inverted (air bright). Scores of inverted films mean nothing."
        )
    downloads(results)
    if len(results.predictions):
        st.subheader("By source")
        st.dataframe(results.sources, hide_index=True, column_config=run_columns(results.runs, "mean score", "calls"))
        positives = " or ".join(dict.fromkeys(results.positive))
        st.caption(
            f"A source is an institution; A has the most films. Scores are of {positives}; calls are films at or "
            f"above the threshold of the checkpoint. Checkpoints: {', '.join(results.runs)}."
        )
        st.subheader("Scores")
        st.dataframe(results.predictions, hide_index=True, column_config=run_columns(results.runs, "score", "called"))
    files(results)
    where = "Films are numbered in the order of upload." if job.uploaded else "Rows count the files from 0, by name."
    key = (
        "Hashes are made with a key of this job alone, which is not kept: they join with no other table."
        if job.own_key
        else "Hashes are made with the key of the runs' folder, and join with the tables below it."
    )
    st.caption(f"{where} {key}")


def files(results: "BatchResults") -> None:
    """What became of each file."""
    st.subheader("Files")
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


def run_columns(runs: Sequence[str], score: str, call: str) -> "dict[str, ColumnConfig]":
    """Headings of two columns a run."""
    config: dict[str, ColumnConfig] = {}
    for run, short in short_names(runs).items():
        suffix = f" · {short}" if len(runs) > 1 else ""
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
