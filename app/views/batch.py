"""Batch: a folder of the server or many uploads, scored in the background by the chosen checkpoints."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.jobs.batch_job import BatchJob, JobError
from app.jobs.batch_request import Request
from app.jobs.batch_uploads import Uploads
from app.jobs.film_folders import VARIABLE, WHOLE, FilmsFolderError, confined, films_root, names_no_folder
from app.services import answers, batches
from app.services.runs import RESEARCH_ONLY, label, require_runs, synthetic_notice
from app.services.visit import has_own_threshold, threshold_of
from app.views.batch_outcome import counts, outcome
from app.views.compare_uploads import base_name
from datasets.film.admission import policy_of
from datasets.film.folder import Folder, LocalFolder
from datasets.film.policy import DicomPolicy
from datasets.film.words import WordsError
from training.run.index import RunEntry

UPLOAD, FOLDER = "Upload", "A folder of this server"
MOST_BYTES = 2 << 30  # of a job's uploads, which wait in memory
MOST_UPLOADS = 500
VIEWS = {
    "PA": "PA",
    "AP": "AP",
    "FRONTAL": "frontal, PA or AP",
    "UNKNOWN": "not stated, or not understood",
    "LATERAL": "lateral",
    "DECUBITUS": "decubitus (lying on a side)",
    "OTHER": "any other",
}
MODALITIES = {
    "CR": "CR: computed radiography",
    "DX": "DX: digital radiography",
    "RG": "RG: radiographic imaging",
    "RF": "RF: fluoroscopy",
    "SC": "SC: secondary capture",
    "OT": "OT: other",
    "UNKNOWN": "not stated",
}
NAMES = (
    "File names may name patients. With this the results name each film by its file, to join them to your own table. "
    "Without it uploads are film 1, film 2, ... in the order of upload (by name, if you choose all at once), and the files "
    "of a folder are numbered in the order of their names."
)
WHAT_IT_DOES = (
    "Scores many DICOM films with the chosen checkpoints, exactly as the command line does. Every file becomes a row: "
    "scored, or why not. PNG and JPEG films go to *Compare on a film*."
)


def page() -> None:
    """A form, or how far the visitor's job is, or its results."""
    st.title("Batch")
    job = batches.batch_desk().job(batches.visitor())
    if job is None:
        form(require_runs())
    elif job.ended:
        outcome(job)
    else:
        st.fragment(progress, run_every=1.0)()


def form(entries: Sequence[RunEntry]) -> None:
    """Ask for films and start."""
    st.write(WHAT_IT_DOES)
    root = films_root()
    source = UPLOAD
    if root is not None:
        source = st.segmented_control("Films", [UPLOAD, FOLDER], default=UPLOAD, key="batch_from", required=True)
    folder = root if source == FOLDER else None
    with st.form("batch", border=False, enter_to_submit=False):
        typed, files, own_key = "", [], True
        if folder is not None:
            what = "Folder, with all that lies below it: choose one, or type its path below the films' folder"
            names = [WHOLE, *batches.film_folders(folder)]
            typed = st.selectbox(what, names, accept_new_options=True, key="batch_folder")
            if batches.shared_key() is not None:
                own_key = not st.checkbox(
                    "Results are to join with other tables of this server", key="batch_shared_key",
                    help="Hashes are then made with the key of the runs' folder: the same patient has the same hash in all "
                    "its tables. Else a new key is made for this job and thrown away.",
                )  # fmt: skip
        else:
            what = "DICOM films; they stay in memory and are never written"
            files = st.file_uploader(what, accept_multiple_files=True, key="batch_uploads")
        named = st.checkbox("File names in the results", key="batch_names", help=NAMES)
        policy = options()
        calls = [f"{label(entry)}{answers.threshold_in_words(entry)}" for entry in entries]
        st.caption(f"Checkpoints, from the sidebar, with the thresholds of their calls: {'; '.join(calls)}.")
        submitted = st.form_submit_button("Score", icon=":material/play_arrow:")
    if names_no_folder():
        st.warning(
            f"Only uploads: the environment variable {VARIABLE} is set, but the folder that it names is not there or is no "
            "folder. An administrator corrects it and starts the app again."
        )
    elif root is None:
        st.caption(
            "Only uploads: no folder of this server is open to visitors. An administrator opens one by starting the app with "
            f"the environment variable {VARIABLE} set to it; the names of its sub-folders are then shown to every visitor."
        )
    if not submitted or policy is None:
        return
    try:
        films: Folder = LocalFolder(confined(folder, typed)) if folder is not None else uploads(files)
        own = [base_name(file.name) for file in files] if named and folder is None else None
        start(entries, films, policy, own_key, named, own)
    except (FilmsFolderError, JobError) as error:
        st.error(str(error), icon=":material/error:")
        return
    st.rerun()


def options() -> DicomPolicy | None:
    """Which films are admitted, in plain words; None, and a sentence on the page, where that can't be."""
    default = DicomPolicy()
    with st.expander("Which films are scored"):
        what = "Views, as the header says; the checkpoints were trained on frontal films"
        views = several(what, VIEWS, default.views, "batch_views")
        modalities = several("Modalities", MODALITIES, default.modalities, "batch_modalities")
        anywhere = st.checkbox("Also films that state another part of the body than the chest", key="batch_parts")
        what = "Also films marked FOR PROCESSING: raw pixels of the detector, unlike any film of the training"
        raw = st.checkbox(what, key="batch_raw")
        damaged = st.checkbox("Also films of which a part is missing and was guessed", key="batch_damaged")
        what = "What your hospital's own texts mean, as `W STD=PA, W SEIT=LATERAL` for the view"
        view_is = st.text_input(what, key="batch_view_is")
        body_part_is = st.text_input("and as `TRX=CHEST, VOET=OTHER` for the body part", key="batch_body_part_is")
    asked = {
        "body_part": "any" if anywhere else "chest",
        "presentation": "any" if raw else "presentation",
        "accept_damaged": damaged,
        "view_is": view_is,
        "body_part_is": body_part_is,
    }
    try:
        return replace(policy_of(asked), views=tuple(views), modalities=tuple(modalities))
    except WordsError as error:
        st.error(str(error), icon=":material/error:")
        return None


def several(title: str, names: Mapping[str, str], first: Sequence[str], key: str) -> list[str]:
    """Any number of values by their names, each a button."""
    return st.pills(
        title, list(names), selection_mode="multi", default=list(first), format_func=names.__getitem__, key=key
    )


def uploads(files: Sequence[UploadedFile]) -> Uploads:
    """The visitor's files without their names; raises JobError for none or too many."""
    if not files:
        raise JobError("Choose some films first.")
    if len(files) > MOST_UPLOADS:
        raise JobError(f"{len(files)} films: upload {MOST_UPLOADS} at most at a time.")
    if sum(file.size for file in files) > MOST_BYTES:
        raise JobError(
            f"These films have more than {MOST_BYTES >> 30} GiB: upload fewer at a time, or ask for a folder."
        )
    return Uploads([file.getvalue() for file in files])


def start(
    entries: Sequence[RunEntry],
    films: Folder,
    policy: DicomPolicy,
    own_key: bool,
    named: bool,
    names: Sequence[str] | None,
) -> None:
    """Submit the job; raises JobError. `named` asks for the films' own names, which are `names` for uploads."""
    if not policy.views or not policy.modalities:
        raise JobError("No film would be scored: choose a view and a modality.")
    synthetic = [entry for entry in entries if entry.synthetic]
    notice = f"{RESEARCH_ONLY} {synthetic_notice(synthetic, entries)}" if synthetic else RESEARCH_ONLY
    notice = notice.replace("\\", "")  # escapes of Markdown
    runs = {entry.name: entry.folder.resolve() for entry in entries}
    key = None if own_key else batches.shared_key()
    thresholds = {entry.name: cast(float, threshold_of(entry)) for entry in entries if has_own_threshold(entry)}
    own_names = named and names is None
    labels = {entry.name: label(entry) for entry in entries}
    request = Request(
        films, runs, policy, isinstance(films, Uploads), notice, key, names, own_names, thresholds, labels
    )
    batches.batch_desk().submit(batches.visitor(), BatchJob(request, batches.presence()))


def progress() -> None:
    """How far the job is, once a second; at its end the whole page is drawn again."""
    desk = batches.batch_desk()
    job = desk.job(batches.visitor())
    if job is None or job.ended:
        st.rerun()
        return
    if job.phase == "waiting":
        before = desk.before(job)
        others = "another job" if before == 1 else f"{before} other jobs"
        note = f"Your films wait for {others}: the server scores one job at a time. Yours starts by itself."
        st.info(note, icon=":material/hourglass_top:")
    elif job.phase == "loading":
        st.progress(0.0, f"{job.total:,} files; loading the checkpoints" if job.total else "Listing the files")
    elif job.phase == "collecting":
        st.progress(1.0, "Writing the tables")
    else:
        left = "" if job.seconds_left is None else f", {time_left(job.seconds_left)} left"
        st.progress(job.finished / max(job.total, 1), f"{job.finished:,} of {job.total:,} files{left}")
    if job.counts:
        counts(job.total, job.counts)
    if job.stopping:
        st.button("Stopping", disabled=True, icon=":material/stop:", key="batch_stopping")
    elif st.button("Stop", icon=":material/stop:", key="batch_stop", help="What is finished is kept."):
        desk.cancel(job)
        st.rerun()
    st.caption("You can go to other pages and come back. Reloading the browser page or closing it gives the job up.")


def time_left(seconds: float) -> str:
    """About how long, in words."""
    if seconds < 90:
        return f"about {max(10 * math.ceil(seconds / 10), 10)} s"
    return f"about {math.ceil(seconds / 60)} min"


page()
