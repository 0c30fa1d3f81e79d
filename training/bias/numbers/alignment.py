"""Which label is usual at a film's source, in the training films, and whether a film has it."""

import numpy as np
import pandas as pd


def majority_targets(target: pd.Series, source: pd.Series) -> dict[str, str]:
    """Each source's most frequent target among training films; sources whose top targets tie are left out."""
    majority = {}
    for name, counts in target.groupby(source).value_counts().groupby(level=0):
        top = counts.droplevel(0)
        if (top == top.max()).sum() == 1:
            majority[str(name)] = str(top.idxmax())
    return majority


def alignment(target: pd.Series, source: pd.Series, majority: dict[str, str]) -> pd.Series:
    """`aligned` where a film's target is its source's majority in training, `conflicting` where not, else empty."""
    usual = source.map(majority)
    side = pd.Series(np.where(usual == target, "aligned", "conflicting"), index=target.index, dtype=object)
    return side.where(usual.notna(), "")
