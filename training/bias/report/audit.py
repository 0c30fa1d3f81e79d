"""The bias report as a value: what the audit of one or several checkpoints found, in frames, numbers and sentences.

`audit` makes it from predictions and features, `BiasReport.as_json` is what report.json holds; the HTML page, the app and
a notebook read the same value.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from training.bias.evidence import Evidence as Evidence
from training.bias.numbers.compare import CompareError, compare
from training.bias.numbers.groups import GroupMetrics, alignment, group_metrics, majority_targets, within_source_auroc
from training.bias.numbers.metrics import PredictionsError, reliability_curve, roc_points, shortfall
from training.bias.questions.fields import field_risk
from training.bias.questions.leakage import Probe, leak_difference, probe
from training.bias.questions.shortcut_evidence import findings, shortcut_table
from training.bias.questions.unlabelled import abstention, describe_run
from training.bias.report.values import BiasReport, Comparison, RunAudit
from training.bias.report.verdict import check_run, headline

# What is compared and probed where the predictions have it.
GROUPINGS = (
    ("split",),
    ("source",),
    ("target",),
    ("source", "target"),
    ("view",),
    ("sex",),
    ("age_band",),
    ("manufacturer",),
)
PROBED = ("source", "view", "sex", "manufacturer")
FIELDS = ("source", "view", "sex", "age_band", "manufacturer")
# Refits of each probe on permuted attributes; the MLP is dearer and reads the source alone.
REFITS: dict[Literal["linear", "mlp"], int] = {"linear": 99, "mlp": 39}
MAP_FILMS = 2000  # films drawn in the feature map


def audit(
    evidence: Sequence[Evidence],
    about: dict[str, Any],
    by: Sequence[str] = (),
    resamples: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
) -> BiasReport:
    """Audit every checkpoint, and compare each but the first with the first.

    Args:
        evidence: one a checkpoint.
        about: what is said of the whole, plain values.
        by: columns to group by beside `GROUPINGS`.
        resamples: of each bootstrap over patients.
        permutations: of each permutation test.
        seed: of all resampling.

    Raises:
        PredictionsError: nothing to measure, a column that isn't there, a score that is no probability.
    """
    runs = tuple(audit_run(one, by, resamples, seed) for one in evidence)
    first, comparisons = evidence[0], []
    for other in evidence[1:]:
        known = majority(first)
        try:
            rows = compare(first.predictions, other.predictions, first.positive, known, resamples, permutations, seed)
        except CompareError as error:
            comparisons.append(Comparison(first.name, other.name, pd.DataFrame(), pd.DataFrame(), str(error)))
            continue
        comparisons.append(Comparison(first.name, other.name, rows, _leak_differences(first, other, resamples, seed)))
    return BiasReport(runs, tuple(comparisons), about)


def describe(
    evidence: Sequence[Evidence],
    about: dict[str, Any],
    resamples: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
) -> BiasReport:
    """What every checkpoint says of films without labels: a report whose `runs` and `comparisons` are empty.

    Args:
        evidence: one a checkpoint; `training`, `validation` and `distances` are what its films are compared with.
        about: what is said of the whole, plain values.
        resamples: of each bootstrap over patients.
        permutations: of each permutation test.
        seed: of all resampling.

    Raises:
        PredictionsError: no film, a film without a patient, a score that is no probability, distances of other films.
    """
    found = tuple(describe_run(one, resamples, permutations, seed) for one in evidence)
    return BiasReport((), (), about, found)


def audit_run(one: Evidence, by: Sequence[str] = (), resamples: int = 2000, seed: int = 0) -> RunAudit:
    """All that is asked of one checkpoint; raises as `audit` does."""
    table, positive, usual = one.predictions, one.positive, majority(one)
    known = table["target"].notna().to_numpy()
    if not known.any():
        raise PredictionsError(f"{one.name}: no film has a target, so nothing can be measured")
    labelled = table[known].reset_index(drop=True)
    features = one.features[known]
    side = alignment(labelled["target"], labelled["source"], usual)
    groupings = [names for names in (*GROUPINGS, *((name,) for name in by)) if _groups(labelled, names)]
    groups = {
        " x ".join(names): group_metrics(labelled, positive, names, resamples, seed)
        for names in dict.fromkeys(groupings)
    }
    if (side != "").any():
        sided = labelled.assign(alignment=side)[(side != "").to_numpy()]
        groups["alignment"] = group_metrics(sided, positive, ("alignment",), resamples, seed)
    curves = {"all films": labelled} | {
        str(name): films for name, films in labelled.groupby("source") if films["target"].nunique() > 1
    }
    roc, reliability = pd.DataFrame(), pd.DataFrame()
    inside = {"estimate": math.nan, "low": math.nan, "high": math.nan}
    shortcuts = pd.DataFrame()
    found: tuple[str, ...] = ()
    if positive is not None:
        measured = {name: films for name, films in curves.items() if not shortfall(films, "auroc", positive)}
        roc = _stacked({name: roc_points(films, positive) for name, films in measured.items()})
        reliability = _stacked({name: reliability_curve(films, positive) for name, films in curves.items()})
        inside = within_source_auroc(labelled, positive, resamples, seed)._asdict()
        if one.perturbed:
            shortcuts = shortcut_table(
                labelled,
                {name: score[known] for name, score in one.perturbed.items()},
                positive,
                usual,
                resamples,
                seed,
            )
            found = tuple(findings(shortcuts))
    leakage = pd.DataFrame([_leak_row(p) for p in _probes(labelled, features, resamples, seed)])
    seen = one.training if one.training is not None else labelled
    risk = (
        field_risk(seen, positive, [n for n in (*FIELDS, *by) if n in seen]) if positive is not None else pd.DataFrame()
    )
    unlike = pd.DataFrame()
    if one.distances is not None:
        unlike = abstention(labelled, one.distances[known], one.distance_limit, ("source",), resamples, seed)
    run = RunAudit(
        name=one.name, about=one.about, films=len(labelled), patients=int(labelled["patient"].nunique()), headline="",
        checks=(), cells=pd.crosstab(labelled["source"], labelled["target"]), groups=groups, within_sources=inside, roc=roc,
        reliability=reliability, leakage=leakage, shortcuts=shortcuts, findings=found, fields=risk,
        map=feature_map(features, labelled, seed), notes=_notes(one, groups), abstention=unlike,
    )  # fmt: skip
    checks = check_run(run)
    return dataclasses.replace(run, checks=checks, headline=headline(checks))


def majority(one: Evidence) -> dict[str, str]:
    """Each source's usual target in training; empty where the training films are not known."""
    return {} if one.training is None else majority_targets(one.training["target"], one.training["source"])


def feature_map(features: np.ndarray, table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The two main components of standardised features, of at most `MAP_FILMS` films drawn at random."""
    at = np.sort(np.random.default_rng(seed).permutation(len(table))[:MAP_FILMS])
    if len(at) < 3 or features.shape[1] < 2:
        return pd.DataFrame(columns=["x", "y", "source", "target"])
    plane = PCA(2, svd_solver="randomized", random_state=seed).fit_transform(
        StandardScaler().fit_transform(features[at])
    )
    points = pd.DataFrame(plane.round(3), columns=["x", "y"])
    return points.assign(**{name: table[name].to_numpy()[at] for name in ("source", "target")})


def _groups(table: pd.DataFrame, names: Sequence[str]) -> bool:
    """Whether there is anything to group by; a column the user asked for by name must exist, which group_metrics checks."""
    if tuple(names) == ("source",):  # always there: it has all films together as well
        return True
    optional = set().union(*GROUPINGS)
    if not all(name in table or name not in optional for name in names):
        return False
    return any(name not in table or table[name].nunique(dropna=False) > 1 for name in names)


def _probes(table: pd.DataFrame, features: np.ndarray, resamples: int, seed: int) -> list[Probe]:
    found = []
    target, patient = (table[name].to_numpy() for name in ("target", "patient"))
    for name in PROBED:
        if name in table and table[name].nunique() > 1:
            attribute = table[name].to_numpy(dtype=object)
            for kind, refits in REFITS.items():
                if kind == "linear" or name == "source":
                    found.append(
                        probe(features, attribute, target, patient, name, kind, refits, resamples=resamples, seed=seed)
                    )
    return found


def _leak_row(found: Probe) -> dict[str, Any]:
    return {name: value for name, value in found._asdict().items() if not isinstance(value, np.ndarray | pd.DataFrame)}


def _leak_differences(first: Evidence, other: Evidence, resamples: int, seed: int) -> pd.DataFrame:
    order = other.predictions.set_index("file").index.get_indexer(pd.Index(first.predictions["file"]))
    table, rows = first.predictions, []
    for name in PROBED:
        if name in table and table[name].nunique() > 1:
            attribute, target, patient = (table[c].to_numpy(dtype=object) for c in (name, "target", "patient"))
            found = leak_difference(
                first.features, other.features[order], attribute, target, patient, resamples=resamples, seed=seed
            )
            rows.append({"attribute": name} | found._asdict())
    return pd.DataFrame(rows)


def _stacked(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    parts = [frame.assign(group=name) for name, frame in frames.items()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _notes(one: Evidence, groups: dict[str, GroupMetrics]) -> tuple[str, ...]:
    notes = dict.fromkeys(note for found in groups.values() for note in found.notes)
    if one.training is None:
        notes["The run's training films are not known here: which label is usual at a source can't be said."] = None
    return tuple(notes)
