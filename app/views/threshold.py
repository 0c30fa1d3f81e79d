"""Threshold: which one reaches a sensitivity or specificity, where, and what follows; on validation films alone."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from app.drawing import threshold_charts
from app.drawing.markdown import escaped
from app.drawing.tables import NO_BREAK
from app.numbers import operating_point as numbers
from app.services import models, visit
from app.services.runs import label, require_runs
from training.bias.numbers.groups import ALL_FILMS
from training.bias.numbers.interval import Interval
from training.bias.numbers.metrics import PredictionsError, roc_points
from training.run.index import RunEntry
from training.run.site_calibration import SiteCalibration

SENSITIVITY, SPECIFICITY, YOUDEN, OWN, SCORE = "sensitivity", "specificity", "Youden's J", "the run's own", "a score"
SITE = "a calibrated site"
CALIBRATED = (
    "Fitted by training.calibrate on labelled films of the site; shown for scores of the run's own temperature."
)
RULES = (SENSITIVITY, SPECIFICITY, YOUDEN, OWN, SCORE)
METRICS = {"sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "npv": "NPV"}
LOCKED = (
    "Test and external films stay locked on this page. A threshold that was chosen by looking at them would fit them, and "
    "their results would look better than those of any film to come. Also on validation films the numbers flatter a "
    "threshold that was chosen on them: expect a little less of new films."
)
MEASURED = (
    "Sensitivity: share of positive films that are called so. Specificity: share of the others that are not. In brackets "
    "95 % intervals over patients; “cannot conclude”: fewer than ten patients of the class. PPV and NPV follow from both for "
    "the prevalence by Bayes' rule. A patient with very many films counts less, so counts and shares can differ a little."
)
BENEFIT = (
    "Net benefit (Vickers and Elkin 2006): positive films found, less false alarms, in units of found patients. A run is of "
    "use where its line is above both calling every film (dashed) and none (0). Bands: 95 %."
)


MOST_PREVALENCE = 50.0  # per cent, to which net benefit is drawn at least


class Tried(NamedTuple):
    """A run with a threshold that is looked at, and what that does to its validation films."""

    entry: RunEntry
    name: str
    positive: str
    films: pd.DataFrame
    threshold: float
    rates: pd.DataFrame


def page() -> None:
    """What is wanted, the threshold that gives it, and what it does; the test set stays out of sight."""
    st.title("Threshold", help=LOCKED)
    usable = [entry for entry in require_runs() if can_be_set(entry)]
    if usable:
        st.caption(":material/lock: Validation films alone; test and external films stay locked.")
        st.fragment(tool)(usable)


def can_be_set(entry: RunEntry) -> bool:
    """Whether a threshold of this run can be tried; says why where not."""
    name, classes = escaped(label(entry)), len(entry.header["info"]["targets"])
    predictions = models.predictions(entry)
    if entry.header["threshold"] is None or classes != 2:
        st.write(f"{name} has {classes} classes and calls the most probable: no threshold.")
    elif predictions is None:
        st.write(f"{name} kept no predictions of its films, so no threshold can be tried.")
    elif numbers.validation_films(predictions).empty:
        st.write(f"{name} has no validation film with a label, so no threshold can be tried.")
    else:
        return True
    return False


def tool(entries: list[RunEntry]) -> None:
    """Controls first, then the answer in a sentence and a table, curves, and every source."""
    films = {entry.name: numbers.validation_films(models.predictions(entry)) for entry in entries}  # type: ignore[arg-type]
    found = {entry.name: models.site_calibration(entry) for entry in entries}
    calibrated = {name: sites for name, sites in found.items() if isinstance(sites, SiteCalibration) and sites.sites}
    for name, damaged in found.items():
        if isinstance(damaged, str):
            st.warning(escaped(f"No threshold of a site from {name}: {damaged}."), icon=":material/block:")
    rule, value, site = what_is_wanted(sorted({site for each in calibrated.values() for site in each.sites}))
    sources = sorted({str(source) for table in films.values() for source in table["source"].unique()})
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left, st.container():  # whose buttons go on in the next line, which those of a column don't
        place = visit.choice("threshold_at", [ALL_FILMS, *sources], ALL_FILMS, "At the source")
    with right:
        percent = visit.number(
            "prevalence", "Prevalence, %", 10.0, 0.1, 95.0, 0.5, "Share of positives where it is used."
        )
    tried, why = [], dict[str, list[str]]()
    for entry in entries:
        try:
            if rule == SITE:
                threshold = threshold_of_site(entry, calibrated.get(entry.name), site)
            else:
                threshold = threshold_for(entry, films[entry.name], rule, value, place)
            tried.append(tried_out(entry, films[entry.name], threshold))
        except PredictionsError as error:
            why.setdefault(str(error), []).append(label(entry))
    for sentence, names in why.items():
        st.warning(escaped(f"{' and '.join(names)}, {place}: {sentence}."), icon=":material/block:")
    if not tried:
        by_source(
            [tried_out(entry, films[entry.name], in_use(entry)) for entry in entries], "with the thresholds in use"
        )
        return
    wanted = f"{value:g} % {rule}" if rule in (SENSITIVITY, SPECIFICITY) else f"as at {site}" if rule == SITE else rule
    st.header(f"{wanted[:1].upper()}{wanted[1:]}, {escaped(place)}", help=MEASURED)
    st.markdown("; ".join(f"{escaped(one.name)}: threshold **{one.threshold:.3f}**" for one in tried) + ".")
    answer(tried, place, percent)
    use(tried)
    left, right = st.columns(2)
    with left:
        roc(tried, place)
    with right:
        benefit(tried, place, percent)
    by_source(tried)
    with st.expander("Train with this operating point"):
        for one in tried:
            flag = numbers.flag(one.films, one.positive, one.threshold)
            st.code(f"python -m training.train ... {flag}", language=None)
        st.caption(
            "The nearest that training can set; it fits its threshold on all validation films. Nothing is set here."
        )


def what_is_wanted(calibrated: list[str]) -> tuple[str, float, str]:
    """The rule, the per cent or score that goes with it, and the calibrated site.

    Args:
        calibrated: names of sites that a run has a threshold for; without any that is no rule.
    """
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left, st.container():
        rules = (*RULES, SITE) if calibrated else RULES
        rule = visit.choice("threshold_rule", rules, SENSITIVITY, "Set the threshold by")
    value, site = 0.0, ""
    with right:
        if rule in (SENSITIVITY, SPECIFICITY):
            value = visit.number(f"wanted_{rule}", f"Wanted {rule}, %", 90.0, 1.0, 100.0, 1.0)
        elif rule == SCORE:
            value = visit.number("wanted_score", "Called positive from", 0.5, 0.0, 1.0, 0.01, form="%.3f")
        elif rule == SITE:
            site = str(st.selectbox("Calibrated site", calibrated, key="calibrated_site", help=CALIBRATED))
    return rule, value, site


def threshold_of_site(entry: RunEntry, sites: SiteCalibration | None, site: str) -> float:
    """A calibrated site's threshold on the run's own scores; raises PredictionsError where the run has none for it."""
    if sites is None or site not in sites.sites:
        raise PredictionsError(f"no calibration of {site}; python -m training.calibrate fits one")
    return sites.threshold_of(site, float(entry.header["temperature"]))


def threshold_for(entry: RunEntry, validation: pd.DataFrame, rule: str, value: float, place: str) -> float:
    """The threshold that the rule gives at this place; raises PredictionsError where it gives none."""
    if rule in (OWN, SCORE):
        return float(entry.header["threshold"]) if rule == OWN else value
    positive, films = models.positive(entry), numbers.of_source(validation, place)
    if rule == YOUDEN:
        return numbers.youden_threshold(films, positive)
    return numbers.wanted_threshold(films, positive, rule, value / 100)


def in_use(entry: RunEntry) -> float:
    """The visitor's threshold of a run, or its own."""
    return float(visit.threshold_of(entry) or 0.0)


def tried_out(entry: RunEntry, validation: pd.DataFrame, threshold: float) -> Tried:
    """The run with a threshold and what that does."""
    rates = models.threshold_effect(entry, threshold)
    return Tried(entry, label(entry), models.positive(entry), validation, threshold, rates)


def answer(tried: list[Tried], place: str, percent: float) -> None:
    """A row a run: what the threshold does at this place."""
    rows, sentences = [], []
    for one in tried:
        table = numbers.at_prevalence(one.rates, percent / 100)
        found = table[table["group"] == place]
        if found.empty:
            rows.append([one.name, f"{one.threshold:.3f}", *["no film"] * len(METRICS)])
            continue
        here = found.iloc[0]
        bounds = [Interval(*here[[name, f"{name}_low", f"{name}_high"]]) for name in METRICS]
        rows.append([one.name, f"{one.threshold:.3f}", *(f"{interval:.2f}" for interval in bounds)])
        if here[["sensitivity", "specificity"]].notna().all():
            counts = numbers.in_a_thousand(here["sensitivity"], here["specificity"], percent / 100)
            sentences.append(f"{escaped(one.name)}: {counts}")
    columns = [
        "run",
        "threshold",
        *(f"{title} at {percent:g} %" if title in ("PPV", "NPV") else title for title in METRICS.values()),
    ]
    st.table(pd.DataFrame(rows, columns=columns).map(escaped).set_index("run"))
    for sentence in sentences:
        st.caption(sentence)


def use(tried: list[Tried]) -> None:
    """Carry the thresholds into the other pages, or go back to the runs' own."""
    with st.container(horizontal=True):
        for one in tried:
            if one.threshold != visit.threshold_of(one.entry):
                st.button(
                    f"Use {one.threshold:.3f} for {one.name}",
                    key=f"use {one.entry.name}",
                    icon=":material/check:",
                    on_click=visit.use_threshold,
                    args=(one.entry, one.threshold),
                    help="On the pages Compare on a film and Batch, until this visit ends.",
                )
            if visit.has_own_threshold(one.entry):
                st.button(
                    f"Back to {one.entry.header['threshold']:.3f} for {one.name}",
                    key=f"back {one.entry.name}",
                    icon=":material/undo:",
                    on_click=visit.use_threshold,
                    args=(one.entry, None),
                    help="The run's own threshold.",
                )
    changed = [one for one in tried if visit.has_own_threshold(one.entry)]
    if changed:
        words = [
            f"{escaped(one.name)} from {visit.threshold_of(one.entry):.3f} ({one.entry.header['threshold']:.3f} is its own)"
            for one in changed
        ]
        st.info(
            f"In use on Compare on a film and Batch, until this visit ends: {'; '.join(words)}.", icon=":material/tune:"
        )


def roc(tried: list[Tried], place: str) -> None:
    """All runs on one ROC plane, the thresholds marked."""
    curves, marks = [], []
    for one in tried:
        here = one.rates[one.rates["group"] == place].set_index("metric")["estimate"]
        if len(here) and here.notna().all():
            point = {"sensitivity": here["sensitivity"], "false_positive_rate": 1 - here["specificity"]}
            marks.append(point | {"run": one.name, "threshold": one.threshold})
            curve = roc_points(numbers.of_source(one.films, place), one.positive)
            curves.append(numbers.thinned(curve, threshold_charts.STEPS).assign(run=one.name))
    st.markdown(f"**ROC, {escaped(place)}**")
    if not marks:
        st.write("Cannot conclude: an ROC curve needs ten patients of both classes.")
        return
    drawn = threshold_charts.operating_curves(pd.concat(curves), pd.DataFrame(marks), [one.name for one in tried])
    st.altair_chart(
        drawn, width="stretch", alt="ROC curves of the validation films, a line a run, its threshold marked"
    )


def benefit(tried: list[Tried], place: str, percent: float) -> None:
    """Net benefit of acting on each run's calls, by prevalence."""
    st.markdown("**Net benefit by prevalence**", help=BENEFIT)
    worth = visit.number("worth", "False alarms that one found patient is worth", 10.0, 0.5, 1000.0, 1.0)
    names, odds = [one.name for one in tried], 1 / worth
    here = [numbers.benefit_of(one.rates, place, odds, [percent]).iloc[0] for one in tried]
    if all(pd.isna(row["estimate"]) for row in here):
        st.write("Cannot conclude: it needs ten patients of both classes.")
        return
    across = np.linspace(0, max(MOST_PREVALENCE, percent), 51).tolist()
    values = [numbers.benefit_of(one.rates, place, odds, across).assign(what=one.name) for one in tried]
    values.append(numbers.benefit_of_calling_all(odds, across).assign(what=threshold_charts.EVERY))
    drawn = threshold_charts.benefit_lines(pd.concat(values, ignore_index=True), names, percent)
    words = "Net benefit over prevalence, a line a run, beside calling every film or none"
    st.altair_chart(drawn, width="stretch", alt=words)
    sizes = [f"{escaped(name)} {Interval.of(row):.1f}" for name, row in zip(names, here, strict=True)]
    every = numbers.benefit_of_calling_all(odds, [percent])["estimate"].iloc[0]
    st.caption(
        f"At {percent:g} % (dotted), per 100 films: {', '.join(sizes)}; calling every film (dashed) {every:.1f}, none 0."
    )


def by_source(tried: list[Tried], which: str = "") -> None:
    """Counts and rates at every source, whatever the number of patients; `which` thresholds these are."""
    rows = []
    for group in dict.fromkeys(group for one in tried for group in one.rates["group"]):
        for one in tried:
            here = one.rates[one.rates["group"] == group].set_index("metric")
            cells = []
            for rate in ("sensitivity", "specificity") if len(here) else ():
                row = here.loc[rate]
                share = f"{Interval(row['estimate'], row['low'], row['high']):.2f}"
                cells += [f"{row['called']} of {row['counted']}".replace(" ", NO_BREAK), share]
            rows.append([group, one.name, *(cells or ["no film"] * 4)])
    st.header(f"At every source {which}".rstrip(), help=MEASURED)
    positive = tried[0].positive
    columns = ["films of", "run", f"{positive} found", "sensitivity", "others cleared", "specificity"]
    st.table(pd.DataFrame(rows, columns=columns).map(escaped).set_index("films of"))


page()
