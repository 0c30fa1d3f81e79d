"""Which patients train, and under which signature: what is drawn anew for each seed."""

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
        signatures: what is planted for each source; None for films as they are.
    """

    own: dict[str, int]
    signatures: dict[str, Signature | None]

    def require(self, rho: float) -> None:
        """Raise ValueError where the patients are too few for this rho."""

    def drawn(self, rho: float, seed: int) -> pd.DataFrame:
        """A cohort: a row a film, with the columns position (of the film), source and split.

        Args:
            rho: share of the training and validation patients of either class whose source has it as its own.
        """
        ...


class PlantedDesign:
    """Signatures of invented hospitals: a patient has one in training and validation, and each in turn in the test.

    The test patients are those of the cohort's split, the same for every seed. A seed draws `SHARE` of the training and of
    the validation patients of each class, and their signatures. At every rho it draws the same patients; who breaks the rule
    at one rho breaks it at every lower one.
    """

    def __init__(self, cohort: Cohort, own: dict[str, int], signatures: dict[str, Signature | None]) -> None:
        self.cohort, self.own, self.signatures = cohort, own, signatures
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
        source_of: dict[str, str] = {}
        for split in (Split.TRAIN, Split.VALIDATION):
            for target, patients in self.patients[split].items():
                chosen = rng.permutation(patients)[: round(SHARE * len(patients))]
                which = rng.random(len(chosen))  # drawn at every rho, so that nothing after it depends on rho
                for number, (patient, share) in enumerate(zip(chosen, which, strict=True)):
                    follows = number < round(rho * len(chosen))
                    among = [name for name, own in self.own.items() if (own == target) == follows]
                    source_of[patient] = among[int(share * len(among))]
        tested = self.cohort.positions(Split.TEST)
        trains = table["split"].isin([str(Split.TRAIN), str(Split.VALIDATION)]) & table["patient"].isin(
            source_of.keys()
        )
        positions = np.flatnonzero(trains)
        films = table.iloc[positions]
        seen = pd.DataFrame({"position": positions, "source": films["patient"].map(source_of), "split": films["split"]})
        shown = pd.DataFrame({"position": np.repeat(tested, len(self.own)), "source": list(self.own) * len(tested)})
        return pd.concat([seen, shown.assign(split=str(Split.TEST))], ignore_index=True)


def patients_of(table: pd.DataFrame) -> dict[int, np.ndarray]:
    """Patients by class, in order: the class of most of their films, the positive one where both have as many."""
    classes = (table.groupby("patient")["target"].mean() >= 0.5).astype(int)
    return {target: classes.index[classes == target].to_numpy() for target in (0, 1)}
