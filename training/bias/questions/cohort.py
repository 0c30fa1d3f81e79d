"""Who the audited patients are, by source, and whether a source has enough of them to be asked.

Precise from 100 patients of each label on: Collins, Ogundimu and Altman, Statistics in Medicine, 2016, of 100 events and 100
non-events for the external validation of a prognostic model.
"""

import numpy as np
import pandas as pd

from training.bias.evidence import never_seen
from training.bias.numbers.groups import ALL_FILMS, NOT_RECORDED, group_rows
from training.bias.numbers.weighting import MINIMUM_PATIENTS, effective_patients, film_weights

PRECISE_PATIENTS = 100
ENOUGH, ROUGH, FEW, ONE_LABEL = "enough", "rough", "too few", "one label"
DESCRIBED = ("sex", "age_band", "view")
# Values of an attribute that are named, and sources in a sentence; the rest is counted.
NAMED, NAMED_SOURCES = 4, 8


def cohort_table(films: pd.DataFrame, training: pd.DataFrame | None = None) -> pd.DataFrame:
    """A row for all films, then one for each source.

    Args:
        films: predictions whose films all have a target.
        training: predictions of the training films, or None where they are not known.

    Returns:
        source; never_seen; films; patients; `patients, LABEL`: effective patients of each label;
        sex, age_band and view where they are recorded: shares of films in words; adequacy: `enough` (100 effective patients
        of each label of the films), `rough` (10), `too few`, or `one label`.
    """
    patient, target = pd.factorize(films["patient"])[0], films["target"].astype(str)
    code, labels = pd.factorize(target, sort=True)
    unseen = never_seen(films, training)
    rows = []
    for name, at in group_rows(films, ["source"]).items():
        weight = film_weights(patient[at], code[at])
        worth = {}
        for number, label in enumerate(labels):
            of_label = code[at] == number
            worth[str(label)] = effective_patients(patient[at][of_label], weight[of_label])
        row = {
            "source": name, "never_seen": bool(unseen[at].all()), "films": len(at),
            "patients": len(np.unique(patient[at])), **{f"patients, {label}": round(n, 1) for label, n in worth.items()},
        }  # fmt: skip
        row |= {column: _shares(films[column].iloc[at]) for column in DESCRIBED if column in films}
        rows.append(row | {"adequacy": _adequacy(list(worth.values()))})
    return pd.DataFrame(rows)


def what_sources_cannot_tell(cohort: pd.DataFrame) -> str:
    """Which sources have too few patients of a label, in a sentence; empty where all have enough."""
    sources = cohort[cohort["source"] != ALL_FILMS]
    known = sources["adequacy"].isin((ENOUGH, ROUGH))
    enough, others = (_named(sources[rows]["source"].tolist()) for rows in (known, ~known))
    if not others:
        return ""
    if not enough:
        return f"No source has {MINIMUM_PATIENTS} patients of each label: source and label can't be told apart."
    verb = "has" if known.sum() == 1 else "have"
    only = f"Only {enough} {verb} {MINIMUM_PATIENTS} patients of each label"
    return f"{only}; at {others} source and label can't be told apart."


def _adequacy(worth: list[float]) -> str:
    if sum(number > 0 for number in worth) < 2:
        return ONE_LABEL
    fewest = min(worth)
    return FEW if fewest < MINIMUM_PATIENTS else ROUGH if fewest < PRECISE_PATIENTS else ENOUGH


def _shares(values: pd.Series) -> str:
    """`F 52 %, M 45 %, not recorded 3 %`, the most frequent first."""
    share = values.astype(object).where(values.notna(), NOT_RECORDED).astype(str).value_counts(normalize=True)
    named = [f"{value} {part:.0%}".replace("%", " %") for value, part in share.head(NAMED).items()]
    return ", ".join(named + [f"{len(share) - NAMED} others"] * (len(share) > NAMED))


def _named(names: list[str]) -> str:
    if len(names) > NAMED_SOURCES + 1:
        names = [*names[:NAMED_SOURCES], f"{len(names) - NAMED_SOURCES} others"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
