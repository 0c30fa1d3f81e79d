"""The parts of an audit below its first screen: answers, evidence, groups, curves, leakage, shortcuts, films, differences."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from app.drawing import audit_charts
from app.drawing.audit_answer import coloured
from app.drawing.audit_charts import NOT_KNOWN
from app.drawing.markdown import escaped
from app.drawing.tables import NO_BREAK, decimals
from app.numbers.audit import ALL_FILMS, METRICS, Audit, by_group, differences, gaps_of, leak_changes, leaks
from training.bias.report import figures
from training.bias.report.first_screen import first_screen

INTERVAL = ("difference", "low", "high")
WHY = {"note": st.column_config.TextColumn("why there is no number", width="large")}


def answers(audit: Audit) -> None:
    """All questions with each run's answer, and the paired differences: sentences and table of the report."""
    if audit.verdict is None:
        return
    screen = first_screen(audit.verdict)
    st.markdown(" ".join(escaped(sentence) for sentence in (screen.headline, *screen.others)))
    coloured(screen)
    for note in screen.notes:
        st.caption(escaped(note))


def evidence(audit: Audit) -> None:
    """Each question about one run with its answer and the numbers behind it."""
    run = audit.runs[0]
    if len(audit.runs) > 1:
        names = [run.name for run in audit.runs]
        name = st.segmented_control("Run", names, default=names[0], key="evidence_of", required=True)
        run = next((run for run in audit.runs if run.name == name), run)
    lines = ["| question | answer | evidence |", "|---|---|---|"]
    for name, answer, words in run.checks[["name", "answer", "evidence"]].to_numpy():
        lines.append(f"| {escaped(name)} | {answer.replace(' ', NO_BREAK)} | {escaped(words)} |")
    st.markdown("\n".join(lines))
    for note in run.notes:
        st.caption(f"Note: {note.rstrip('.')}.")


def groups(audit: Audit) -> None:
    """A metric by group, drawn and as a table."""
    known = list(dict.fromkeys(name for run in audit.runs for name in run.groups))
    left, right = st.columns(2)
    by = left.selectbox(
        "Groups",
        known,
        index=known.index("source") if "source" in known else 0,
        format_func=lambda name: {"alignment": "follows its source's usual label or not"}.get(name, spaced(name)),
        key="group_by",
    )
    measured = pd.concat([run.groups[by].values for run in audit.runs if by in run.groups])
    with right:
        metric = choose_metric(measured, "group_metric")
    values = by_group(audit, by, metric)
    if values["estimate"].isna().all():
        st.info(
            f"No group here has ten patients in every class that {METRICS[metric]} needs: nothing can be concluded."
        )
    else:
        overall = values[values["group"] == ALL_FILMS]["estimate"]
        reference = float(overall.iloc[0]) if len(audit.runs) == 1 and overall.notna().all() else None
        st.altair_chart(audit_charts.forest(values, METRICS[metric], reference), width="stretch")
    st.caption(
        "A dot is the value in a group, the line its 95 % interval over patients: groups whose lines overlap widely "
        "may be alike. Values are from 0 to 1, at each run's own threshold"
        + (", smaller is better." if "↓" in METRICS[metric] else ", larger is better.")
    )
    for gap in gaps_of(audit, by, metric).to_dict("records"):
        st.markdown(f"**{escaped(gap['run'])}**: {escaped(gap_words(gap))}")
    table = values[["group", "run", "films", "patients", "estimate", "low", "high", "note"]]
    draw(table.fillna({"note": ""}), decimals("estimate", "low", "high") | WHY)


def choose_metric(table: pd.DataFrame, key: str) -> str:
    """One of the metrics of a table."""
    metrics = [name for name in METRICS if name in set(table["metric"])]
    return st.selectbox("Metric", metrics, format_func=METRICS.__getitem__, key=key)


def gap_words(gap: dict) -> str:
    """How far groups of one run are apart, in a sentence."""
    if pd.isna(gap["difference"]):
        return f"{gap['note'] or NOT_KNOWN}."
    sentence = (
        f"{gap['worst_group']} ({gap['worst']:.3f}) and {gap['best_group']} ({gap['best']:.3f}) differ by "
        f"{gap['difference']:.3f} ({gap['low']:.3f} to {gap['high']:.3f}); "
        f"{gap['groups_measured']:.0f} of {gap['groups']:.0f} groups measured."
    )
    return sentence if gap["low"] > 0 else sentence + " No two groups differ demonstrably."


def spaced(name: str) -> str:
    """A name of a column as words."""
    return name.replace("_", " ")


def draw(table: pd.DataFrame, columns: dict) -> None:
    """A table with a dash in place of NaN, without notes where there are none; headings and formats by column."""
    if "note" in table and not table["note"].fillna("").any():
        table = table.drop(columns="note")
    st.dataframe(table, hide_index=True, placeholder="–", column_config=columns)


def curves(audit: Audit) -> None:
    """ROC and reliability, all films and each source."""
    for run in audit.runs:
        st.markdown(f"**{escaped(run.name)}**")
        left, right = st.columns(2)
        if len(run.roc):
            left.altair_chart(audit_charts.square(figures.roc(run.roc), run.roc["group"].nunique()), width="stretch")
        else:
            left.info("No ROC curve: no source has ten patients in both classes.")
        if len(run.reliability):
            chart = figures.reliability(run.reliability)
            right.altair_chart(audit_charts.square(chart, run.reliability["group"].nunique()), width="stretch")
        else:
            right.info("No reliability curve: no group has films of both classes.")
        inside = run.within_sources
        if inside.get("estimate") is not None:
            st.write(
                f"AUROC over pairs of films of one source: {inside['estimate']:.3f} "
                f"({inside['low']:.3f} to {inside['high']:.3f}). Telling sources apart gains nothing here."
            )
    st.caption(
        "Left, ROC: how many positives are found (upwards) for how many false alarms (rightwards), at every threshold; on "
        "the dotted diagonal a model guesses. Right, reliability: how often films of a score are positive; on the diagonal a "
        "score of 0.8 means 80 of 100. Above it scores are too low, below it too high. Sources without ten patients of both "
        "classes have no ROC curve; points of fewer than ten films are not drawn."
    )


def leakage(audit: Audit) -> None:
    """How well the source and other attributes can be predicted from the features, and how runs differ."""
    table = leaks(audit)
    if table.empty:
        st.info("No attribute was probed: the films have one source, or none is recorded.")
        return
    if table["estimate"].notna().any():
        chart = audit_charts.forest(table, "predicted from the features (0 by chance, 1 always right)", 0.0)
        st.altair_chart(chart, width="stretch")
    st.caption(
        "A second, small model (a probe) predicts the attribute from the checkpoint's features, among films of one label, "
        "and is tested on other patients. Leak 0: no better than guessing; 1: always right. A debiased model should be "
        "nearer to 0."
    )
    changes = leak_changes(audit)
    if len(changes):
        st.markdown("**Before and after: the first run of this audit against the others**")
        verdicts = np.select([changes["high"] < 0, changes["low"] > 0], ["less", "more"], NOT_KNOWN)
        words = changes.assign(attribute=changes["attribute"].map(spaced), verdict=verdicts)
        draw(
            words[["attribute", "other", *INTERVAL, "verdict", "detectable"]],
            {"other": "run", "verdict": "leaks"} | decimals(*INTERVAL, form="%+.3f") | decimals("detectable"),
        )
        st.caption(
            "Balanced accuracy of the linear probe, run minus first run, with its 95 % interval. Detectable: the "
            "smallest difference that so many patients would show in four of five such studies."
        )
    draw(
        table.rename(columns={"group": "attribute", "leak": "balanced accuracy"}).drop(columns=["low", "high", "note"]),
        decimals("balanced accuracy", "chance", "p", estimate="leak"),
    )
    for attribute, note in dict.fromkeys(zip(table["group"].str.split(",").str[0], table["note"], strict=True)):
        if note:
            st.caption(f"{escaped(attribute.capitalize())}: {escaped(note)}")


def shortcuts(audit: Audit) -> None:
    """How well scores tell the label, and the usual label of the source, of films with parts taken away."""
    drawn = [run for run in audit.runs if len(run.shortcuts)]
    if not drawn:
        st.info("This audit was made without the films with parts taken away (--no-shortcuts).")
        return
    ink = "#ddd" if st.context.theme.type == "dark" else "#333"
    for run in drawn:
        st.markdown(f"**{escaped(run.name)}**")
        known = run.shortcuts.dropna(subset=["estimate"])
        if len(known):
            height = 34 * known["shortcut"].nunique()
            st.altair_chart(audit_charts.with_legend_below(figures.shortcuts(known, ink), height, 2), width="stretch")
        for sentence in run.findings:
            st.markdown(f"- {escaped(sentence)}")
        unknown = run.shortcuts[run.shortcuts["estimate"].isna()]
        if len(unknown):
            names = ", ".join(dict.fromkeys(unknown["shortcut"].map(spaced)))
            st.caption(f"Cannot conclude (too few patients): {names}.")
    st.caption(
        "Bars start at 0.5, which is guessing. “Label”: how well the score still tells the label; where it does so "
        "without the lungs, it does not read the disease. “Usual label”: how well it tells which label is usual "
        "at the film's source, among films of one label; above 0.5 it follows the source. Lines are 95 % intervals."
    )


def films(audit: Audit) -> None:
    """The source x label table, and how well metadata alone predict the label."""
    tables: list[pd.DataFrame] = []
    for run in audit.runs:
        if any(run.cells.equals(table) for table in tables):
            continue
        tables.append(run.cells)
        st.markdown("**Films by source and label**" + ("" if len(tables) == 1 else f", {escaped(run.name)}"))
        st.dataframe(run.cells, hide_index=True)
    st.caption(
        "An empty cell is a question that these films can't answer: where a source has one label only, a model that "
        "knows the source knows the label, and no interval shows it."
    )
    risks = [run.fields for run in audit.runs if len(run.fields)]
    if risks:
        st.markdown("**What a model could know without looking at the film**")
        table = risks[0]
        draw(
            table[["field", "auroc", "low", "high", "cramers_v", "missing", "verdict"]],
            decimals("low", "high", "missing", auroc="AUROC", cramers_v="Cramér's V"),
        )
        for sentence in table["sentence"]:
            st.markdown(f"- {escaped(sentence)}")
        st.caption(
            "The label predicted from one field alone, in the training films of the first run: 0.5 is guessing. Cramér's V: "
            "how closely field and label go together, from 0 to 1. Missing: share of films without the field."
        )


def paired(audit: Audit) -> None:
    """Differences on the same films, with intervals and p-values."""
    for compared in audit.comparisons:
        if compared.problem:
            names = f"{compared.other} and {compared.reference}"
            st.warning(f"{names} can't be compared: {compared.problem}.", icon=":material/link_off:")
    table = differences(audit)
    if table.empty:
        if not audit.comparisons:
            st.info("There is nothing to compare: choose two runs or more that were audited together.")
        return
    metric = choose_metric(table, "difference_metric")
    chosen = table[table["metric"] == metric].assign(group=table["part"], estimate=table["difference"])
    st.write(
        f"Each run minus **{escaped(str(chosen['reference_run'].iloc[0]))}**, the first run of this audit, on the same films."
    )
    if chosen["estimate"].notna().any():
        st.altair_chart(audit_charts.forest(chosen, f"difference in {METRICS[metric]}", 0.0), width="stretch")
    first = ["part", "run"] if chosen["run"].nunique() > 1 else ["part"]
    columns = [*first, *INTERVAL, "p_holm", "verdict", "note", "p", "reference", "other", "detectable", "patients"]
    headings = {
        "reference": "first run",
        "other": "this run",
        "p_holm": "p (Holm)",
        "detectable": "detectable difference",
    }
    draw(chosen[columns], decimals(*INTERVAL, form="%+.3f") | decimals("p", **headings) | WHY)
    st.caption(
        "p: how often chance alone gives such a difference, by swapping the two models patient by patient. p (Holm) "
        "also allows for how many differences were looked at: below 0.05 it counts, and the verdict says better or "
        "worse. Detectable: the smallest difference that so many patients would show in four of five such studies."
    )


PARTS: dict[str, Callable[[Audit], None]] = {
    "All answers": answers,
    "Evidence": evidence,
    "Groups": groups,
    "ROC and reliability": curves,
    "Leakage": leakage,
    "Shortcuts": shortcuts,
    "Films and labels": films,
    "Paired differences": paired,
}
