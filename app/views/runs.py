"""Runs: what is in the folder, how it was trained, and what can't be used and why."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.drawing import checkpoint_charts
from app.drawing.markdown import escaped
from app.drawing.tables import decimals
from app.numbers import run_records
from app.services.runs import choose_one, list_runs, require_runs, runs_root
from training.run.index import RunEntry

CURVES, SETTINGS, CARD = "Training curves", "Settings", "Model card"
FIRST = st.column_config.TextColumn(pinned=True, width="medium")


def page() -> None:
    """The folder first, then the chosen runs."""
    st.title("Runs")
    entries = list_runs(runs_root())
    table, broken = run_records.usable_runs(entries), run_records.unusable_runs(entries)
    if len(table):
        columns, height = {"run": FIRST, **decimals(*run_records.HEADLINE)}, min(38 + 35 * len(table), 430)
        st.dataframe(table, hide_index=True, height=height, column_config=columns)
        st.caption(
            "AUROC: how well scores order films, 0.5 is chance; external films are from sources that training never saw. "
            "Conflicting accuracy: on test films whose label is not the usual one of their source in training, where a "
            "shortcut fails. Leak: how well the source can be predicted from the features of test films, beside what chance "
            "gives. An empty field is not known. Intervals are on the page Bias."
        )
        if "synthetic" in set(table["films"]):
            st.caption("Runs on synthetic films say nothing about any patient or hospital.")
    if len(broken):
        st.subheader("Not usable")
        st.table(broken.map(escaped).set_index("folder"))
        st.caption(
            "These look like runs and are not opened. Only safetensors files are ever read: a pickle can run code."
        )
    chosen = require_runs()
    st.subheader("Chosen checkpoints")
    part = st.segmented_control("Show", [CURVES, SETTINGS, CARD], default=CURVES, key="run_part", required=True)
    if part == CURVES:
        curves(chosen)
    elif part == SETTINGS:
        settings(chosen)
    else:
        card(chosen)


def curves(entries: Sequence[RunEntry]) -> None:
    """Small charts of all that was recorded, a line a run."""
    recorded = {entry.name: run_records.training_curves(entry.folder) for entry in entries}
    runs = [name for name, values in recorded.items() if len(values)]
    for name in recorded:
        if name not in runs:
            st.write(f"{escaped(name)} kept no record of its training (metrics.jsonl).")
    if not runs:
        return
    values = pd.concat([recorded[name].assign(run=name) for name in runs], ignore_index=True)
    st.altair_chart(checkpoint_charts.run_key(runs), width="stretch", alt="Colours and shapes of the runs")
    titles = run_records.panels(values)
    for start in range(0, len(titles), 3):
        for title, place in zip(titles[start : start + 3], st.columns(3), strict=False):
            place.markdown(f"**{escaped(title)}**")
            panel = values[values["panel"] == title]
            chart = checkpoint_charts.training_curve(panel, runs, from_zero=title in run_records.PAIRS.values())
            place.altair_chart(chart, width="stretch", alt=f"{title} over epochs, a line a run")
    unknown = [e.name for e in entries if e.name in runs and run_records.kept_epoch(e.folder) is None]
    ring = "The ring is the epoch whose weights were kept." if len(unknown) < len(runs) else ""
    if unknown:
        ring += f" Which epoch was kept is not known of {escaped(', '.join(unknown))}."
    st.caption(
        f"{ring} Terms are means over an epoch's batches, weighted as they enter the loss; lower is better. Pairs "
        "are those of a batch: R_perp uses those of one source, R_par those of one label from different sources; a term "
        "with few pairs is noise. Conflicting films have a label that is not the usual one of their source in training; the "
        "worst group is the label and source with the lowest accuracy. Validation calls the most probable class, so "
        "its accuracy can be below that at the fitted threshold. Scales start where the values do, those of pairs at 0."
    )


def settings(entries: Sequence[RunEntry]) -> None:
    """What the runs were trained with."""
    different = len(entries) > 1 and st.toggle("Only what differs", key="run_differs")
    table = run_records.settings_table(entries, bool(different)).reset_index()
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
        st.write(f"{escaped(entry.name)} has no model card yet. The audit writes it:")
        st.code(f"python -m training.evaluate {runs_root() / entry.name}", language=None)
        return
    with st.container(border=True):
        st.markdown(text)


page()
