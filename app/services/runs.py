"""The folder of runs, and which of them are chosen in the sidebar for all pages."""

import itertools
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import streamlit as st

from app.drawing.markdown import escaped
from app.numbers.run_labels import run_labels
from app.numbers.run_records import in_training
from datasets.cohort.parquet_table import TableError
from training.run.checkpoint_header import CheckpointError
from training.run.index import RunEntry, run_index

RESEARCH_ONLY = "For research. Not a medical device; scores are model scores, not diagnoses."
SYNTHETIC = "SYNTHETIC images: these numbers say nothing about any patient or hospital."
IN_ADDRESS = "run"  # of the chosen runs, by name of their folders
# hash_funcs of a cache that is to notice when a run is trained again
BY_CHECKPOINT: dict[str | type[Any], Callable[[Any], Any]] = {RunEntry: lambda entry: (str(entry.folder), entry.stamp)}


def runs_root() -> Path:
    """The folder of runs: named after `--`, else in END_CXR_RUNS, else `runs`."""
    return Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("END_CXR_RUNS", "runs"))


@st.cache_data(ttl=5, show_spinner=False)
def list_runs(root: Path) -> list[RunEntry]:
    """All runs below the root, usable or not, as they were a few seconds ago at most."""
    return run_index(root)


def scoring_runs() -> dict[str, RunEntry]:
    """The runs that can score a chest film, by name."""
    return {entry.name: entry for entry in list_runs(runs_root()) if entry.usable and entry.films}


def labels() -> dict[str, str]:
    """Short names of all runs that can be loaded, by name; the same on every page."""
    return _labels([entry for entry in list_runs(runs_root()) if entry.usable])


def label(entry: RunEntry) -> str:
    """The short name of a run."""
    return labels().get(entry.name, entry.name)


@st.cache_data(max_entries=4, show_spinner=False, hash_funcs=BY_CHECKPOINT)
def _labels(entries: list[RunEntry]) -> dict[str, str]:
    return run_labels(entries)


def choose_runs() -> None:
    """Put the choice of checkpoints into the sidebar and into the page's address.

    The first choice of a visit is that of the address, so that a link opens a page with its runs.
    """
    runs, names = scoring_runs(), labels()
    if runs:
        # A choice survives only while its widget is drawn; what is kept beside it survives any page. It is no default: one
        # that changes makes another widget, which forgets every second click.
        linked = [name for name in st.query_params.get_all(IN_ADDRESS) if name in runs]
        kept = st.session_state.get("chosen_runs", linked or _first_pair(list(runs.values())))
        st.session_state["picked_runs"] = [name for name in st.session_state.get("picked_runs", kept) if name in runs]
        st.session_state["chosen_runs"] = chosen = st.sidebar.multiselect(
            "Checkpoints",
            list(runs),
            format_func=lambda name: names.get(name, name),
            help="Differences are from the first of them. The page's address holds them: a link opens it with the same runs.",
            placeholder="choose a run",
            key="picked_runs",
        )
        if st.query_params.get_all(IN_ADDRESS) != chosen:
            st.query_params[IN_ADDRESS] = chosen


def notice() -> None:
    """What every page says on top: for research, and which of the chosen runs are synthetic."""
    if synthetic := [entry for entry in chosen_runs() if entry.synthetic]:
        st.warning(f"{RESEARCH_ONLY} {synthetic_notice(synthetic, chosen_runs())}", icon=":material/science:")
    else:
        st.info(RESEARCH_ONLY, icon=":material/science:")


def synthetic_notice(synthetic: Sequence[RunEntry], among: Sequence[RunEntry]) -> str:
    """What must be said of runs that were trained on synthetic films: of all runs at once, else by name."""
    if len(synthetic) == len(among):
        return SYNTHETIC
    names = escaped(" and ".join(label(entry) for entry in synthetic))
    was, whose = ("was", "its") if len(synthetic) == 1 else ("were", "their")
    return f"{names} {was} trained on SYNTHETIC images: {whose} numbers say nothing about any patient or hospital."


def _first_pair(runs: list[RunEntry]) -> list[str]:
    """A plain run and its twin by another method, where there are such; else the first two."""
    shared = ("dataset", "model", "seed", "split_seed", "external_sources", "external_column", "redraw")
    for plain, twin in itertools.permutations(runs, 2):
        left, right = plain.header["settings"], twin.header["settings"]
        by_method = left.get("method") == "erm" and right.get("method") != "erm"
        if by_method and all(left.get(name) == right.get(name) for name in shared):
            return [plain.name, twin.name]
    return [entry.name for entry in runs[:2]]


def chosen_runs() -> list[RunEntry]:
    """The chosen runs, in the order of choice."""
    runs = scoring_runs()
    return [runs[name] for name in st.session_state.get("chosen_runs", []) if name in runs]


def require_runs(least: int = 1) -> list[RunEntry]:
    """The chosen runs; where there are too few, say what to do and end the page."""
    chosen = chosen_runs()
    if len(chosen) < least:
        if scoring_runs():
            st.write(f"Choose {'a checkpoint' if least == 1 else f'{least} checkpoints'} in the sidebar.")
        else:
            no_run_yet()
        st.stop()
    return chosen


def no_run_yet() -> None:
    """How the first runs are made, unless one is being trained."""
    st.header("No run yet")
    running = in_training(list_runs(runs_root()))
    if running:
        words = "; ".join(f"{entry.name}: {entry.training}" for entry in running)
        st.write(f"{escaped(words)}. Its curves are on the page Runs; the other pages open when it has finished.")
        return
    st.write(f"There is no trained run below `{runs_root()}`. This command trains two on synthetic films, in minutes:")
    command = "python -m training.train --dataset phantom --paired --output"
    st.code(f"{command} {shlex.quote(str(runs_root()))}", language=None, wrap_lines=True)


def choose_one(entries: list[RunEntry], key: str) -> RunEntry:
    """One of the chosen runs: asked for where there are several, the first until then."""
    if len(entries) == 1:
        return entries[0]
    runs, names = {entry.name: entry for entry in entries}, labels()
    name = st.segmented_control(
        "Checkpoint",
        list(runs),
        default=entries[0].name,
        format_func=lambda one: names.get(one, one),
        key=key,
        required=True,
    )
    return runs.get(str(name), entries[0])


@contextmanager
def broken_runs_in_words() -> Iterator[None]:
    """A checkpoint whose header is sound and whose weights or tables are not ends a page in a sentence."""
    try:
        yield
    except (CheckpointError, TableError, OSError) as error:
        # The texts of the others name files of the server.
        why = str(error).replace(f"{runs_root()}/", "") if isinstance(error, CheckpointError) else type(error).__name__
        st.error(f"A file of a chosen run can't be read: {why}. Choose other checkpoints.", icon=":material/error:")
