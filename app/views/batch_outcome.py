"""What a batch job leaves: counts, scores, what became of each file, and the tables to take away."""

from typing import TYPE_CHECKING

import streamlit as st

from app.drawing.tables import score_and_call
from app.jobs.batch_job import BatchJob, JobError
from app.services import batches

if TYPE_CHECKING:  # batch_results imports torch
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
        scores(results)
        positives = " or ".join(dict.fromkeys(results.positive))
        own = [results.labels[run] for run in results.labels if run in job.thresholds]
        yours = f" That of {' and '.join(own)} is yours." if own else ""
        st.caption(
            f"Scores are of {positives}. A film at or above the threshold of the checkpoint is called so.{yours} "
            f"Checkpoints: {', '.join(results.labels)}."
        )
        st.header("By source", help="A source is an institution that the films state; A has the most films.")
        sources(results)
    files(results)


def scores(results: "BatchResults") -> None:
    """A row a film: what warns of its scores, then score and call of each run."""
    found, text = results.predictions, st.column_config.TextColumn
    warning, runs = found["warning"].str.replace("the training films of ", ""), ", ".join(results.labels.values())
    if len(results.labels) > 1:
        warning = warning.str.replace(f"unlike {runs}", "unlike all runs")
    table = found[["film", "source"]].assign(warning=warning)
    for run in results.labels:
        table[run] = score_and_call(found[run], found[f"call: {run}"])
    what = "Unlike: the film's features are farther from the training films than those of 95 % of validation films."
    config = {
        "film": text(width=130),
        "source": text(width=90),
        "warning": text(width=110, help=what),
    }
    config |= {run: text(short, width=112, help=f"Score and call of {run}.") for run, short in results.labels.items()}
    st.dataframe(table, hide_index=True, column_config=config)


def sources(results: "BatchResults") -> None:
    """A row a source: its films, then mean score and number of positive calls of each run."""
    found = results.sources
    table = found[["source", "films"]].copy()
    for run in results.labels:
        table[run] = found[run].map("{:.3f}, ".format) + found[f"called: {run}"].astype(str) + " called"
    config = {run: st.column_config.TextColumn(short, help=f"Mean score and positive calls of {run}.")
              for run, short in results.labels.items()}  # fmt: skip
    st.dataframe(table, hide_index=True, column_config=config)


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
        where = "To join: “film” is your file's name" + ("." if job.uploaded else " with its path below the folder.")
    elif job.uploaded:
        where = "To join: “row” + 1 is the place in the order of upload."
    else:
        where = "To join: “row” counts the files of the folder from 0, by name."
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
