"""Runs: what is in the folder, how it was trained, what is in training, and what can't be used and why."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.drawing import checkpoint_charts
from app.drawing.markdown import escaped
from app.jobs.audit_job import command
from app.numbers import run_records
from app.services import visit
from app.services.runs import choose_one, chosen_runs, label, labels, list_runs, require_runs, runs_root
from training.run.index import RunEntry

CURVES, SETTINGS, CARD = "Training curves", "Settings", "Model card"
FIRST = st.column_config.TextColumn(pinned=True, width="medium")
POLL = 5.0  # seconds between two looks at a training under way
LONG = 12  # rows of a table that is scrolled
COLUMNS = 3  # of curves
HEADLINE = (
    "**AUROC**: how well scores order films, 0.5 is chance; external films are from sources that training never saw. "
    "**Conflicting accuracy**: on test films whose label is not the usual one of their source in training, where a shortcut "
    "fails. **Leak**: balanced accuracy with which the source is predicted from the features of test films. ± is the "
    "standard deviation over seeds. An empty field is not known. Intervals are on the page Bias."
)
PANELS = (
    "Terms are means over an epoch's batches, weighted as they enter the loss; lower is better. **Pairs** are those of a "
    "batch: R_perp uses those of one source, R_par those of one label from different sources; few pairs make a term noise. "
    "**Conflicting** films have a label that is not the usual one of their source in training; the **worst group** is the "
    "label and source with the lowest accuracy. Validation calls the most probable class, so its accuracy can be below that "
    "at the fitted threshold. Scales start where the values do, those of pairs at 0."
)


def page() -> None:
    """The folder first, then the chosen runs."""
    st.title("Runs", help=HEADLINE)
    entries = list_runs(runs_root())
    if any(entry.usable for entry in entries):
        listed(run_records.usable_runs(entries, labels()))
    running = run_records.in_training(entries)
    if running:
        st.header("In training", help=f"Looked at every {POLL:g} s. Nothing needs to be started again.")
        st.fragment(under_way, run_every=POLL)([entry.name for entry in running])
    broken = run_records.unusable_runs(entries)
    if len(broken):
        st.header("Not usable", help="Only safetensors files are ever read: a pickle can run code.")
        st.table(broken.map(escaped).set_index("folder"))
    if running and not chosen_runs():
        st.fragment(curves, run_every=POLL)([])
        return
    chosen = require_runs()
    st.header("Chosen checkpoints")
    part = visit.choice("run_part", [CURVES, SETTINGS, CARD], CURVES, "Show")
    if part == CURVES:
        st.fragment(curves, run_every=POLL if running else None)(chosen)
    elif part == SETTINGS:
        settings(chosen)
    else:
        card(chosen)


def listed(runs: pd.DataFrame) -> None:
    """All runs that can be loaded: filtered, sorted, seeds of one configuration together."""
    for key, first in (("run_filter", ""), ("run_order", "run"), ("run_seeds", True)):
        visit.restore(key, first)
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    words = left.text_input("Filter", key="run_filter", placeholder="method, network, data set, folder")
    order = right.selectbox("Sort by", ["run", *run_records.HEADLINE], key="run_order")
    together = runs["configuration"].duplicated().any() and st.toggle(
        "Seeds of one configuration together", key="run_seeds"
    )
    for key in ("run_filter", "run_order", "run_seeds"):
        visit.remember(key, st.session_state[key])
    shown = run_records.matching(runs, words)
    if shown.empty:
        st.write("No run matches the filter.")
        return
    shown = run_records.by_configuration(shown) if together else shown
    ascending = order == "run" or order in run_records.LOWER_IS_BETTER
    shown = shown.sort_values(order, ascending=ascending, kind="stable", na_position="last")
    with st.container(height=460 if len(shown) > LONG else "content", border=False):
        st.table(run_records.in_words(shown).map(escaped).set_index("run"))


def under_way(names: list[str]) -> None:
    """Trainings that have not finished, with their epoch; the page is drawn again when one has begun or ended."""
    running = run_records.in_training(list_runs(runs_root()))
    if [entry.name for entry in running] != names:
        st.rerun()
    for entry in running:
        training = entry.training
        if training is not None:
            share = training.done / training.epochs if training.epochs else 0.0
            words = f"{entry.name}: {training} · saved {training.minutes:.0f} min ago"
            st.progress(min(share, 1.0), text=escaped(words))


def curves(entries: Sequence[RunEntry]) -> None:
    """Small charts of all that was recorded, a line a run; runs in training are among them."""
    running = run_records.in_training(list_runs(runs_root()))
    folders = {label(entry): entry.folder for entry in [*entries, *running]}
    recorded = {name: run_records.training_curves(folder) for name, folder in folders.items()}
    runs = [name for name, values in recorded.items() if len(values)]
    growing = [label(entry) for entry in running]
    for name in recorded:
        if name not in runs:
            none = "has finished no epoch yet" if name in growing else "kept no record of its training (metrics.jsonl)"
            st.write(f"{escaped(name)} {none}.")
    if not runs:
        return
    values = pd.concat([recorded[name].assign(run=name) for name in runs], ignore_index=True)
    st.altair_chart(checkpoint_charts.run_key(runs), width="stretch", alt="Colours and shapes of the runs")
    ended = [name for name in runs if name not in growing]
    unknown = [name for name in ended if run_records.kept_epoch(folders[name]) is None]
    ring = "The ring is the epoch whose weights were kept." if len(unknown) < len(ended) else ""
    if unknown:
        ring += f" Which epoch was kept is not known of {escaped(', '.join(unknown))}."
    st.caption(ring or "No epoch is chosen yet.", help=PANELS)
    titles = run_records.panels(values)
    for start in range(0, len(titles), COLUMNS):
        for title, place in zip(titles[start : start + COLUMNS], st.columns(COLUMNS), strict=False):
            place.markdown(f"**{escaped(title)}**")
            panel = values[values["panel"] == title]
            chart = checkpoint_charts.training_curve(panel, runs, from_zero=title in run_records.PAIRS.values())
            place.altair_chart(chart, width="stretch", alt=f"{title} over epochs, a line a run")


def settings(entries: Sequence[RunEntry]) -> None:
    """What the runs were trained with."""
    different = len(entries) > 1 and st.toggle("Only what differs", key="run_differs")
    table = run_records.settings_table(entries, bool(different), labels()).reset_index()
    if table.empty:
        st.write("These runs have the same settings.")
    else:
        height = min(38 + 35 * len(table), 700)
        st.dataframe(table, hide_index=True, height=height, column_config={"setting": FIRST})
        st.caption("As kept in the checkpoint, which holds no path. “read” is how a film is prepared for the network.")


def card(entries: list[RunEntry]) -> None:
    """The model card of one run, or how to make it."""
    entry = choose_one(entries, "card_of")
    text = run_records.model_card(entry.folder)
    if text is None:
        st.write(f"{escaped(label(entry))} has no model card yet. The audit writes it:")
        st.code(command([runs_root() / entry.name]), language=None, wrap_lines=True)
        return
    with st.container(border=True):
        st.markdown(text)


page()
