"""The first screen of an audit: is a run less dependent on the source than another, and what was found in each."""

import pandas as pd
import streamlit as st

from app.drawing import audit_charts
from app.drawing.markdown import escaped
from app.drawing.tables import TINTS
from app.numbers.audit import Audit, table
from app.numbers.dependence import dependence
from app.numbers.problems import problems
from training.bias.report.attribute_screen import attribute_screen
from training.bias.report.first_screen import FirstScreen, first_screen

DIFFERENCES = (
    "Differences on the same films, with 95 % intervals over patients. Signs are turned so that a positive number is always "
    "less dependence. “Less” and “more dependent” hold after correction for all that was compared. "
    "**AUROC within one source**: pairs of films of one source. "
    "**Score follows the source**: AUROC for the source's usual label among films of one label. "
    "**Accuracy lost on conflicting films**: within a label, accuracy at sources where it is usual minus at others. "
    "**Leak**: balanced accuracy of a probe that reads the source from the features. "
    "**Gap between sources**: equalised odds difference, the larger of the ranges of sensitivity and specificity. “Not "
    "tested”: the audit is of an earlier version; make it again to have its test."
)
ATTRIBUTES = (
    "The questions on the source, asked of each attribute that a run was told not to use or that the audit groups by: taking "
    "out one shortcut can open another. Green speaks for a run, red against it, yellow is open."
)
PROBLEMS = (
    "**Found**: shown at 95 %, after correction for all questions. **Not found**: the whole interval is within what hardly "
    "matters. **Cannot conclude**: it could be either, or fewer than ten patients. In brackets 95 % intervals over patients."
)


def answer(audit: Audit) -> None:
    """Cautions, the comparison of runs, then the worst finding and all problems in a table."""
    if audit.verdict is None:
        for run in audit.runs:
            st.markdown(f"**{escaped(run.name)}**  \n{escaped(run.headline)}")
        return
    screen = first_screen(audit.verdict)
    if screen.cautions:
        st.warning("  \n".join(map(escaped, screen.cautions)), icon=":material/warning:")
    compared(audit)
    st.header("What was found", help=PROBLEMS)
    st.markdown(f"**{escaped(screen.headline)}**")
    listed = problems(audit.verdict)
    names = pd.Index([f"{one.name} · {one.measure}" for one in listed], name="problem")
    words = pd.DataFrame([one.answers for one in listed], names, screen.runs)
    tints = pd.DataFrame([[TINTS[tone] for tone in one.tones] for one in listed], names, screen.runs)
    st.table(words.map(escaped).style.apply(lambda _: tints, axis=None))
    by_attribute(audit)


def by_attribute(audit: Audit) -> None:
    """The questions on the source, asked of each attribute of the audit; nothing where it asked of the source alone."""
    pairs = [pair.attributes for pair in audit.comparisons]
    screen = attribute_screen([run.attributes for run in audit.runs], pairs)
    if screen is not None:
        st.header("By attribute", help=ATTRIBUTES)
        coloured(screen)


def coloured(screen: FirstScreen) -> None:
    """A table of answers with the colours of their tones."""
    words, tones = table(screen)
    colours = tones.apply(lambda column: column.map(TINTS))
    st.table(words.map(escaped).style.apply(lambda _: colours, axis=None))


def compared(audit: Audit) -> None:
    """Whether each run depends less on the source than the first of the audit: a sentence and a forest plot."""
    pairs = dependence(audit)
    if not pairs:
        return
    reference = escaped(pairs[0].reference)
    if len(pairs) == 1:
        st.header(f"Is {escaped(pairs[0].other)} less dependent on the source than {reference}?", help=DIFFERENCES)
        st.markdown(f"**{pairs[0].answer}.** {escaped(pairs[0].sentence)}")
    else:
        st.header(f"Which runs are less dependent on the source than {reference}?", help=DIFFERENCES)
        st.markdown("\n".join(f"- {escaped(one.other)}: **{one.answer}.** {escaped(one.sentence)}" for one in pairs))
    rows = pd.concat([one.rows for one in pairs], ignore_index=True)
    if rows["estimate"].notna().any():
        said = "; ".join(f"{row.run}, {row.measure}: {row.estimate:+.2f}, {row.verdict}" for row in rows.itertuples())
        alt = f"Forest plot of the differences, above 0 the run depends less on the source. {said}"
        ink = "#ddd" if st.context.theme.type == "dark" else "#333"
        st.altair_chart(audit_charts.dependence(rows, ink), width="stretch", alt=alt)
