"""Before training: does the source tell the label, and what can EnD do about it on this table?

Cramer's V: H. Cramer, Mathematical Methods of Statistics, 1946; V = sqrt(chi2 / (n (min(rows, columns) - 1))), from scipy.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats.contingency import association

NEARLY_DETERMINED = 0.8


class PairCounts(NamedTuple):
    """Unordered pairs in a batch: those that R_perp sees (same bias), and those of R_par (same target, other bias)."""

    disentangling: int
    entangling: int


def count_groups(target: np.ndarray, bias: np.ndarray, targets: int, biases: int) -> np.ndarray:
    """Samples by target (rows) and bias (columns), from integer labels."""
    return np.bincount(target * biases + bias, minlength=targets * biases).reshape(targets, biases)


def count_pairs(target: np.ndarray, bias: np.ndarray) -> PairCounts:
    """Count the pairs each term sees among samples with these integer labels."""
    cells = count_groups(target, bias, int(target.max(initial=0)) + 1, int(bias.max(initial=0)) + 1)
    by_bias, by_target = cells.sum(0), cells.sum(1)
    same_bias = int((by_bias * (by_bias - 1) // 2).sum())
    across = int(((by_target**2).sum() - (cells**2).sum()) // 2)
    return PairCounts(same_bias, across)


@dataclass(frozen=True)
class Confounding:
    """The source x label table of the training films, and what follows from it.

    Attributes:
        table: films by source (rows) and label (columns).
        cramers_v: association of source and label, 0 to 1; NaN with a single source or label.
        pairs: expected pairs per batch of each term when films are drawn at random.
        targets_across: labels that come from two sources or more.
        verdict: `identifiable`, `weak` or `not identifiable`.
        sentence: the verdict in words, with what EnD can and can't do here.
    """

    table: pd.DataFrame
    cramers_v: float
    pairs: tuple[float, float]
    targets_across: tuple[str, ...]
    verdict: str
    sentence: str


def check_confounding(label: pd.Series, source: pd.Series, batch_size: int, bias_name: str = "source") -> Confounding:
    """Describe how far the source gives the label away.

    `not identifiable`: no label comes from two sources, so no data can tell source from label and R_par is empty. `weak`:
    a label has a single source, a random batch has on average less than one pair per label that R_par can use, or the
    source nearly gives the label (Cramer's V of 0.8 or more), so that a shortcut is right for nearly every training film.
    """
    table = pd.crosstab(source, label, rownames=[bias_name], colnames=["label"])
    counts = table.to_numpy()
    films = counts.sum()
    v = float(association(counts, method="cramer", correction=False)) if min(counts.shape) > 1 else float("nan")
    by_source, by_label = counts.sum(1), counts.sum(0)
    batch = min(batch_size, int(films))
    chance = batch * (batch - 1) / (films * (films - 1)) if films > 1 else 0.0
    perp = float((by_source * (by_source - 1) / 2).sum() * chance)
    par = float(((by_label**2).sum() - (counts**2).sum()) / 2 * chance)
    across = tuple(str(name) for name in table.columns[(counts > 0).sum(0) > 1])
    single = [str(name) for name in table.columns if str(name) not in across]
    several = f"{bias_name}{'es' if bias_name.endswith(('s', 'x')) else 's'}"
    if not across:
        verdict = "not identifiable"
        sentence = (
            f"No label comes from two {several}: {bias_name} and label can't be told apart by any method. R_par has no "
            f"pair to work on. Add films of one label from a second {bias_name}, or expect to learn the {bias_name}."
        )
    elif single or par < len(by_label) or v >= NEARLY_DETERMINED:
        verdict = "weak"
        if single:
            reason = f"{', '.join(single)} from a single {bias_name}"
        elif v >= NEARLY_DETERMINED:
            reason = f"the {bias_name} nearly gives the label"
        else:
            reason = "few pairs in a batch of this size"
        alone = f" of {', '.join(across)}" if single else ""
        sentence = (
            f"{bias_name.capitalize()} and label can be told apart only weakly: {reason}. EnD's R_par works on about "
            f"{par:.0f} pairs a random batch{alone}, R_perp on about {perp:.0f}."
        )
        if single:
            sentence += f" EnD can't help where a label has one {bias_name}."
    else:
        verdict = "identifiable"
        sentence = (
            f"Every label comes from two {several} or more: EnD's R_par works on about {par:.0f} pairs a random batch, "
            f"R_perp on about {perp:.0f}. What is common to all {several} of a label can't be told from the label."
        )
    return Confounding(table, v, (perp, par), across, verdict, sentence)
