"""Films that can't teach anything, or tell nothing new: of one grey, or with exactly the pixels of another film."""

import hashlib
from collections.abc import Sequence

import numpy as np

from datasets.cohort.films import Cohort
from datasets.listed import listed

LOOKED_AT = 20_000  # films, evenly spaced in a longer table: some seconds
SHOWN = 5


class PixelCheck:
    """Looks at films as they are decoded, in any order, and keeps a digest of each."""

    def __init__(self) -> None:
        self._constant = set[int]()
        self._digests = dict[int, bytes]()

    def look(self, position: int, pixels: np.ndarray) -> None:
        """Remember what a film at this position of its cohort looks like."""
        self._digests[position] = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()
        if pixels.min() == pixels.max():
            self._constant.add(position)

    def constant(self) -> list[int]:
        """Positions of films of one grey."""
        return sorted(self._constant)

    def copies(self) -> dict[int, int]:
        """Each position whose film has exactly the pixels of an earlier one, with the position of the first of these."""
        first, found = dict[bytes, int](), dict[int, int]()
        for position in sorted(self._digests.keys() - self._constant):
            if (earlier := first.setdefault(self._digests[position], position)) != position:
                found[position] = earlier
        return found

    def across_patients(self, cohort: Cohort) -> str:
        """A sentence on copies of films of other patients, which make intervals too narrow; empty where there are none."""
        patient = cohort.table["patient"].to_numpy()
        found = [position for position, first in self.copies().items() if patient[position] != patient[first]]
        if not found:
            return ""
        return (
            f"{len(found)} of {len(self._digests)} films have exactly the pixels of another patient's film "
            f"({_lines(cohort, found)} of metadata.csv): there are fewer patients than are counted, and every interval is "
            "too narrow. Leave copies out, or give films of one patient one patient_id."
        )


def alike_films(cohort: Cohort) -> list[str]:
    """A sentence for constant films and one for identical films, of those decoded already; none for made-up films."""
    if cohort.images is None or cohort.info.synthetic or cohort.films is None:
        return []
    count, check = len(cohort.table), PixelCheck()
    positions = np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).astype(np.int64))
    for position in positions.tolist():
        check.look(position, cohort.images[position if cohort.places is None else int(cohort.places[position])].numpy())
    of = f"{len(positions)} films" if len(positions) == count else f"{len(positions)} films looked at"
    return [
        f"{len(found)} of {of} {what} ({_lines(cohort, found)} of metadata.csv): {advice}"
        for found, what, advice in (
            (check.constant(), "are of one grey", "a model learns nothing from them; look at these files."),
            (
                list(check.copies()), "have exactly the pixels of an earlier film",
                "leave copies out, or pass --separate-copies.",
            ),
        )
        if found
    ]  # fmt: skip


def _lines(cohort: Cohort, positions: Sequence[int]) -> str:
    lines = listed((cohort.table["row"].iloc[list(positions)] + 2).tolist(), SHOWN)
    return f"line{'s' if len(positions) > 1 else ''} {lines}"
