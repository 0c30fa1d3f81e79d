"""Which label is usual at a film's source, in the training films, and whether a film has it."""

import numpy as np
import pandas as pd


def majority_targets(target: pd.Series, source: pd.Series) -> dict[str, str]:
    """Each source's most frequent target among training films.

    Of targets that are equally frequent, it is the one that is more frequent at the source than in all training films; a
    source where that does not decide either is left out.
    """
    majority, overall = {}, target.value_counts(normalize=True)
    for name, counts in target.groupby(source).value_counts().groupby(level=0):
        top = counts.droplevel(0)
        top = top[top == top.max()]
        rarer = overall[top.index]
        if len(top) == 1 or (rarer == rarer.min()).sum() == 1:
            majority[str(name)] = str(rarer.idxmin())
    return majority


def alignment(target: pd.Series, source: pd.Series, majority: dict[str, str]) -> pd.Series:
    """`aligned` where a film's target is its source's majority in training, `conflicting` where not, else empty."""
    usual = source.map(majority)
    side = pd.Series(np.where(usual == target, "aligned", "conflicting"), index=target.index, dtype=object)
    return side.where(usual.notna(), "")
