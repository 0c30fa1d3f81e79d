"""Films that can't teach anything: of one grey, or with exactly the pixels of another film."""

import hashlib

import numpy as np

from datasets.cohort.films import Cohort
from datasets.listed import listed

LOOKED_AT = 20_000  # films, evenly spaced in a longer table: some seconds
SHOWN = 5


def alike_films(cohort: Cohort) -> list[str]:
    """A sentence for constant films and one for identical films, of those decoded already; none for made-up films."""
    if cohort.images is None or cohort.info.synthetic or cohort.films is None:
        return []
    count = len(cohort.table)
    positions = np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).astype(np.int64))
    constant, copies, first = [], [], dict[bytes, int]()
    for position in positions:
        row = int(position) if cohort.places is None else int(cohort.places[position])
        pixels = cohort.images[row].numpy()
        if pixels.min() == pixels.max():
            constant.append(position)
        elif first.setdefault(hashlib.blake2b(pixels.tobytes(), digest_size=16).digest(), position) != position:
            copies.append(position)
    of = f"{len(positions)} films" if len(positions) == count else f"{len(positions)} films looked at"
    return [
        f"{len(found)} of {of} {what} (line{'s' if len(found) > 1 else ''} {_lines(cohort, found)} of metadata.csv): {advice}"
        for found, what, advice in (
            (constant, "are of one grey", "a model learns nothing from them; look at these files."),
            (copies, "have exactly the pixels of an earlier film", "leave copies out, or pass --separate-copies."),
        )
        if found
    ]


def _lines(cohort: Cohort, positions: list[int]) -> str:
    return listed((cohort.table["row"].iloc[positions] + 2).tolist(), SHOWN)
