"""Threshold: what another operating point or prevalence would do, on validation films alone."""

from collections.abc import Mapping
from functools import partial

import pandas as pd
import streamlit as st

from app.drawing import checkpoint_charts
from app.drawing.markdown import escaped
from app.numbers import operating_point as numbers
from app.services import models
from app.services.runs import choose_one, require_runs
from training.bias.numbers.groups import ALL_FILMS
from training.bias.numbers.metrics import MINIMUM_PATIENTS, PredictionsError, roc_points
from training.bias.numbers.uncertainty import Interval
from training.run.index import RunEntry

METRICS = {"sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "npv": "NPV"}


def page() -> None:
    """One run at a time; the test set stays out of sight."""
    st.title("Threshold")
    entry = choose_one(require_runs(), "threshold_of")
    st.info(
        "Test and external films stay locked on this page. A threshold that was chosen by looking at them would fit them, "
        "and their results would look better than those of any film to come. Choose on validation films, then test once.",
        icon=":material/lock:",
    )
    predictions, positive = models.predictions(entry), models.positive(entry)
    own, classes = entry.header["threshold"], len(entry.header["info"]["targets"])
    if own is None or classes != 2:
        st.write(f"{escaped(entry.name)} has {classes} classes and calls the most probable: no threshold.")
        return
    if predictions is None:
        st.write(f"{escaped(entry.name)} kept no predictions of its films, so no threshold can be tried.")
        return
    validation = numbers.validation_films(predictions)
    try:
        curve = roc_points(validation, positive)
        presets = numbers.presets(validation, positive, own)
        st.fragment(controls)(entry, validation, positive, curve, presets)
    except PredictionsError as error:
        st.write(f"The validation films of {escaped(entry.name)} allow no threshold: {error}.")


def controls(
    entry: RunEntry, validation: pd.DataFrame, positive: str, curve: pd.DataFrame, presets: Mapping[str, float]
) -> None:
    """The two sliders, and all that follows from them."""
    key = f"threshold of {entry.name}"
    st.session_state.setdefault(key, presets[numbers.OWN])
    left, right = st.columns(2)
    what = f"Score from which a film is called {positive}"
    threshold = float(left.slider(what, 0.0, 1.0, step=0.001, format="%.3f", key=key))
    share = float((validation["target"] == positive).mean())
    start = min(max(round(200 * share) / 2, 0.5), 95.0)
    percent = right.slider(f"Prevalence of {positive}", 0.5, 95.0, start, 0.5, format="%.1f %%", key="prevalence")
    right.caption(f"Among validation films {100 * share:.0f} %; where a model is to be used it will be another.")
    with st.container(horizontal=True):
        for name, value in presets.items():
            title = f"{name[0].upper()}{name[1:]}: {value:.3f}"
            st.button(title, key=f"{key} {name}", on_click=partial(use, key, value))
    rates = models.threshold_effect(entry, threshold)
    table = numbers.at_prevalence(rates, percent / 100)
    everything = table.iloc[0]
    left, right = st.columns(2)
    chart = checkpoint_charts.operating_curve(curve, marks(rates))
    left.altair_chart(chart, width="stretch", alt="ROC curve of the validation films with the operating point marked")
    with right:
        for (name, title), place in zip(METRICS.items(), [*st.columns(2), *st.columns(2)], strict=True):
            value, low, high = everything[[name, f"{name}_low", f"{name}_high"]]
            place.metric(title, "–" if pd.isna(value) else f"{value:.3f}", border=True)
            interval = "no interval" if pd.isna(low) else f"95 %: {low:.3f} to {high:.3f}"
            place.caption("cannot conclude" if pd.isna(value) else interval)
        if everything[["sensitivity", "specificity"]].notna().all():
            st.write(numbers.in_a_thousand(everything["sensitivity"], everything["specificity"], percent / 100))
        st.caption(
            "ROC of all validation films: each threshold trades false alarms against films that are missed. The large "
            "diamond is the threshold above; smaller marks are where it puts each source that has enough patients."
        )
    by_source(table, positive, percent)
    st.markdown("To train with this operating point (nothing is set or written here):")
    st.code(f"python -m training.train ... {numbers.flag(validation, positive, threshold)}", language=None)
    st.caption(
        "Training fits its threshold on validation films: Youden's J (sensitivity + specificity - 1 as large as can be), or "
        "the highest threshold that reaches a sensitivity. The flag above is the nearest to the slider."
    )


def use(key: str, value: float) -> None:
    """Put the slider on a preset, to the last digit."""
    st.session_state[key] = value


def marks(rates: pd.DataFrame) -> pd.DataFrame:
    """Where the threshold lies on the ROC plane: over all films first, then for sources of enough patients."""
    table = rates.pivot(index="group", columns="metric", values="estimate").reindex(rates["group"].unique())
    measured = table.assign(false_positive_rate=1 - table["specificity"]).dropna().reset_index(names="what")
    return measured.replace({"what": {ALL_FILMS: "this threshold"}})


def by_source(table: pd.DataFrame, positive: str, percent: float) -> None:
    """Every number, overall and by source."""
    titles = {"group": "films of", "ill": f"with {positive}", "well": "without"}
    rows = table[["group", "films", "patients", "ill", "well"]].rename(columns=titles)
    for name, title in METRICS.items():
        bounds = table[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
        rows[title] = [f"{Interval(*values):.2f}" for values in bounds]
    st.dataframe(rows, hide_index=True)
    st.caption(
        f"Cannot conclude: fewer than {MINIMUM_PATIENTS} patients in the class that the number is about; PPV and NPV need "
        "both classes. In brackets 95 % intervals over patients."
    )
    st.caption(
        f"Sensitivity and specificity are measured; PPV and NPV are computed for a prevalence of {percent:g} % (Bayes' "
        f"rule). PPV, the share of calls of {positive} that are right: sensitivity x prevalence, divided by the same plus "
        "(1 - specificity) x (1 - prevalence). NPV, the share of other calls that are right: specificity x (1 - prevalence), "
        "divided by the same plus (1 - sensitivity) x prevalence."
    )


page()
