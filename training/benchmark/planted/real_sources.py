"""Sources that there are, drawn so that each has its usual label at rho; nothing is planted.

A source takes part where it has patients of both classes. Its own class is the positive one where its share of it is above
that of all. As many of its patients of either class are test patients: `TEST` of its scarcer class. The others train. How
many do so is the same at every rho, the truth among them, and nearly as many belong to sources of either own class, so that
both classes have as many patients at every rho.
"""

import numpy as np
import pandas as pd

from datasets.cohort.films import Cohort
from datasets.phantom.signature import Signature
from datasets.sample import Split
from training.benchmark.planted.draw import SHARE, patients_of
from training.bias.numbers.metrics import MINIMUM_PATIENTS

TEST, VALIDATION = 0.4, 0.2
FEWEST = 5
"""Patients of either class that a source must have to take part."""
_DRAW, _TESTED = 8, 9  # random streams


class RealDesign:
    """A `draw.Design`, see the module.

    Args:
        cohort: its split tells the external films from the others, and nothing else.
        split_seed: of the test patients.

    Attributes:
        left_out: why sources take no part, by name.
        sizes: patients of each source that train or validate with each seed.

    Raises:
        ValueError: fewer than two sources can take part.
    """

    def __init__(self, cohort: Cohort, split_seed: int) -> None:
        self.cohort, self.left_out = cohort, dict[str, str]()
        films = self._inside()
        patients: dict[str, dict[int, np.ndarray]] = {}
        for source, rows in films.groupby("source"):
            by_class = patients_of(rows)
            scarce = min(by_class, key=lambda target: len(by_class[target]))
            if len(by_class[scarce]) < FEWEST:
                name, count = cohort.info.targets[scarce], len(by_class[scarce])
                self.left_out[str(source)] = f"{count} patients of class {name}, {FEWEST} are needed"
            else:
                patients[str(source)] = by_class
        if len(patients) < 2:
            why = "; ".join(f"{name}: {reason}" for name, reason in self.left_out.items())
            raise ValueError(f"--real-sources needs two sources of both classes, and there are {len(patients)} ({why})")
        self.others: dict[str, dict[str, int]] = {}
        self.own = own_classes({name: (len(by[0]), len(by[1])) for name, by in patients.items()})
        outside = cohort.table["source"].iloc[cohort.positions(Split.EXTERNAL)]
        self.signatures: dict[str, Signature | None] = dict.fromkeys([*patients, *sorted(set(outside))])
        rng = np.random.default_rng([_TESTED, split_seed])
        self.tested: list[str] = []
        self.pool: dict[str, dict[int, np.ndarray]] = {}
        for source, by_class in patients.items():
            tested = max(1, round(TEST * min(map(len, by_class.values()))))
            orders = {target: rng.permutation(names) for target, names in by_class.items()}
            self.tested += [name for order in orders.values() for name in order[:tested]]
            self.pool[source] = {target: order[tested:] for target, order in orders.items()}
        self.sizes = self._sizes()

    def require(self, rho: float) -> None:
        """Raise ValueError unless the test has ten patients of each class, and each source some that break the rule."""
        tested = len(self.tested) // 2
        if tested < MINIMUM_PATIENTS:
            raise ValueError(f"the test set would have {tested} patients of each class: {MINIMUM_PATIENTS} are needed")
        for source, size in self.sizes.items():
            if size - round(rho * size) < 1:
                raise ValueError(
                    f"--rho {rho:g} of {size} training patients of {source} leaves none without its usual label: give a "
                    "lower --rho"
                )

    def drawn(self, rho: float, seed: int) -> pd.DataFrame:
        """A cohort, see `draw.Design`; external sources are external whole."""
        rng = np.random.default_rng([_DRAW, seed])
        split_of = dict.fromkeys(self.tested, str(Split.TEST))
        for source, size in self.sizes.items():
            usual = round(rho * size)
            for target, count in ((self.own[source], usual), (1 - self.own[source], size - usual)):
                chosen = rng.permutation(self.pool[source][target])[:count]
                held = round(VALIDATION * count)
                split_of |= dict.fromkeys(chosen[:held], str(Split.VALIDATION))
                split_of |= dict.fromkeys(chosen[held:], str(Split.TRAIN))
        inside = self._inside()
        inside = inside.assign(split=inside["patient"].map(split_of)).dropna(subset="split")
        films = pd.concat([inside, self.cohort.table.iloc[self.cohort.positions(Split.EXTERNAL)]])
        return films[["source", "split"]].reset_index(names="position")

    def _inside(self) -> pd.DataFrame:
        """Films that aren't external, of patients of one source."""
        table = self.cohort.table
        inside = table[table["split"] != str(Split.EXTERNAL)]
        return inside[inside.groupby("patient")["source"].transform("nunique") == 1]

    def _sizes(self) -> dict[str, int]:
        """As many as can be with half of them of either class, or all of the usual one; scaled to the smaller side."""
        room = {}
        for source, own in self.own.items():
            usual, other = (int(SHARE * len(self.pool[source][target])) for target in (own, 1 - own))
            room[source] = min(2 * other, usual)
        sides = [sum(room[name] for name, own in self.own.items() if own == target) for target in (0, 1)]
        return {name: int(room[name] * min(sides) / max(sides[own], 1)) for name, own in self.own.items()}


def own_classes(counts: dict[str, tuple[int, int]]) -> dict[str, int]:
    """The class that each source has more of than all together; where all shares are equal, the first has the positive one.

    Args:
        counts: patients of class 0 and 1 by source.
    """
    negative, positive = np.array(list(counts.values())).sum(axis=0)
    share = positive / (negative + positive)
    own = {name: int(ones / (zeros + ones) > share + 1e-9) for name, (zeros, ones) in counts.items()}
    if not any(own.values()):
        own[next(iter(own))] = 1
    return own
