"""Films that are copies of one another under different names, found by perceptual hash.

Public collections share films: a copy in training of a film in the test set is a leak that no patient number shows. The
hash is the DCT hash of Zauner (Implementation and Benchmarking of Perceptual Image Hash Functions, 2010), from the
ImageHash package, at 16 x 16 bits: the usual 8 x 8 can't tell one chest from another.
"""

from contextlib import suppress

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from datasets.cohort.cache import FilmReader
from datasets.film.radiograph import Radiograph, RadiographError

SIDE = 16
# Of 1.4 million pairs of different public chest films none was nearer than 54 bits. Of 150 films, 95 % lay within 8 after
# JPEG at quality 30, 4 at half size, 32 with contrast or gamma changed, 34 turned by a degree; cropped by 2 % a side, half
# lay beyond 46, so crops are found only in part.
DISTANCE = 40
_ROWS = 1024  # of the distance matrix at a time
_CELLS = 1 << 25  # and no more of its cells: 100,000 films take some hundred megabytes


def hashes(films: FilmReader, count: int, known: np.ndarray | None = None) -> np.ndarray:
    """Hash `count` films, count x 256 bits as booleans; a row of a film that can't be read has only False.

    Args:
        known: hashes from before, of the same shape; films whose row has only False are read.
    """
    bits = np.zeros((count, SIDE * SIDE), dtype=bool) if known is None else known.copy()
    for position in np.flatnonzero(~bits.any(axis=1)).tolist():
        with suppress(RadiographError):
            bits[position] = film_hash(films.read(position))
    return bits


def film_hash(film: Radiograph) -> np.ndarray:
    """The 256 bits of one film, as booleans."""
    image = Image.fromarray((film.pixels * 255).astype(np.uint8))
    return imagehash.phash(image, hash_size=SIDE).hash.ravel()


def near_duplicates(bits: np.ndarray) -> pd.DataFrame:
    """Pairs of films whose hashes differ in at most `DISTANCE` bits.

    Args:
        bits: films x bits, from `hashes`; rows of only False, of films that could not be read, are left out.

    Returns:
        Columns first, second (positions, first < second) and bits, nearest first.
    """
    known = np.flatnonzero(bits.any(axis=1))
    signs = np.where(bits[known], 1, -1).astype(np.float32)
    parts = []
    rows = max(1, min(_ROWS, _CELLS // max(1, len(known))))
    for start in range(0, len(known), rows):
        agreement = signs[start : start + rows] @ signs[start:].T  # bits that agree minus bits that differ
        first, second = np.nonzero(agreement >= bits.shape[1] - 2 * DISTANCE)
        later = second > first
        first, second = first[later], second[later]
        apart = (bits.shape[1] - agreement[first, second]) / 2
        parts.append(np.column_stack([known[first + start], known[second + start], apart]))
    pairs = np.concatenate(parts) if parts else np.empty((0, 3))
    table = pd.DataFrame(pairs.astype(np.int64), columns=["first", "second", "bits"])
    return table.sort_values(["bits", "first", "second"], ignore_index=True)


def joined_by_copies(patient: pd.Series, pairs: pd.DataFrame) -> pd.Series:
    """One name for all films that must stay together: those of a patient, and those of patients who share a copy.

    Args:
        pairs: from `near_duplicates`.

    Returns:
        On the index of `patient`, the name of the first patient of each connected set.
    """
    number, names = pd.factorize(patient)
    first, second = number[pairs["first"].to_numpy()], number[pairs["second"].to_numpy()]
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(names), len(names)))
    _, component = connected_components(graph, directed=False)
    head = pd.Series(names).groupby(component).first()
    return pd.Series(head.to_numpy()[component[number]], index=patient.index)
