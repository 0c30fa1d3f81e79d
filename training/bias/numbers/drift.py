"""How far films without labels are from a run's own films: a distance for each attribute, tested over patients.

Scores are compared by the two-sample Kolmogorov-Smirnov distance, categories by total variation (both 0 to 1), as in
Rabanser, Guennemann and Lipton, Failing Loudly, NeurIPS 2019. Their p-values need independent films; ours permute the cohort
label among patients and keep a patient's films together (Good, Permutation, Parametric and Bootstrap Tests of Hypotheses,
2005). Family-wise error over the rows: Holm 1979.

A difference in score may be a difference in prevalence rather than a broken model, and no difference does not prove that
the scores are right: that takes labels.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from training.bias.numbers.compare import LEVEL, holm
from training.bias.numbers.groups import ALL_FILMS, group_names
from training.bias.numbers.metrics import MINIMUM_PATIENTS, Statistic, require_columns, stacked
from training.bias.numbers.uncertainty import over_chunks, permutation_p

ATTRIBUTES = ("source", "view", "sex", "age_band", "manufacturer")
DIFFERS, NOT_SHOWN, UNKNOWN = "differs", "no difference shown", "cannot conclude"
KOLMOGOROV_SMIRNOV, TOTAL_VARIATION = "Kolmogorov-Smirnov", "total variation"
NUMBERS = ("distance", "by_chance", "p", "p_holm")
COLUMNS = (
    "attribute", "group", "against", "statistic", *NUMBERS, "films", "patients", "against_films", "against_patients",
    "verdict", "largest_change", "note",
)  # fmt: skip


def drift(
    table: pd.DataFrame,
    training: pd.DataFrame | None,
    validation: pd.DataFrame | None,
    positive: str | None,
    permutations: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Distances between the films and the run's own, a row for the score, for the score by source, and for each attribute.

    The score is compared with that of the validation films, because a model is surer on its training films than on any
    others. Attributes are compared with the training films; a missing value is the category `not recorded`. A patient in
    both tables counts in each.

    Args:
        table: predictions of the films; targets are not read.
        training: predictions of the run's training films, or None: no row of attributes then.
        validation: predictions of its validation films, or None: no row of the score then.
        positive: name of the positive class, or None where there is no score.
        permutations: with fewer than 20 times the number of rows, no row could differ after Holm's correction.

    Returns:
        attribute, group (`all films` or a source), against (`validation` or `training`), statistic, distance, by_chance (95 %
        quantile of the permuted distances), p, p_holm (over all rows that have one), films, patients, against_films,
        against_patients, verdict (`differs`, `no difference shown`, `cannot conclude`), largest_change (the category whose
        share changed most, or the medians of the score), note (why a row is NaN: below ten patients on a side).
    """
    rows: list[_Row] = []
    if positive is not None and validation is not None:
        require_columns(validation, ("patient", "score"))
        source = group_names(table, ["source"])
        parts = {ALL_FILMS: table} | {name: table[source == name] for name in np.unique(source)}
        for group, part in list(parts.items())[: None if len(parts) > 2 else 1]:  # one source is all films
            rows.append(_Row("score", group, "validation", part, validation))
    if training is not None:
        for name in ATTRIBUTES:
            if name in table and name in training and (table[name].notna().any() or training[name].notna().any()):
                rows.append(_Row(name, ALL_FILMS, "training", table, training))
    frame = pd.DataFrame([row.described() for row in rows], columns=COLUMNS)
    known = frame.index[frame["note"] == ""]
    # Rows of the same films on both sides share their permutations.
    measured: dict[int, tuple[float, float, float]] = {}
    for at in frame.loc[known].groupby(["group", "against"], sort=False).indices.values():
        same_films = known[at].tolist()
        measured |= zip(same_films, _permuted([rows[number] for number in same_films], permutations, seed), strict=True)
    values = pd.DataFrame.from_dict(measured, orient="index", columns=["distance", "by_chance", "p"], dtype=float)
    frame = frame.drop(columns=values.columns).join(values)[list(COLUMNS)]
    frame["p_holm"] = holm(frame["p"].to_numpy())
    frame["verdict"] = np.where(
        frame["p_holm"].isna(), UNKNOWN, np.where(frame["p_holm"] < LEVEL, DIFFERS, NOT_SHOWN)
    ).astype(object)
    return frame


def drift_notes(frame: pd.DataFrame, permutations: int) -> list[str]:
    """Caveats on the rows of `drift`, as sentences."""
    tested = int(frame["p"].notna().sum())
    if tested > LEVEL * (1 + permutations):
        return [f"{permutations} permutations are too few for {tested} comparisons: none could be shown to differ."]
    return []


class _Row(NamedTuple):
    """One attribute of some films (`here`) and of those they are compared with (`there`)."""

    attribute: str
    group: str
    against: str
    here: pd.DataFrame
    there: pd.DataFrame

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """The attribute of the films here and there: scores, or names of categories."""
        if self.attribute == "score":
            return self.here["score"].to_numpy(float), self.there["score"].to_numpy(float)
        return group_names(self.here, [self.attribute]), group_names(self.there, [self.attribute])

    def described(self) -> dict[str, Any]:
        patients = [int(films["patient"].nunique()) for films in (self.here, self.there)]
        fewest, note = min(patients), ""
        if fewest < MINIMUM_PATIENTS:
            side = "" if patients[0] == fewest else f" among the {self.against} films"
            plural = "s" if fewest != 1 else ""
            note = f"cannot conclude: {fewest} patient{plural}{side}, {MINIMUM_PATIENTS} are needed"
        return {
            "attribute": self.attribute,
            "group": self.group,
            "against": self.against,
            "statistic": KOLMOGOROV_SMIRNOV if self.attribute == "score" else TOTAL_VARIATION,
            "films": len(self.here),
            "patients": patients[0],
            "against_films": len(self.there),
            "against_patients": patients[1],
            "largest_change": "" if note else self._largest_change(),
            "note": note,
        }

    def _largest_change(self) -> str:
        here, there = self.values()
        if self.attribute == "score":
            return f"median {np.median(here):.2f}, {self.against} {np.median(there):.2f}"
        shares = [pd.Series(values).value_counts(normalize=True) for values in (here, there)]
        both = pd.concat(shares, axis=1).fillna(0.0).sort_index()
        now, before = both.to_numpy().T
        at = int(np.abs(now - before).argmax())
        return f"{both.index[at]} {100 * now[at]:.0f} %, {self.against} {100 * before[at]:.0f} %"


def _permuted(rows: list[_Row], permutations: int, seed: int) -> list[tuple[float, float, float]]:
    """Distance, 95 % quantile of the permuted ones and p, of rows of the same films on both sides."""
    here, there = (pd.factorize(films["patient"])[0] for films in (rows[0].here, rows[0].there))
    side = np.zeros(here.max() + there.max() + 2)
    side[: here.max() + 1] = 1
    patient = np.concatenate([here, there + here.max() + 1])
    distances = stacked([_distance(np.concatenate(row.values()), patient, row.attribute == "score") for row in rows])
    few = int(min(side.sum(), len(side) - side.sum()))

    def draw(first: int, count: int) -> np.ndarray:
        # The distances don't change when the sides are exchanged, so that the smaller one is drawn.
        rng, sides = np.random.default_rng([seed, first]), np.zeros((len(side), count))
        for column in sides.T:
            column[rng.choice(len(side), few, replace=False, shuffle=False)] = 1
        return sides

    observed = distances(side[:, None])[:, 0]
    permuted = over_chunks(distances, draw, len(side), permutations)
    return [
        (float(distance), float(np.quantile(by_chance, 1 - LEVEL)), permutation_p(distance, by_chance))
        for distance, by_chance in zip(observed, permuted, strict=True)
    ]


def _distance(values: np.ndarray, patient: np.ndarray, ordered: bool) -> Statistic:
    """Distance between the films of the patients of weight 1 and those of the patients of weight 0."""
    value, distinct = pd.factorize(values, sort=True)
    shape = (len(distinct), int(patient.max()) + 1)
    films = csr_array((np.ones(len(value)), (value, patient)), shape=shape)  # of each value and patient
    total = np.bincount(value).astype(float)[:, None]

    def distance(weights: np.ndarray) -> np.ndarray:
        difference: np.ndarray = films @ weights
        size, everything = difference.sum(axis=0), int(total.sum())
        # n1 / N1 - (n - n1) / (N - N1), in place: there are as many rows as distinct scores.
        difference *= 1 / size + 1 / (everything - size)
        difference -= total / (everything - size)
        if ordered:
            np.cumsum(difference, axis=0, out=difference)
        np.abs(difference, out=difference)
        return (difference.max(axis=0) if ordered else difference.sum(axis=0) / 2)[None]

    return distance
