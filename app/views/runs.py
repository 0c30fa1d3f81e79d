"""Runs: what is in the folder, how it was trained, and what can't be used and why."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app import services
from app.drawing import checkpoint_charts
from app.drawing.audit_parts import escaped
from app.numbers.run_records import (
    HEADLINE,
    PAIRS,
    kept_epoch,
    model_card,
    panels,
    settings_table,
    training_curves,
    unusable_runs,
    usable_runs,
)
from training.run.index import RunEntry

CURVES, SETTINGS, CARD = "Training curves", "Settings", "Model card"


def page() -> None:
    """The folder first, then the chosen runs."""
    st.title("Runs")
    entries = services.runs(str(services.runs_root()))
    table, broken = usable_runs(entries), unusable_runs(entries)
    if len(table):
        st.dataframe(
            table,
            hide_index=True,
            height=min(38 + 35 * len(table), 430),
            column_config={
                "run": st.column_config.TextColumn(pinned=True, width="medium"),
                **{name: st.column_config.NumberColumn(format="%.3f") for name in HEADLINE},
            },
        )
        st.caption(
            "AUROC: how well scores order films, 0.5 is chance; external films are from sources that training never saw. "
            "Conflicting accuracy: on test films whose label is not the usual one of their source in training, where a "
            "shortcut fails. Leak: how well the source can be read off the features of test films, beside what chance would "
            "give. An empty field is not known. Intervals are on the page Bias."
        )
        if "synthetic" in set(table["films"]):
            st.caption("Runs on synthetic films say nothing about any patient or hospital.")
    if len(broken):
        st.subheader("Not usable")
        st.table(broken.map(escaped).set_index("folder"))
        st.caption(
            "These look like runs and are not opened. Only safetensors files are ever read: a pickle can run code."
        )
    chosen = services.require_runs()
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
    found = {entry.name: training_curves(entry.folder) for entry in entries}
    for name in [name for name, values in found.items() if values.empty]:
        st.write(f"{escaped(name)} kept no record of its training (metrics.jsonl).")
        del found[name]
    if not found:
        return
    runs = list(found)
    values = pd.concat([curve.assign(run=name) for name, curve in found.items()], ignore_index=True)
    st.altair_chart(checkpoint_charts.run_key(runs), width="stretch", alt="Colours and shapes of the runs")
    titles = panels(values)
    for start in range(0, len(titles), 3):
        for title, place in zip(titles[start : start + 3], st.columns(3), strict=False):
            place.markdown(f"**{escaped(title)}**")
            shown = values[values["panel"] == title]
            chart = checkpoint_charts.training_curve(shown, runs, from_zero=title in PAIRS.values())
            place.altair_chart(chart, width="stretch", alt=f"{title} over epochs, a line a run")
    kept = [name for name in runs if kept_epoch(next(e.folder for e in entries if e.name == name)) is None]
    ring = "The ring is the epoch whose weights were kept." if len(kept) < len(runs) else ""
    unknown = f" Which epoch was kept is not known of {escaped(', '.join(kept))}." if kept else ""
    st.caption(
        f"{ring}{unknown} Terms are means over an epoch's batches, weighted as they enter the loss; lower is better. Pairs "
        "are those of a batch: R_perp sees films of one source, R_par films of one label from different sources; a term "
        "that sees few is noise. Conflicting films have a label that is not the usual one of their source in training; the "
        "worst group is the label and source with the lowest accuracy. Validation calls the most probable class, so that "
        "its accuracy can be below that at the fitted threshold. Scales start where the values do, those of pairs at 0."
    )


def settings(entries: Sequence[RunEntry]) -> None:
    """What the runs were trained with."""
    different = len(entries) > 1 and st.toggle("Only what differs", key="run_differs")
    table = settings_table(entries, bool(different))
    if table.empty:
        st.write("These runs have the same settings.")
    else:
        st.dataframe(
            table.reset_index(),
            hide_index=True,
            height=min(38 + 35 * len(table), 700),
            column_config={"setting": st.column_config.TextColumn(pinned=True, width="medium")},
        )
        st.caption("As kept in the checkpoint, which holds no path. “read” is how a film is prepared for the network.")


def card(entries: Sequence[RunEntry]) -> None:
    """The model card of one run, or how to make it."""
    entry = entries[0]
    if len(entries) > 1:
        names = {each.name: each for each in entries}
        chosen = st.segmented_control("Checkpoint", list(names), default=entry.name, key="card_of", required=True)
        entry = names.get(str(chosen), entry)
    text = model_card(entry.folder)
    if text is None:
        st.write(f"{escaped(entry.name)} has no model card yet. The audit writes it:")
        st.code(f"python -m training.evaluate {services.runs_root() / entry.name}", language=None)
        return
    with st.container(border=True):
        st.markdown(text)


page()
