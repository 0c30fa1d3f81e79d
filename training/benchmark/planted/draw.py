"""Which patients train, and under which signature: what is drawn anew for each seed."""

from itertools import product
from typing import Protocol

import numpy as np
import pandas as pd

from datasets.cohort.films import Cohort
from datasets.phantom.signature import Signature
from datasets.sample import Split
from training.bias.numbers.metrics import MINIMUM_PATIENTS

TRUTH = 0.5
"""The rho at which the source tells nothing of the label."""
SHARE = 0.8
"""Of the patients that may train, how many do so with each seed."""
_DRAW = 7  # random stream


class Design(Protocol):
    """How films become a cohort whose source follows the label.

    Attributes:
        own: the class that is each source's own: 1 the positive one, 0 the other.
        others: the same of each further attribute that is planted, by its name.
        signatures: what is planted for each source, or each combination (`pair.signature_name`); None for films as they are.
    """

    own: dict[str, int]
    others: dict[str, dict[str, int]]
    signatures: dict[str, Signature | None]

    def require(self, rho: float) -> None:
        """Raise ValueError where the patients are too few for this rho."""

    def drawn(self, rho: float, seed: int) -> pd.DataFrame:
        """A cohort: a row a film, with the columns position (of the film), source, split, and those of `others`.

        Args:
            rho: share of the training and validation patients of either class whose source has it as its own.
        """
        ...


class PlantedDesign:
    """Signatures of invented hospitals: a patient has one in training and validation, and each in turn in the test.

    The test patients are those of the cohort's split, the same for every seed. A seed draws `SHARE` of the training and of
    the validation patients of each class, and their signatures. At every rho it draws the same patients; who breaks the rule
    at one rho breaks it at every lower one. Further attributes follow the label as the source does, each by a draw of its
    own.
    """

    def __init__(
        self, cohort: Cohort, own: dict[str, int], signatures: dict[str, Signature | None],
        others: dict[str, dict[str, int]] | None = None,
    ) -> None:  # fmt: skip
        self.cohort, self.own, self.signatures, self.others = cohort, own, signatures, others or {}
        splits = (Split.TRAIN, Split.VALIDATION, Split.TEST)
        self.patients = {split: patients_of(cohort.table.iloc[cohort.positions(split)]) for split in splits}

    def require(self, rho: float) -> None:
        """Raise ValueError unless the test has ten patients of each class, and the training some that break the rule."""
        names = self.cohort.info.targets
        for target, patients in self.patients[Split.TEST].items():
            if len(patients) < MINIMUM_PATIENTS:
                raise ValueError(
                    f"the test set has {len(patients)} patients of class {names[target]}: {MINIMUM_PATIENTS} are needed"
                )
        for target, patients in self.patients[Split.TRAIN].items():
            count = round(SHARE * len(patients))
            if count - round(rho * count) < 1:
                raise ValueError(
                    f"--rho {rho:g} of {count} training patients of class {names[target]} leaves none that breaks the "
                    "rule: give a lower --rho, or more films"
                )

    def drawn(self, rho: float, seed: int) -> pd.DataFrame:
        """A cohort, see `Design`."""
        table, rng = self.cohort.table, np.random.default_rng([_DRAW, seed])
        apart = {name: np.random.default_rng([_DRAW, seed, 1 + number]) for number, name in enumerate(self.others)}
        owns = {"source": self.own} | self.others
        given: dict[str, dict[str, str]] = {name: {} for name in owns}
        for split in (Split.TRAIN, Split.VALIDATION):
            for target, patients in self.patients[split].items():
                chosen = rng.permutation(patients)[: round(SHARE * len(patients))]
                count = round(rho * len(chosen))
                # Drawn at every rho, so that nothing after it depends on rho.
                given["source"] |= _dealt(chosen, count, self.own, target, rng)
                for name, other in apart.items():
                    given[name] |= _dealt(other.permutation(chosen), count, self.others[name], target, other)
        tested = self.cohort.positions(Split.TEST)
        trains = table["split"].isin([str(Split.TRAIN), str(Split.VALIDATION)])
        positions = np.flatnonzero(trains & table["patient"].isin(given["source"].keys()))
        films = table.iloc[positions]
        seen = pd.DataFrame({"position": positions} | {name: films["patient"].map(given[name]) for name in owns})
        every = list(product(*owns.values()))
        shown = pd.DataFrame(every * len(tested), columns=list(owns)).assign(position=np.repeat(tested, len(every)))
        return pd.concat([seen.assign(split=films["split"]), shown.assign(split=str(Split.TEST))], ignore_index=True)


def _dealt(
    patients: np.ndarray, count: int, own: dict[str, int], target: int, rng: np.random.Generator
) -> dict[str, str]:
    """A value for each patient of a class: the first `count` have one whose own class it is, the others one of another."""
    which, value_of = rng.random(len(patients)), {}
    for number, (patient, share) in enumerate(zip(patients, which, strict=True)):
        among = [name for name, of in own.items() if (of == target) == (number < count)]
        value_of[patient] = among[int(share * len(among))]
    return value_of


def patients_of(table: pd.DataFrame) -> dict[int, np.ndarray]:
    """Patients by class, in order: the class of most of their films, the positive one where both have as many."""
    classes = (table.groupby("patient")["target"].mean() >= 0.5).astype(int)
    return {target: classes.index[classes == target].to_numpy() for target in (0, 1)}
