"""The audit of one or several checkpoints, from their predictions and features to a `BiasReport`.

`BiasReport.as_json` is the content of report.json; the HTML page, the app and a notebook read the same value.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from training.bias.evidence import Evidence as Evidence
from training.bias.numbers.alignment import alignment
from training.bias.numbers.calibration import calibration_by_group
from training.bias.numbers.compare import CompareError, compare, holm
from training.bias.numbers.groups import GroupMetrics, group_metrics, group_rows
from training.bias.numbers.metrics import PredictionsError, read_films, reliability_curve, roc_points, shortfall
from training.bias.numbers.source_gap import source_gap_difference, source_gap_p
from training.bias.numbers.usefulness import at_prevalence, decision_curve
from training.bias.questions.cohort import cohort_table, what_sources_cannot_tell
from training.bias.questions.fields import field_risk
from training.bias.questions.leakage import KIND, Probe, leak_difference, probe
from training.bias.questions.shortcut_evidence import findings, shortcut_table
from training.bias.questions.unlabelled import abstention, describe_run
from training.bias.report.answers import BY_KEY, NO, NOT_SHOWN, QUESTIONS, TOO_FEW, YES, Answer, Difference, Verdict
from training.bias.report.by_attribute import ask_each, attributes_of, compare_each, usual_of
from training.bias.report.differences import question_differences
from training.bias.report.headline import after_headline, headline, headline_of_all, short_names
from training.bias.report.soundness import require_references, require_sound
from training.bias.report.values import BiasReport, Check, Comparison, RunAudit
from training.bias.report.verdict import Measured, answers, cautions

# Columns that are compared and probed where the predictions have them.
GROUPINGS = (
    *(("split",), ("source",), ("target",), ("source", "target")),
    *(("view",), ("sex",), ("age_band",), ("manufacturer",)),
)
PROBED = ("source", "view", "sex", "manufacturer")
FIELDS = ("source", "view", "sex", "age_band", "manufacturer")
METADATA = "label from metadata alone"  # a question to the training films, not to the model
MAP_FILMS = 2000  # films drawn in the feature map
# What is measured of each run, and of each run but the first against the first; a step is told before it begins.
STEPS = ("leak", "groups", "perturbed films", "metadata", "outliers and map")
COMPARED = ("differences", "difference of leaks")
Tell = Callable[[str], object]


def step_count(runs: int) -> int:
    """How often `audit` tells what it does, of so many runs."""
    return len(STEPS) * runs + len(COMPARED) * (runs - 1)


def audit(
    evidence: Sequence[Evidence],
    about: dict[str, Any],
    by: Sequence[str] = (),
    resamples: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
    tell: Tell = lambda step: None,
    reference: Mapping[str, str] | None = None,
    prevalence: float | None = None,
) -> BiasReport:
    """Audit every checkpoint, and compare each but the first with the first.

    Args:
        about: facts of the whole report, plain values.
        by: columns to group by beside `GROUPINGS`; several joined by commas for their crossing.
        tell: called with each of `STEPS` for each run, then with each of `COMPARED` for each comparison.
        reference: the group that others are compared with, by column; all pairs are compared in other columns.
        prevalence: share of positives where the models are to be used, for predictive values; None leaves these out.

    Raises:
        PredictionsError: nothing to measure, a missing column, a score outside 0 to 1, features of other films, targets
            that are no class names, a reference group that no film is in.
    """
    if not evidence or resamples < 1 or permutations < 1:
        raise PredictionsError("an audit needs the evidence of a run, and at least one resample and one permutation")
    for checkpoint in evidence:
        require_sound(checkpoint)
    require_references(reference or {}, [checkpoint.predictions for checkpoint in evidence])
    runs, leaks, attributes = list[RunAudit](), list[dict[str, Probe]](), attributes_of(evidence, by)
    for checkpoint in evidence:
        tell(STEPS[0])
        leaks.append(leaks_of(checkpoint, resamples, seed, attributes))
        runs.append(audit_run(checkpoint, leaks[-1], by, resamples, seed, tell, reference, prevalence, attributes))
    first, comparisons, usual = evidence[0], [], majority(evidence[0])
    differences: list[Difference] = []
    for other, leaks_of_other in zip(evidence[1:], leaks[1:], strict=True):
        tell(COMPARED[0])
        try:
            rows = compare(first.predictions, other.predictions, first.positive, usual, resamples, permutations, seed)
        except CompareError as error:
            comparisons.append(Comparison(first.name, other.name, pd.DataFrame(), pd.DataFrame(), str(error)))
            continue
        tell(COMPARED[1])
        leakage = _leak_differences(leaks[0], leaks_of_other)
        gap = source_gap_difference(first.predictions, other.predictions, first.positive, resamples, seed)
        each = compare_each(first, other, leakage, attributes, resamples, permutations, seed)
        asked = question_differences(first, other, usual, leakage, resamples, permutations, seed)
        p = source_gap_p(first.predictions, other.predictions, first.positive, permutations, seed)
        p = float(holm(np.array([p, *(one.p for one in asked)]))[0])
        comparisons.append(
            Comparison(first.name, other.name, rows, leakage, source_gap=gap, source_gap_p=p, attributes=each)
        )
        differences += asked
    verdict = verdict_of(runs, differences)
    return BiasReport(tuple(runs), tuple(comparisons), about, verdict=verdict)


def verdict_of(runs: Sequence[RunAudit], differences: Sequence[Difference] = ()) -> Verdict:
    """The first screen of these runs; what holds for several is said once."""
    by_run = {run.name: run.answers for run in runs}
    told = _said_once({run.name: [what_sources_cannot_tell(run.cohort)] for run in runs})
    warned = _said_once({run.name: [f"{caution[0].upper()}{caution[1:]}." for caution in run.cautions] for run in runs})
    found = tuple(answer for run in runs for answer in run.answers)
    sentences = headline_of_all(by_run), after_headline(by_run, differences)
    return Verdict(sentences[0], QUESTIONS, found, tuple(differences), warned, sentences[1], (*told, *_batches(runs)))


def _batches(runs: Sequence[RunAudit]) -> tuple[str, ...]:
    """A sentence where runs were trained on batches of other kinds: what differs is not the method alone."""
    batches = {run.name: run.about.get("batches") for run in runs}
    if None in batches.values() or len(set(batches.values())) < 2:
        return ()
    names = short_names(list(batches))
    listed = ", ".join(f"{names[run]} {kind}" for run, kind in batches.items())
    return (f"Batches are of several kinds ({listed}): a difference is of the method and its batches together.",)


def _said_once(by_run: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Sentences of all runs, each with the names of those that it holds for where these are not all."""
    names, holds = short_names(list(by_run)), dict[str, list[str]]()
    for run, sentences in by_run.items():
        for sentence in filter(None, sentences):
            holds.setdefault(sentence, []).append(names[run])
    return tuple(s if len(of) == len(by_run) else f"{', '.join(of)}: {s}" for s, of in holds.items())


def describe(
    evidence: Sequence[Evidence], about: dict[str, Any], resamples: int = 2000, permutations: int = 2000, seed: int = 0
) -> BiasReport:
    """All that every checkpoint says of films without labels: a report whose `runs` and `comparisons` are empty.

    Raises:
        PredictionsError: no film, a film without a patient, a score outside 0 to 1, another number of distances than films.
    """
    described = tuple(describe_run(checkpoint, resamples, permutations, seed) for checkpoint in evidence)
    return BiasReport((), (), about, described)


def audit_run(
    evidence: Evidence,
    leaks: Mapping[str, Probe],
    by: Sequence[str] = (),
    resamples: int = 2000,
    seed: int = 0,
    tell: Tell = lambda step: None,
    reference: Mapping[str, str] | None = None,
    prevalence: float | None = None,
    attributes: Sequence[str] = (),
) -> RunAudit:
    """Every question to one checkpoint; raises as `audit` does.

    Args:
        leaks: from `leaks_of`.
        attributes: what the questions on the source are asked of, see `by_attribute`.
    """
    positive, usual = evidence.positive, majority(evidence)
    by = [*by, *(name for name in attributes if name not in by)]
    known = _with_target(evidence)
    labelled = evidence.predictions[known].reset_index(drop=True)
    tell(STEPS[1])
    groups = _by_group(labelled, positive, usual, by, resamples, seed, reference or {})
    leakage = pd.DataFrame(leaks.values(), columns=Probe._fields).drop(columns=["classes", "values", "resampled"])
    roc, reliability, shortcuts, fields, outliers, calibration, predictive, decision = (
        pd.DataFrame() for _ in range(8)
    )
    sentences = list[str]()
    tell(STEPS[2])
    if positive is not None:
        roc, reliability = _curves(labelled, positive)
        films = read_films(labelled, positive)
        calibration = calibration_by_group(films, group_rows(labelled, ["source"]))
        if not shortfall(labelled, "auroc", positive):
            decision = decision_curve(films, pd.factorize(labelled["source"])[0], min(resamples, 500), seed)
        if prevalence is not None:
            predictive = at_prevalence(groups["source"].values, prevalence)
        if evidence.perturbed:
            perturbed = {name: score[known] for name, score in evidence.perturbed.items()}
            sample = ~np.isnan(next(iter(perturbed.values())))
            sampled = labelled[sample].reset_index(drop=True)
            perturbed = {name: score[sample] for name, score in perturbed.items()}
            shortcuts = shortcut_table(sampled, perturbed, positive, usual, resamples, seed)
            sentences = findings(shortcuts)
    tell(STEPS[3])
    if positive is not None:
        training = evidence.training if evidence.training is not None else labelled
        names = [name for name in dict.fromkeys((*FIELDS, *columns_of(by))) if name in training]
        fields = field_risk(training, positive, names, resamples, seed)
    tell(STEPS[4])
    if evidence.distances is not None:
        distances = evidence.distances[known]
        outliers = abstention(labelled, distances, evidence.distance_limit, resamples=resamples, seed=seed)
    measured = Measured(
        evidence, labelled, usual, groups, leakage, shortcuts, outliers, tuple(map(_key, by)), resamples, seed
    )  # fmt: skip
    found, warnings = answers(measured), cautions(measured)
    within = next(answer for answer in found if answer.question == "within")
    sentence = f"{evidence.warning} {headline(found)}".lstrip() + "".join(
        f" Caution: {caution}." for caution in warnings
    )
    return RunAudit(
        name=evidence.name, about=evidence.about, films=len(labelled), patients=int(labelled["patient"].nunique()),
        headline=sentence, checks=_checks(found, fields), answers=found, cautions=warnings, calibration=calibration,
        predictive=predictive, decision=decision,
        cells=pd.crosstab(labelled["source"], labelled["target"]), groups=groups,
        within_sources={name: getattr(within, name) for name in ("estimate", "low", "high")}, roc=roc,
        reliability=reliability, leakage=leakage, shortcuts=shortcuts, findings=tuple(sentences), fields=fields,
        map=feature_map(evidence.features[known], labelled, seed), notes=_notes(evidence, groups), abstention=outliers,
        cohort=cohort_table(labelled, evidence.training), attributes=ask_each(measured, attributes),
    )  # fmt: skip


def columns_of(by: Sequence[str]) -> list[str]:
    """The columns of groupings, each once."""
    return list(dict.fromkeys(column for name in by for column in name.split(",")))


def majority(evidence: Evidence) -> dict[str, str]:
    """Each source's usual target in training; empty where the training films are not known."""
    return usual_of(evidence)


def leaks_of(evidence: Evidence, resamples: int, seed: int, also: Sequence[str] = ()) -> dict[str, Probe]:
    """The probe of each attribute of `PROBED` and `also` that the films have; raises as `audit` does."""
    known = _with_target(evidence)
    table, features = evidence.predictions[known], evidence.features[known]
    target, patient = (table[name].to_numpy() for name in ("target", "patient"))
    return {
        name: probe(features, table[name].to_numpy(dtype=object), target, patient, name, resamples=resamples, seed=seed)
        for name in dict.fromkeys((*PROBED, *also))
        if name in table and table[name].nunique() > 1
    }


def feature_map(features: np.ndarray, table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The two main components of standardised features, of at most `MAP_FILMS` films drawn at random."""
    at = np.sort(np.random.default_rng(seed).permutation(len(table))[:MAP_FILMS])
    if len(at) < 3 or features.shape[1] < 2:
        return pd.DataFrame(columns=["x", "y", "source", "target"])
    standardised = StandardScaler().fit_transform(features[at])
    plane = PCA(2, svd_solver="randomized", random_state=seed).fit_transform(standardised)
    points = pd.DataFrame(plane.round(3), columns=["x", "y"])
    return points.assign(**{name: table[name].to_numpy()[at] for name in ("source", "target")})


def _by_group(
    table: pd.DataFrame,
    positive: str | None,
    usual: dict[str, str],
    by: Sequence[str],
    resamples: int,
    seed: int,
    reference: Mapping[str, str],
) -> dict[str, GroupMetrics]:
    """Metrics for each grouping of the films, and for aligned against conflicting films where these are known."""
    groupings = dict.fromkeys((*GROUPINGS, *(tuple(name.split(",")) for name in by)))
    groups = {
        key: group_metrics(table, positive, names, resamples, seed, reference.get(key))
        for key, names in ((_key(",".join(names)), names) for names in groupings)
        if _can_group(table, names)
    }
    sided = table.assign(alignment=alignment(table["target"], table["source"], usual)).query("alignment != ''")
    if len(sided):
        groups["alignment"] = group_metrics(sided, positive, ("alignment",), resamples, seed)
    return groups


def _key(by: str) -> str:
    return by.replace(",", " x ")


def _checks(found: Sequence[Answer], fields: pd.DataFrame) -> tuple[Check, ...]:
    """The answers in words, and what the metadata of the training films say of the label."""
    checks = [Check(BY_KEY[answer.question].text, answer.answer, answer.evidence) for answer in found]
    if len(fields):
        confounded = fields[fields["verdict"] == "confounded"]
        verdicts = set(fields["verdict"])
        answer = YES if len(confounded) else TOO_FEW if verdicts == {"cannot conclude"} else NOT_SHOWN
        answer = NO if verdicts == {"clean"} else answer
        checks.append(Check(METADATA, answer, " ".join((confounded if len(confounded) else fields)["sentence"])))
    return tuple(checks)


def _can_group(table: pd.DataFrame, names: Sequence[str]) -> bool:
    """Whether the columns divide the films; a column that the user asked for must exist, which group_metrics checks."""
    if tuple(names) == ("source",):  # always, since it has all films together as well
        return True
    optional = set().union(*GROUPINGS)
    if not all(name in table or name not in optional for name in names):
        return False
    return any(name not in table or table[name].nunique(dropna=False) > 1 for name in names)


def _curves(table: pd.DataFrame, positive: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """ROC and reliability curves of all films and of each source of both classes; an ROC needs enough patients as well."""
    parts = {"all films": table} | {
        str(name): films for name, films in table.groupby("source") if films["target"].nunique() > 1
    }
    measured = {name: films for name, films in parts.items() if not shortfall(films, "auroc", positive)}
    roc = _stacked({name: roc_points(films, positive) for name, films in measured.items()})
    return roc, _stacked({name: reliability_curve(films, positive) for name, films in parts.items()})


def _with_target(evidence: Evidence) -> np.ndarray:
    """Whether each film has a target; PredictionsError where none has."""
    known = evidence.predictions["target"].notna().to_numpy()
    if not known.any():
        raise PredictionsError(f"{evidence.name}: no film has a target, so nothing can be measured")
    return known


def _leak_differences(first: Mapping[str, Probe], other: Mapping[str, Probe]) -> pd.DataFrame:
    rows = []
    for name in (name for name in first if name in other):
        gap, detectable = leak_difference(first[name], other[name])
        bounds = {"difference": gap.estimate, "low": gap.low, "high": gap.high, "detectable": detectable}
        rows.append({"attribute": name, "kind": KIND} | bounds)
    return pd.DataFrame(rows)


def _stacked(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    parts = [frame.assign(group=name) for name, frame in frames.items()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _notes(evidence: Evidence, groups: dict[str, GroupMetrics]) -> tuple[str, ...]:
    notes = dict.fromkeys([*evidence.notes, *(note for metrics in groups.values() for note in metrics.notes)])
    if evidence.perturbed:
        sample = evidence.predictions[~np.isnan(next(iter(evidence.perturbed.values())))]
        if len(sample) < len(evidence.predictions):
            people = f"{len(sample):,} films of {sample['patient'].nunique():,} patients, drawn within label and source"
            notes[f"Films with parts taken away, and the intact films beside them, are a sample: {people}."] = None
    if evidence.training is None:
        notes["The run's training films are not known here, so neither is the usual label of each source."] = None
    return tuple(notes)
