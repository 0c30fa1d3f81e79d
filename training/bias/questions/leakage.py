"""How well can an attribute of the film (source, view, sex, age) be read from frozen features?

A probe predicts the attribute from the features within each target class: source and target are correlated, so a probe
over all films would also read the target. After Tartaglione et al. 2021 and Barbano et al. 2023, who probe the colour of
Biased MNIST; here the probe is balanced, per class, and its folds are by patient. The test is the first of Ojala and Garriga,
Permutation tests for studying classifier performance, JMLR 2010, within a class and with patients in place of films.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from training.bias.numbers.metrics import MINIMUM_PATIENTS
from training.bias.numbers.uncertainty import NO_INTERVAL, Interval, bootstrap, detectable_difference, resampling_strata
from training.bias.questions.probing import ProbedClass, permuted, probed_classes, probes, units_of, whitened

KIND = "linear"  # in reports; those of 0.1.0 have rows of another probe, "mlp", too
PERMUTATIONS = 999
# Enough for a standard error to within 4 %; each refits the probe.
RESAMPLES = 400


class Leak(NamedTuple):
    """Balanced accuracy of the probe, and that of guessing.

    Attributes:
        leak: mean over target classes, 0 to 1; NaN where no class has two sources of enough patients.
        chance: mean of 1 / (number of sources) over the same classes.
        normalised: (leak - chance) / (1 - chance): 0 at chance, 1 where the source is read without error.
    """

    leak: float
    chance: float
    normalised: float


class Probe(NamedTuple):
    """Leak of an attribute, its interval, and whether it is more than chance; `leak` to `normalised` as in `Leak`.

    Attributes:
        low: lower bound of the leak, 95 % over patients.
        kind: `linear`.
        p: share of all probes, that of the true values included, whose distance (see `probing.Probes`) is as high as that of
            the true values: at least 1 / (permutations + 1).
        null_mean: mean leak of the probes of permuted values.
        null_high: 95th percentile of the same.
        note: films and values left out, or why nothing can be concluded; else empty.
        classes: a row for each target class that was probed: target, values, films, patients, leak, chance.
        values: a row for each target class and value: target, value, films, patients, and recall, the share of films that
            the probe calls right, NaN where the value was left out.
        resampled: the leak of each resample of patients, for `leak_difference`; empty where nothing was probed.
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
    resampled: np.ndarray


def source_leak(features: np.ndarray, source: np.ndarray, target: np.ndarray, patient: np.ndarray) -> Leak:
    """Probe the source from features, out of fold, within each target class.

    Args:
        features: films x width.
        source: of each film; within a class, sources of fewer than ten patients are left out.
    """
    classes = probed_classes(source, target, patient)
    if not classes:
        return Leak(float("nan"), float("nan"), float("nan"))
    leak = float(np.mean([probes(whitened(features, one), one).recall.mean() for one in classes]))
    chance = float(np.mean([1 / len(np.unique(c.value)) for c in classes]))
    return Leak(leak, chance, (leak - chance) / (1 - chance))


def probe(
    features: np.ndarray,
    attribute: np.ndarray,
    target: np.ndarray,
    patient: np.ndarray,
    name: str = "attribute",
    permutations: int = PERMUTATIONS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Probe:
    """Probe any attribute from features, out of fold, within each target class, with an interval and a test.

    The probe is that of `source_leak`, with the same leak (`training.bias.questions.probing`). It reads what is linear in the
    features.

    The interval is the leak +- 1.96 standard errors. They come from resampled patients, and each resample fits the probe
    anew: other patients would have trained another probe.

    The null hypothesis: within a target class, features and attribute are independent. The folds stay. Within a class and a
    fold, patients with one value exchange their values whole; for a patient with several values (two views, say) they are
    shuffled among that patient's films. So serial films stay together and every fold keeps its patients of each value. The
    probe is fitted anew for each permutation, because the guesses of one fold depend on the films of the others. The test
    reads the distance, not the leak: it has no threshold, and more power. Limits: patients of many films exchange with
    patients of few, so a number of films that depends on the attribute is tested along with the features; a patient in two
    target classes is permuted in each separately; patients with several values count against the null only by differences
    between their own films.

    Args:
        features: films x width.
        attribute: of each film; missing values (None, NaN, empty) are left out, and so are, within a class, values of fewer
            than ten patients.
        permutations: probes under the null; 999 take about a second for 1,000 films.
        resamples: of the interval, at most `RESAMPLES`.
        seed: of folds, permutations and resamples.

    Raises:
        ValueError: less than one permutation.
    """
    if permutations < 1:
        raise ValueError(f"{permutations} permutations: must be at least one")
    recorded, value = _recorded(attribute)
    features, target, patient = features[recorded], target[recorded], patient[recorded]
    classes = probed_classes(value, target, patient, seed)
    by_fold = [whitened(features, one) for one in classes]
    # The true values come first in each class.
    found = [
        probes(z, one, permuted(units_of(one), permutations, seed)) for z, one in zip(by_fold, classes, strict=True)
    ]
    values = _value_table(value, target, patient, [one.right for one in found], classes)
    table = _class_table(values, classes)
    note = _note(name, values, int((~recorded).sum()), classes)
    if not classes:
        nan = float("nan")
        return Probe(name, KIND, nan, nan, nan, nan, nan, nan, nan, nan, note, table, values, np.empty(0))
    leaks = np.mean([one.recall.mean(axis=1) for one in found], axis=0)
    distances = np.mean([one.distance for one in found], axis=0)
    resampled = _resampled_leaks(by_fold, classes, resamples, seed)
    interval = _interval(leaks[0], resampled, (0, 1))
    chance = float(table["chance"].mean())
    return Probe(
        name, KIND, *interval, chance,
        normalised=(interval.estimate - chance) / (1 - chance),
        p=float(np.mean(distances >= distances[0] - 1e-6 * abs(distances[0]))),
        null_mean=float(leaks[1:].mean()),
        null_high=float(np.percentile(leaks[1:], 95)),
        note=note, classes=table, values=values, resampled=resampled,
    )  # fmt: skip


def leak_difference(reference: Probe, other: Probe) -> tuple[Interval, float]:
    """Leak of `other` minus that of `reference`, and the smallest difference detectable here.

    Both are probes of one attribute of the same films with the same seed and resamples, so that they had the same folds and
    were fitted anew to the same resampled patients. The detectable difference is 2.80 standard errors (power 0.8 at a
    two-sided level of 0.05). All NaN where no class has two values of enough patients.
    """
    if not len(reference.resampled):
        return NO_INTERVAL, float("nan")
    drawn = other.resampled - reference.resampled
    return _interval(other.leak - reference.leak, drawn, (-1, 1)), detectable_difference(drawn)


def _resampled_leaks(
    by_fold: list[list[np.ndarray]], classes: list[ProbedClass], resamples: int, seed: int
) -> np.ndarray:
    """The leak of probes that are fitted to and tested on resampled patients; the same patients for all features."""
    stratum = _resampling(classes)
    weights = bootstrap(lambda drawn: drawn, stratum, min(resamples, RESAMPLES), seed)
    names = np.unique(np.concatenate([c.patient for c in classes]))
    leaks = []
    for z, probed in zip(by_fold, classes, strict=True):
        of_class = np.searchsorted(names, np.unique(probed.patient))
        recall = probes(z, probed, weights=weights[of_class[units_of(probed).patient]].T).recall
        leaks.append(np.nanmean(recall, axis=1))  # without values that a resample lacks
    return np.mean(leaks, axis=0)


def _interval(estimate: float, drawn: np.ndarray, bounds: tuple[float, float]) -> Interval:
    """The estimate +- 1.96 standard deviations of the resamples. They are too low: fewer patients trained them."""
    half = norm.ppf(0.975) * np.std(drawn, ddof=1)
    low, high = np.clip([estimate - half, estimate + half], *bounds)
    return Interval(float(estimate), float(low), float(high))


def _resampling(classes: list[ProbedClass]) -> np.ndarray:
    """Strata of the patients of `_leak`."""
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
    """Whether each film has a value, and the values of those that do, as text."""
    column = pd.Series(attribute, dtype=object)
    recorded = (column.notna() & (column != "")).to_numpy(dtype=bool)
    return recorded, column[recorded].to_numpy().astype(str)


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
        few = f"no target class has two values of {MINIMUM_PATIENTS} patients or more"
        sentences.append(f"Cannot conclude: {few}, so nothing can be told apart within a class.")
    return " ".join(sentences)
