"""Disagreements: the films that the chosen checkpoints score most differently."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.drawing import pair_charts
from app.drawing.tables import decimals
from app.numbers.pairs import ERRORS, JUDGED, Pairing, RunFilms, by_source, keep, pair
from app.services import models
from app.services.runs import label, require_runs

MOST = 2000  # films in table and plot
GRID, PLOT_VIEW, TABLE_VIEW = "Films", "Plot", "Table"
TABLE, PLOT = "disagreement_table", "disagreement_plot"
# Widgets forget what was chosen when a film is opened on another page; what is kept beside them does not.
KEPT, SOURCES, SPLITS, ERROR = "disagreements", "disagreement_sources", "disagreement_sets", "disagreement_error"
VIEW = "disagreement_view"


def page() -> None:
    """Filters, counts by source, and the films; a film that is picked opens on the page Compare."""
    st.title("Disagreements")
    entries = require_runs(2)
    pairing = pair([RunFilms(label(e), models.positive(e), models.predictions(e)) for e in entries])
    for problem in pairing.problems:
        st.warning(problem, icon=":material/link_off:")
    if len(pairing.names) < 2:
        st.write("No two of the chosen runs can be paired: choose others that were trained on the same films.")
        return
    if pairing.films.empty:
        st.write("No test film is in all of these runs: choose runs of the same split.")
        return
    films = chosen_films(pairing.films)
    st.markdown(
        f"## {len(films):,} of {len(pairing.films):,} test and external films; "
        f"{films['apart'].sum():,} of them are called differently",
        help="Each checkpoint calls a film at its own threshold. The largest differences of the scores come first.",
    )
    if films.empty:
        st.info("No film passes these filters: choose more sources, another split or all films.")
        return
    counts = by_source(films, pairing.names)
    st.dataframe(counts, hide_index=True, width="content", column_config=decimals("mean difference", form="%.2f"))
    st.session_state[VIEW] = st.session_state.get(VIEW) or st.session_state[KEPT].get(VIEW, GRID)
    view = st.segmented_control("Show", [GRID, PLOT_VIEW, TABLE_VIEW], key=VIEW, required=True)
    st.session_state[KEPT][VIEW] = view
    order = [f"{split}-{row}" for split, row in zip(films["split"], films["row"], strict=True)]
    if view != GRID and len(films) > MOST:
        st.caption(f"Shown are the {MOST:,} with the largest differences.")
        films = films.head(MOST)
    if view == GRID:
        from app.views.disagreement_grid import grid  # imports torch: after the counts are there

        by_name = {label(entry): entry for entry in entries}
        picked = grid([by_name[name] for name in pairing.names], films)
    elif view == PLOT_VIEW:
        picked = plot(films, pairing, {label(entry): entry.header["threshold"] for entry in entries})
    else:
        picked = table(films, pairing.names)
    if picked is not None:
        st.session_state["open_film"], st.session_state["open_order"] = order[picked], order
        st.switch_page("views/compare.py")


def chosen_films(films: pd.DataFrame) -> pd.DataFrame:
    """The films that the visitor's filters leave."""
    kept = st.session_state.setdefault(KEPT, {})
    sources, splits = sorted(films["source"].unique()), [s for s in JUDGED if (films["split"] == s).any()]
    # What a widget starts with goes in by its key: a default that changes makes another widget, and forgets a click.
    for key, names in ((SOURCES, sources), (SPLITS, splits)):
        before = st.session_state.get(key, kept.get(key, names))
        st.session_state[key] = [name for name in before if name in names] or (names if before else [])
    st.session_state.setdefault(ERROR, kept.get(ERROR, ERRORS[0]))
    source = st.pills("Sources", sources, selection_mode="multi", key=SOURCES)
    left, right = st.columns(2)
    split = left.pills(
        "Sets",
        splits,
        selection_mode="multi",
        help="Test: other patients of the sources that the runs were trained on. External: sources they never saw.",
        key=SPLITS,
    )
    error = right.selectbox("Films", ERRORS, key=ERROR)
    kept.update({SOURCES: source, SPLITS: split, ERROR: error})
    return keep(films, source, split, error)


def plot(films: pd.DataFrame, pairing: Pairing, thresholds: dict[str, float | None]) -> int | None:
    """The first run's scores against another's; the place of the film that was clicked."""
    names, other = pairing.names, pairing.names[1]
    if len(names) > 2:
        other = st.segmented_control("First run against", names[1:], default=other, required=True)
    labels = sorted(pairing.films["label"].dropna().unique())
    axes = [pair_charts.Axis(f"score_{names.index(name)}", name, thresholds[name]) for name in (names[0], other)]
    chart = pair_charts.score_against_score(films, axes, labels)
    state = st.altair_chart(
        chart, width="stretch", key=PLOT, on_select="rerun", selection_mode=pair_charts.PICKED,
        alt="Scores of two runs against each other; the table has the same films",
    )  # fmt: skip
    st.caption(
        "A point is a film: on the diagonal both checkpoints give it the same score, far from it they disagree. "
        "Dashed: their thresholds; in the upper left and lower right quarter they call it differently. Click a point "
        "to open its film."
    )
    points = state.selection.get(pair_charts.PICKED, [])
    return int(films["row"].tolist().index(int(points[0]["row"]))) if points else None


def table(films: pd.DataFrame, names: Sequence[str]) -> int | None:
    """All films with all scores; the place of the film that was selected."""
    scores = {f"score_{i}": name for i, name in enumerate(names)}
    wrong = films["wrong"].map(lambda count: "no label" if pd.isna(count) else f"{count:.0f} of {len(names)}")
    columns = ["row", "spread", *scores, "source", "label", "wrong", "view", "age_band", "split"]
    state = st.dataframe(
        films.assign(wrong=wrong)[columns],
        hide_index=True,
        key=TABLE,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "row": st.column_config.NumberColumn("film", format="%d", help="Its row in the data of the first run."),
            "split": "set",
            "age_band": "age",
            "wrong": st.column_config.TextColumn(
                "called wrong", help="How many checkpoints, each at its own threshold."
            ),
            **decimals(spread="largest difference", **scores),
        },
    )
    named = named_films(films)
    what, inside = "Tick a row to open its film, or choose it here", "number of a film"
    typed = st.selectbox(what, range(len(named)), None, named.__getitem__, placeholder=inside, key="disagreement_film")
    ticked = state.selection.rows
    return int(ticked[0]) if ticked and ticked[0] < len(films) else typed


def named_films(films: pd.DataFrame) -> Sequence[str]:
    """The films as items of a list."""
    rows = films[["row", "source", "label"]].fillna("no label").itertuples(index=False)
    return [f"film {row} · {source} · {label}" for row, source, label in rows]


page()
