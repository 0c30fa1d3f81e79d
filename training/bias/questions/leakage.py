"""How much of an attribute a frozen representation gives away: the source, or the view, the sex, the age.

A probe predicts the attribute from the features within each target class: source and target are correlated, so a probe
over all films would also read the target. After Tartaglione et al. 2021 and Barbano et al. 2023, who probe the colour of
Biased MNIST; balanced, per class and with folds by patient here. The test is Ojala and Garriga, Permutation tests for
studying classifier performance, JMLR 2010, their first, within a class and with patients for films.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score

from training.bias.numbers.metrics import MINIMUM_PATIENTS, ratio
from training.bias.numbers.uncertainty import Statistic, detectable_difference, intervals, resampling_strata
from training.bias.questions.probing import (
    FOLDS,
    Kind,
    ProbedClass,
    linear_guesses,
    probed_classes,
    refitted_leaks,
    right_guesses,
)


class Leak(NamedTuple):
    """Balanced accuracy of the probe, and what guessing gives.

    Attributes:
        leak: mean over target classes, 0 to 1; NaN where no class has two sources of enough patients.
        chance: mean of 1 / (number of sources) over the same classes.
        normalised: (leak - chance) / (1 - chance): 0 at chance, 1 where the source is read without error.
    """

    leak: float
    chance: float
    normalised: float


class Probe(NamedTuple):
    """What a probe reads of an attribute, and whether that is more than luck.

    Attributes:
        attribute: its name.
        kind: of the probe.
        leak: as in `Leak`.
        low: of its 95 % interval over patients.
        high: of the same.
        chance: as in `Leak`.
        normalised: as in `Leak`.
        p: share of the refits, that on the true values included, that read at least as much as it: 1 / (permutations + 1)
            or more.
        null_mean: mean leak of the refits on permuted values.
        null_high: their 95th percentile.
        note: what was left out and why, or why nothing can be concluded; empty where everything took part.
        classes: a row for each target class that was probed: target, values, films, patients, leak, chance.
        values: a row for each target class and value there is: target, value, films, patients, and recall, the share of
            its films that the probe calls right, NaN where the value was left out.
    """

    attribute: str
    kind: str
    leak: float
    low: float
    high: float
    chance: float
    normalised: float
    p: float
    null_mean: float
    null_high: float
    note: str
    classes: pd.DataFrame
    values: pd.DataFrame


class LeakDifference(NamedTuple):
    """Leak of one checkpoint minus that of another on the same films.

    Attributes:
        kind: of the probe.
        difference: of the leaks; NaN where no class has two values of enough patients.
        low: of its 95 % interval over patients.
        high: of the same.
        detectable: smallest difference found with power 0.8 at a two-sided level of 0.05, 2.80 standard errors.
    """

    kind: str
    difference: float
    low: float
    high: float
    detectable: float


def source_leak(
    features: np.ndarray, source: np.ndarray, target: np.ndarray, patient: np.ndarray, folds: int = FOLDS, seed: int = 0
) -> Leak:
    """Probe the source from features, out of fold, within each target class.

    Args:
        features: films x width.
        source: source of each film; within a class, sources of fewer than ten patients are left out.
        target: target of each film.
        patient: patient of each film; folds never divide one.
        folds: of the cross-validation.
        seed: of the folds.
    """
    classes = probed_classes(source, target, patient, folds, seed)
    if not classes:
        return Leak(float("nan"), float("nan"), float("nan"))
    leak = float(np.mean([balanced_accuracy_score(c.value, linear_guesses(features, c)) for c in classes]))
    chance = float(np.mean([1 / len(np.unique(c.value)) for c in classes]))
    return Leak(leak, chance, (leak - chance) / (1 - chance))


def probe(
    features: np.ndarray,
    attribute: np.ndarray,
    target: np.ndarray,
    patient: np.ndarray,
    name: str = "attribute",
    kind: Kind = "linear",
    permutations: int = 99,
    resamples: int = 2000,
    seed: int = 0,
) -> Probe:
    """Probe any attribute from features, out of fold, within each target class, with an interval and a test.

    The linear probe is that of `source_leak`, with the same number. The MLP has one hidden layer of 64 units on the 64
    leading principal components, stopped early: what it reads beyond the linear probe is there, but not on a plane.

    The interval resamples patients with the out-of-fold guesses as they are. It does not see that other patients would have
    trained another probe, and is too narrow where the probe reads little: of simulated features that know nothing, about
    one interval in six misses chance. So p answers whether there is a leak, the interval how large it is.

    The null of the test: within a target class, features have nothing to do with the attribute. The folds stay; within a
    class and a fold, patients with one value swap their values whole, and a patient with several (two views, say) has them
    shuffled among the patient's own films, so that serial films stay together and every fold keeps its patients of each
    value. The probe is fitted anew for each permutation: guesses of different folds depend on one another's films, and
    permuting against fixed guesses rejected a true null at 5 % in one simulation of ten (the refits: 5 %). For speed the
    refits, that on the true values too, use the principal components and a looser tolerance, so p is that of a slightly
    weaker linear probe than `leak`. Limits: patients of many films swap with patients of few, so that a number of films
    which follows the attribute is tested along with the features; a patient in two target classes is permuted in each apart;
    of patients with several values only what tells their own films apart can count against the null.

    Args:
        features: films x width.
        attribute: of each film; missing (None, NaN, empty) are left out, and so are, within a class, values of fewer than
            ten patients.
        target: target of each film.
        patient: patient of each film; folds never divide one.
        name: of the attribute, for the result.
        kind: `linear` or `mlp`.
        permutations: refits under the null; 99 take about 10 s for 1,000 films, of the MLP 15 s.
        resamples: of the bootstrap.
        seed: of folds, permutations, resamples and the MLP's first weights.

    Raises:
        ValueError: an unknown kind, or no permutation asked for.
    """
    if kind not in ("linear", "mlp") or permutations < 1:
        raise ValueError(f"kind {kind!r} with {permutations} permutations: linear or mlp, with at least one")
    recorded, value = _recorded(attribute)
    features, target, patient = features[recorded], target[recorded], patient[recorded]
    classes = probed_classes(value, target, patient, FOLDS, seed)
    right = right_guesses(features, classes, kind, seed)
    values = _value_table(value, target, patient, right, classes)
    table = _class_table(values, classes)
    note = _note(name, values, int((~recorded).sum()), classes)
    nan = float("nan")
    if not classes:
        return Probe(name, kind, nan, nan, nan, nan, nan, nan, nan, nan, note, table, values)
    found, _, _ = intervals(_leak_statistic(right, classes), _resampling(classes), resamples, seed)
    leak, low, high = found[0]
    chance = float(table["chance"].mean())

    refits = refitted_leaks(features, classes, kind, permutations, seed)
    return Probe(
        name, kind, leak, low, high, chance,
        normalised=(leak - chance) / (1 - chance),
        p=float(np.mean(refits >= refits[0])),
        null_mean=float(refits[1:].mean()),
        null_high=float(np.percentile(refits[1:], 95)),
        note=note, classes=table, values=values,
    )  # fmt: skip


def leak_difference(
    reference: np.ndarray,
    other: np.ndarray,
    attribute: np.ndarray,
    target: np.ndarray,
    patient: np.ndarray,
    kind: Kind = "linear",
    resamples: int = 2000,
    seed: int = 0,
) -> LeakDifference:
    """Leak of the features `other` minus that of `reference`, of the same films.

    Both are probed in the same folds and resampled with the same patients, their guesses as they are: the interval does not
    see how the probes would vary (see `probe`). Of simulated pairs that both know nothing, about one interval in seven
    misses 0, so a difference near the bound is weak evidence.

    Args:
        reference: films x width.
        other: films x its own width, the same films in the same order.
        attribute: see `probe`.
        target: of each film.
        patient: of each film.
        kind: `linear` or `mlp`.
        resamples: of the bootstrap.
        seed: of folds, resamples and the MLP's first weights.
    """
    recorded, value = _recorded(attribute)
    classes = probed_classes(value, target[recorded], patient[recorded], FOLDS, seed)
    if not classes:
        return LeakDifference(kind, *(float("nan"),) * 4)
    theirs, ours = (
        _leak_statistic(right_guesses(features[recorded], classes, kind, seed), classes)
        for features in (reference, other)
    )
    found, _, drawn = intervals(lambda weights: ours(weights) - theirs(weights), _resampling(classes), resamples, seed)
    return LeakDifference(kind, *found[0], detectable_difference(drawn[0]))


def _leak_statistic(right: list[np.ndarray], classes: list[ProbedClass]) -> Statistic:
    """The leak as a function of patient weights; NaN where a value has no weight."""
    patient, cell = _patients_and_cells(classes)
    sums = np.zeros((2, cell.max() + 1, patient.max() + 1))  # films called right, and films
    np.add.at(sums, (slice(None), cell, patient), np.stack([np.concatenate(right), np.ones(len(cell))]))  # type: ignore[arg-type]
    sizes = [len(np.unique(c.value)) for c in classes]
    share = np.repeat([1 / (size * len(classes)) for size in sizes], sizes)
    return lambda weights: (share @ ratio(sums[0] @ weights, sums[1] @ weights))[None]


def _resampling(classes: list[ProbedClass]) -> np.ndarray:
    """Strata of the patients of `_leak_statistic`."""
    patient, cell = _patients_and_cells(classes)
    return resampling_strata(patient, cell, np.zeros_like(cell))


def _patients_and_cells(classes: list[ProbedClass]) -> tuple[np.ndarray, np.ndarray]:
    """Index of the patient and of the class x value cell of each probed film, class by class."""
    patient = np.unique(np.concatenate([c.patient for c in classes]), return_inverse=True)[1]
    cells, first = [], 0
    for probed in classes:
        names, value = np.unique(probed.value, return_inverse=True)
        cells.append(first + value)
        first += len(names)
    return patient, np.concatenate(cells)


def _recorded(attribute: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which films have a value, and these values as text."""
    column = pd.Series(attribute, dtype=object)
    there = (column.notna() & (column != "")).to_numpy(dtype=bool)
    return there, column[there].to_numpy().astype(str)


def _value_table(
    value: np.ndarray, target: np.ndarray, patient: np.ndarray, right: list[np.ndarray], classes: list[ProbedClass]
) -> pd.DataFrame:
    films = pd.DataFrame({"target": target, "value": value, "patient": patient, "right": np.nan})
    for hit, probed in zip(right, classes, strict=True):
        films.loc[probed.films, "right"] = hit.astype(float)
    cells = films.groupby(["target", "value"])
    return cells.agg(films=("patient", "size"), patients=("patient", "nunique"), recall=("right", "mean")).reset_index()


def _class_table(values: pd.DataFrame, classes: list[ProbedClass]) -> pd.DataFrame:
    probed = values.dropna(subset="recall").groupby("target")
    table = probed.agg(values=("value", "size"), films=("films", "sum"), leak=("recall", "mean")).reset_index()
    table.insert(3, "patients", [len(np.unique(c.patient)) for c in classes])
    return table.assign(chance=1 / table["values"])


def _note(name: str, values: pd.DataFrame, missing: int, classes: list[ProbedClass]) -> str:
    sentences = []
    if missing:
        sentences.append(f"{name} is not recorded for {missing} film{'s' if missing > 1 else ''}: left out.")
    small = values[values["patients"] < MINIMUM_PATIENTS]
    if len(small):
        cells = ", ".join(f"{row.value} in {row.target} ({row.patients})" for row in small.itertuples())
        sentences.append(f"Left out, with fewer than {MINIMUM_PATIENTS} patients: {cells}.")
    if not classes:
        sentences.append(
            f"Cannot conclude: no target class has two values of {MINIMUM_PATIENTS} patients or more, so nothing can be told "
            "apart within a class."
        )
    return " ".join(sentences)
