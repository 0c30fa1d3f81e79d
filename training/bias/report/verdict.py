"""The answers of one checkpoint to the questions of `answers`, and what a reader must know before them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from training.bias.evidence import Evidence, is_external, never_seen
from training.bias.numbers.auroc import MeasuredAuroc, measured_auroc
from training.bias.numbers.calibration import at_its_bound
from training.bias.numbers.compare import holm
from training.bias.numbers.contrast import label_contrast
from training.bias.numbers.groups import ALL_FILMS, GroupMetrics, group_names
from training.bias.numbers.metrics import ranking_score
from training.bias.numbers.uncertainty import NO_INTERVAL, Interval
from training.bias.numbers.weighting import MINIMUM_PATIENTS, effective_patients, film_weights
from training.bias.questions.shortcut_evidence import CLEAR_AUROC, CLEAR_LOSS, CUES
from training.bias.questions.unlabelled import EXPECTED
from training.bias.report.answers import NO, NOT_ASKED, NOT_SHOWN, QUESTIONS, TOO_FEW, YES, Answer

LEVEL = 0.05
# What hardly matters: a difference between groups or sides below it, a leak below this share of the way to certainty.
SMALL_GAP, SLIGHT_LEAK = 0.1, 0.2
MANY_OUTLIERS = 0.2


class Finding(NamedTuple):
    """What was measured for a question, before the correction for the other questions.

    Attributes:
        shown: whether the effect is large enough to matter, were it no chance; `absent`: whether it can't be that large.
        answer: where no number decides, else empty.
        about: see `Answer`.
    """

    interval: Interval
    p: float
    patients: float
    evidence: str
    shown: bool = False
    absent: bool = False
    answer: str = ""
    about: str = ""


class Measured(NamedTuple):
    """What the answers are read from."""

    evidence: Evidence
    films: pd.DataFrame
    usual: dict[str, str]
    groups: dict[str, GroupMetrics]
    leakage: pd.DataFrame
    shortcuts: pd.DataFrame
    abstention: pd.DataFrame
    by: Sequence[str]
    resamples: int
    seed: int


def answers(measured: Measured) -> tuple[Answer, ...]:
    """Every question's answer, in the order of `QUESTIONS`; Holm's correction covers those with a p-value."""
    found = [finding_of(question.key, measured) for question in QUESTIONS]
    corrected = holm(np.array([finding.p for finding in found]))
    run = measured.evidence.name
    pairs = [(finding, float(p)) for finding, p in zip(found, corrected, strict=True)]
    return tuple(answer_of(q.key, run, f, p) for q, (f, p) in zip(QUESTIONS, pairs, strict=True))


def cautions(measured: Measured) -> tuple[str, ...]:
    """What a reader must know before any number: sentences."""
    evidence, found = measured.evidence, []
    temperature = evidence.about.get("temperature")
    if temperature is not None and at_its_bound(float(temperature)):
        found.append(
            f"the temperature ended at the bound of its range ({temperature:g}): the scores are not calibrated"
        )
    if evidence.training is None:
        found.append(
            "the run's own predictions are missing or can't be read, so the usual label of a source is not known and "
            "training films may be among these"
        )
    else:
        known = set(map(str, evidence.about.get("classes") or ()))
        strange = set(evidence.training["target"].dropna().astype(str)) - known if known else set()
        if strange:
            found.append(f"the run's predictions are of another task: they have the label {min(strange)}")
    share = _outliers(measured)
    if share is not None and share.estimate > MANY_OUTLIERS:
        found.append(f"{100 * share.estimate:.0f} % of the films are unlike all training films (5 % are expected)")
    return tuple(found)


def finding_of(question: str, measured: Measured) -> Finding:
    """What was measured for a question, by its key."""
    ask = {
        "works": _works, "unseen": _unseen, "within": _within, "follows": _follows, "contradicting": _contradicting,
        "cues": _cues, "readable": _readable, "groups": _groups, "alike": _alike,
    }  # fmt: skip
    return ask[question](measured)


def answer_of(question: str, run: str, f: Finding, p: float) -> Answer:
    """A finding as the answer to a question, by a corrected p."""
    return Answer(question, run, _answer(f, p), *f.interval, f.p, p, f.patients, f.evidence, f.about)


def _answer(finding: Finding, p: float) -> str:
    if finding.answer:
        return finding.answer
    if finding.shown and (math.isnan(p) or p < LEVEL):
        return YES
    return NO if finding.absent else NOT_SHOWN


def _from_auroc(found: MeasuredAuroc, words: str) -> Finding:
    """Of an AUROC that matters from 0.6 on."""
    interval = found.interval
    if math.isnan(interval.estimate):
        return _too_few(found.patients, f"{words}: {found.patients:.0f} effective patients of the rarer class")
    shown = interval.estimate >= CLEAR_AUROC and interval.low > 0.5
    absent = interval.high < CLEAR_AUROC
    return Finding(interval, found.p, found.patients, f"{words}: AUROC {interval:.2f}.", shown, absent)


def _ranked(measured: Measured, rows: np.ndarray, words: str) -> Finding:
    table, positive = measured.films[rows], measured.evidence.positive
    assert positive is not None
    is_positive, score = (table["target"] == positive).to_numpy(), ranking_score(table)
    found = measured_auroc(is_positive, score, table["patient"].to_numpy(), measured.resamples, measured.seed)
    finding = _from_auroc(found, words)
    if finding.answer:
        return finding
    if found.interval.high < 0.5:
        why = "the order of the scores is inverted"
        return finding._replace(answer=NO, evidence=f"{finding.evidence[:-1]}: {why}.", about=why)
    if np.ptp(score) < 1e-9:
        why = "every film has the same score"
        return finding._replace(answer=NO, evidence=f"{words}: {why}.", about=why)
    if table["prediction"].nunique() == 1:
        why = f"every film is called {table['prediction'].iloc[0]}"
        return finding._replace(answer=NO, evidence=finding.evidence + f" But {why}.", about=why)
    if finding.shown and _patients_beside_the_other_label(table, is_positive) < MINIMUM_PATIENTS:
        why = "source and label can't be told apart there"
        few = f"fewer than {MINIMUM_PATIENTS} effective patients have the rarer label of a source with both"
        sentence = f"{finding.evidence} But {why}: {few}."
        return finding._replace(answer=NOT_SHOWN, evidence=sentence, about=why)
    return finding


def _patients_beside_the_other_label(table: pd.DataFrame, is_positive: np.ndarray) -> float:
    """Effective patients of each source's rarer label, summed: without them a high AUROC may be the source's alone."""
    patient, label, total = pd.factorize(table["patient"])[0], is_positive.astype(int), 0.0
    for at in table.groupby("source").indices.values():
        weight = film_weights(patient[at], label[at])
        sides = [label[at] == side for side in (0, 1)]
        total += min(effective_patients(patient[at][side], weight[side]) for side in sides)
    return total


def _known_and_unseen(measured: Measured) -> tuple[np.ndarray, np.ndarray]:
    """Which films are of known sources, and which of sources never seen; external films of known sources are neither."""
    return ~is_external(measured.films), never_seen(measured.films, measured.evidence.training)


def _works(measured: Measured) -> Finding:
    known, _ = _known_and_unseen(measured)
    if not known.any():
        return _not_asked("No film is of a known source.")
    if measured.evidence.positive is None:
        return _classes(measured)
    return _ranked(measured, known, "Films of known sources")


def _classes(measured: Measured) -> Finding:
    """Without a positive class: balanced accuracy against guessing."""
    values = measured.groups["source"].values
    row = values[(values["group"] == ALL_FILMS) & (values["metric"] == "balanced_accuracy")].iloc[0]
    if math.isnan(row["estimate"]):
        return _too_few(0, f"Balanced accuracy: {row['note']}")
    interval, chance = Interval.of(row), 1 / measured.films["target"].nunique()
    p = float(2 * norm.sf(abs(interval.estimate - chance) / max((interval.high - interval.low) / 3.92, 1e-9)))
    words = f"Balanced accuracy {interval:.2f}; {chance:.2f} by guessing."
    return Finding(
        interval, p, float(row["effective"]), words, interval.low > chance, interval.high < chance + SMALL_GAP
    )


def _unseen(measured: Measured) -> Finding:
    _, unseen = _known_and_unseen(measured)
    if not unseen.any() and is_external(measured.films).any():
        return _not_asked("The external films are of sources that the model was trained on: see the groups by split.")
    if not unseen.any() or measured.evidence.positive is None:
        return _not_asked("No film is of a source that the model never saw.")
    return _ranked(measured, unseen, "Films of sources never seen")


def _within(measured: Measured) -> Finding:
    table, positive = measured.films, measured.evidence.positive
    if positive is None:
        return _not_asked("No class is positive.")
    found = measured_auroc(
        (table["target"] == positive).to_numpy(), ranking_score(table), table["patient"].to_numpy(),
        measured.resamples, measured.seed, group_names(table, ["source"]),
    )  # fmt: skip
    return _from_auroc(found, "Pairs of films of one source")


def _follows(measured: Measured) -> Finding:
    table, positive = measured.films, measured.evidence.positive
    if positive is None or not measured.usual:
        return _not_asked("The usual label of each source is not known.")
    if alike := _one_usual_label(measured):
        return alike
    usual = table["source"].map(measured.usual)
    rows = usual.notna().to_numpy()
    table, is_usual = table[rows], (usual[rows] == positive).to_numpy()
    target = table["target"].to_numpy(object)
    found = measured_auroc(
        is_usual, ranking_score(table), table["patient"].to_numpy(), measured.resamples, measured.seed, target
    )
    return _from_auroc(found, "For the label that is usual at the film's source, among films of one label")


def _contradicting(measured: Measured) -> Finding:
    if not measured.usual:
        return _not_asked("The usual label of each source is not known.")
    if alike := _one_usual_label(measured):
        return alike
    found = label_contrast(measured.films, measured.usual)
    if not found.labels:
        return _too_few(found.patients, "No label has ten effective patients at its usual sources and ten at others")
    gap = found.interval
    labels = " and ".join(found.labels)
    words = f"Accuracy on {labels} films of sources where that is usual minus others: {gap:.2f}."
    return Finding(gap, found.p, found.patients, words, gap.low > 0, gap.high < SMALL_GAP)


def _cues(measured: Measured) -> Finding:
    table = measured.shortcuts
    if table.empty:
        return _not_asked("No film was perturbed.")
    if alike := _one_usual_label(measured):
        return alike
    rows = table[(table["against"] == "usual label") & (table["shortcut"] != "intact")]
    rows = rows[rows["estimate"].notna()]
    if rows.empty:
        return _too_few(0, "Too few patients of one label at sources with different usual labels")
    alone, p, shown, absent = [], [], [], []
    for record in rows.to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        cue = CUES[row["shortcut"]]
        effect = (
            Interval(-row["change"], -row["change_high"], -row["change_low"])
            if cue.removed
            else Interval(row["estimate"] - 0.5, row["low"] - 0.5, row["high"] - 0.5)
        )
        alone.append(effect)
        # From the interval, since no perturbation has a test of its own.
        error = (effect.estimate - effect.low) / 1.96
        p.append(float(2 * norm.sf(abs(effect.estimate) / error)) if error > 0 else float(effect.estimate == 0))
        shown.append(bool(row["found"]))
        absent.append(effect.high < (CLEAR_LOSS if cue.removed else CLEAR_AUROC - 0.5))
    corrected = holm(np.array(p))
    read = [number for number in range(len(rows)) if shown[number] and corrected[number] < LEVEL]
    best = min(read or range(len(rows)), key=lambda number: (corrected[number], -alone[number].estimate))
    first = rows.iloc[best]
    cue = CUES[first["shortcut"]]
    measure = (
        Interval(first["change"], first["change_low"], first["change_high"]) if cue.removed else Interval.of(first)
    )
    names = list(dict.fromkeys(CUES[rows["shortcut"].iloc[number]].name for number in read))
    words = f"the score follows {' and '.join(names)}" if read else "No single cue is shown to carry the score"
    sentence = f"{words[0].upper()}{words[1:]} ({cue.films.lower()}: {measure:.2f})."
    corrected_p = float(corrected[best]) if read else 1.0
    about = ", ".join(names) if read else f"{cue.films.lower()}, the strongest of {len(rows)}"
    return Finding(measure, corrected_p, math.nan, sentence, bool(read), all(absent), about=about)


def _readable(measured: Measured) -> Finding:
    rows = measured.leakage
    if rows.empty:
        return _not_asked("All films are of one source.")
    rows = rows[(rows["attribute"] == "source") & (rows["kind"] == "linear") & rows["leak"].notna()]
    if rows.empty:
        return _too_few(0, "No label has ten patients in each of two sources")
    row = rows.iloc[0]
    leak, chance = Interval.of(row, "leak"), row["chance"]
    p = f"p = {row['p']:.3f}" if row["p"] >= 0.001 else "p < 0.001"
    words = f"A probe reads the source within a label with balanced accuracy {leak:.2f} (chance {chance:.2f}; {p})"
    slight, most = row["normalised"] < SLIGHT_LEAK, (leak.high - chance) / (1 - chance)
    if row["p"] < LEVEL and slight:
        words += ": more than chance, but little"
    about = f"chance {chance:.2f}"
    return Finding(leak, float(row["p"]), math.nan, words + ".", not slight, most < SLIGHT_LEAK, about=about)


def _groups(measured: Measured) -> Finding:
    names = [n for n in dict.fromkeys(("source", "view", "sex", "age_band", *measured.by)) if n in measured.groups]
    rows = pd.concat([measured.groups[name].gaps.assign(by=name) for name in names])
    rates = ("sensitivity", "specificity") if measured.evidence.positive is not None else ("accuracy",)
    rows = rows[rows["metric"].isin(rates)]
    known = rows[rows["difference"].notna()].reset_index(drop=True)
    if known.empty:
        if not len(rows) or rows["groups"].max() < 2:
            return _not_asked("The films are of one group.")
        return _too_few(0, "No two groups have ten effective patients")
    corrected = holm(known["p"].to_numpy(float))
    best = int(np.lexsort((-known["difference"], corrected))[0])
    row = known.iloc[best]
    gap = Interval.of(row, "difference")
    about = (
        f"{row['metric']} by {row['by'].replace('_', ' ')}: {row['worst_group']} {row['worst']:.2f}, "
        f"{row['best_group']} {row['best']:.2f}"
    )
    words = about[0].upper() + about[1:] + "."
    if corrected[best] >= LEVEL:
        words += f" The widest interval of a gap ends at {known['high'].max():.2f}."
    patients = min(
        _worth(measured.groups[row["by"]], row["metric"], row[side]) for side in ("worst_group", "best_group")
    )
    absent = bool(known["high"].max() < SMALL_GAP)
    return Finding(gap, float(corrected[best]), patients, words, gap.low > 0, absent, about=about)


def _worth(groups: GroupMetrics, metric: str, group: str) -> float:
    values = groups.values
    return float(values[(values["group"] == group) & (values["metric"] == metric)]["effective"].iloc[0])


def _alike(measured: Measured) -> Finding:
    share, limit = _outliers(measured), measured.evidence.distance_limit
    if share is None:
        return _not_asked("The distances to the training films are not known.")
    if limit is None or math.isnan(limit):
        return _not_asked("The run had too few validation films to tell what is unlike the training films.")
    if math.isnan(share.estimate):
        return _too_few(0, "Too few patients, or too few validation films to set a limit")
    percent = (f"{100 * number:.0f} %" for number in share)
    words = "{} of the films ({} to {}) are unlike all training films.".format(*percent)
    answer = NO if share.low > MANY_OUTLIERS else YES if share.high < MANY_OUTLIERS else NOT_SHOWN
    if answer == YES and share.low > 2 * EXPECTED:
        answer = NOT_SHOWN
    return Finding(share, math.nan, float(measured.abstention["patients"].iloc[0]), words, answer=answer)


def _outliers(measured: Measured) -> Interval | None:
    return None if measured.abstention.empty else Interval.of(measured.abstention.iloc[0])


def _one_usual_label(measured: Measured) -> Finding | None:
    """Why films of sources that shared their usual label in the training can't be asked of it, however many they are."""
    usual = {label for source, label in measured.usual.items() if source in set(measured.films["source"])}
    return (
        _not_asked(f"The known sources of these films had one usual label in the training: {min(usual)}.")
        if len(usual) == 1
        else None
    )


def _too_few(patients: float, words: str) -> Finding:
    needed = f"{words.rstrip('.')}; {MINIMUM_PATIENTS} are needed." if patients else f"{words.rstrip('.')}."
    return Finding(NO_INTERVAL, math.nan, patients or math.nan, needed, answer=TOO_FEW)


def _not_asked(words: str) -> Finding:
    return Finding(NO_INTERVAL, math.nan, math.nan, words, answer=NOT_ASKED)
