"""Paired differences of two runs for the questions of the verdict, corrected over these questions (Holm)."""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from training.bias.evidence import Evidence, is_external, never_seen
from training.bias.numbers.auroc import auroc_difference, auroc_permutation_p
from training.bias.numbers.compare import holm, paired
from training.bias.numbers.contrast import contrast_difference_p, contrast_statistic
from training.bias.numbers.groups import group_names
from training.bias.numbers.metrics import paired_difference, ranking_score
from training.bias.numbers.uncertainty import NO_INTERVAL, Interval, detectable_difference, intervals, resampling_strata
from training.bias.report.answers import BY_KEY, NO_DIFFERENCE, NOT_TESTED, QUESTIONS, TOO_FEW, Difference, Question

LEVEL = 0.05
# The standard error of a difference from the one that it is found with at power 0.8 and a level of 0.05.
PER_STANDARD_ERROR = float(norm.ppf(0.975) + norm.ppf(0.8))


class Gap(NamedTuple):
    """A difference of two runs on the same films."""

    interval: Interval
    p: float
    detectable: float  # at a level of 0.05


def question_differences(
    first: Evidence,
    other: Evidence,
    usual: dict[str, str],
    leakage: pd.DataFrame,
    resamples: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
) -> tuple[Difference, ...]:
    """A difference `other` minus `first` for each question; both have the same films, as `compare.paired` checks.

    Args:
        usual: usual label of each source in training.
        leakage: differences in leak by attribute, with low, high and detectable.
    """
    gaps = gaps_of(first, other, usual, leakage, resamples, permutations, seed)
    return differences_of([(question, gaps.get(question.key)) for question in QUESTIONS], first.name, other.name)


def differences_of(gaps: Sequence[tuple[Question, Gap | None]], first: str, other: str) -> tuple[Difference, ...]:
    """Each question's difference `other` minus `first`, corrected over all of them; a gap is None where it is not known."""
    p = np.array([np.nan if gap is None else gap.p for _, gap in gaps])
    corrected, family = holm(p), max(1, int((~np.isnan(p)).sum()))
    larger = (norm.isf(LEVEL / family / 2) + norm.ppf(0.8)) / PER_STANDARD_ERROR
    found = []
    for (question, gap), p_holm in zip(gaps, corrected, strict=True):
        if gap is None:
            gap, verdict = Gap(NO_INTERVAL, math.nan, math.nan), NOT_TESTED
        elif math.isnan(gap.interval.estimate):
            verdict = TOO_FEW
        elif p_holm < LEVEL and (gap.interval.low > 0 or gap.interval.high < 0):
            verdict = "better" if (gap.interval.estimate > 0) != question.lower_is_better else "worse"
        else:
            verdict = NO_DIFFERENCE
        detectable = float(gap.detectable * larger)
        found.append(Difference(question.key, first, other, *gap.interval, gap.p, float(p_holm), detectable, verdict))
    return tuple(found)


def gaps_of(
    first: Evidence,
    other: Evidence,
    usual: dict[str, str],
    leakage: pd.DataFrame,
    resamples: int,
    permutations: int,
    seed: int,
    asked: Collection[str] = tuple(BY_KEY),
) -> dict[str, Gap]:
    """The gap of each question asked that these films can tell, by its key; arguments as `question_differences`."""
    a, b = paired(first.predictions, other.predictions)
    found = {}
    if first.positive is not None:
        is_positive = (a["target"] == first.positive).to_numpy()
        # Of runs of different training sources only films are compared that all know, or that none has seen.
        unseen = never_seen(a, first.training) & never_seen(b, other.training)
        known = ~(is_external(a) | is_external(b))
        everything, source = np.ones(len(a), bool), group_names(a, ["source"])
        questions = {"works": (known, is_positive, None), "within": (everything, is_positive, source)}
        if unseen.any():
            questions["unseen"] = (unseen, is_positive, None)
        if usual:
            label = a["source"].map(usual)
            target = a["target"].to_numpy(object)
            questions["follows"] = (label.notna().to_numpy(), (label == first.positive).to_numpy(), target)
        patient, scores = a["patient"].to_numpy(), [ranking_score(t) for t in (b, a)]
        for key, (rows, side, stratum) in ((key, of) for key, of in questions.items() if key in asked):
            films = (side[rows], scores[0][rows], scores[1][rows], patient[rows])
            strata = None if stratum is None else stratum[rows]
            if not rows.any():
                continue
            gap, detectable = auroc_difference(*films, resamples, seed, strata)
            found[key] = Gap(gap, auroc_permutation_p(*films, strata, permutations, seed), detectable)
    if usual:
        found["contradicting"] = _contrast(a, b, usual, resamples, permutations, seed)
    source_leak = leakage[leakage["attribute"] == "source"] if len(leakage) else leakage
    if len(source_leak):
        row = source_leak.iloc[0]
        gap = Interval.of(row, "difference")
        error = row["detectable"] / PER_STANDARD_ERROR
        p = float(2 * norm.sf(abs(gap.estimate) / error)) if error > 0 else math.nan
        found["readable"] = Gap(gap, p, float(row["detectable"]))
    return found


def _contrast(
    a: pd.DataFrame, b: pd.DataFrame, usual: dict[str, str], resamples: int, permutations: int, seed: int
) -> Gap:
    second, first = contrast_statistic(b, usual), contrast_statistic(a, usual)
    if second is None or first is None:
        return Gap(NO_INTERVAL, math.nan, math.nan)
    patient = pd.factorize(a["patient"])[0]
    stratum = resampling_strata(patient, pd.factorize(a["source"])[0], pd.factorize(a["target"])[0])
    (gap,), _, drawn = intervals(paired_difference(second, first), stratum, resamples, seed)
    return Gap(gap, contrast_difference_p(a, b, usual, permutations, seed), detectable_difference(drawn[0]))
