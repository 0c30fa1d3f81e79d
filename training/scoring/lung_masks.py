"""Where the lungs are: the column `mask` of metadata.csv, for perturbations that need to know it.

Masks and ellipses are not mixed: which of the two a film has may tell its source, and so would what is left of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from datasets.cohort.csv_table import NOT_KNOWN
from datasets.cohort.films import Cohort
from datasets.covid import FilmFolder, places, with_slashes
from datasets.listed import listed
from training.bias.questions.shortcuts import sample_by_patient
from training.scoring.subjects import EvaluationError

ENOUGH = 0.5  # of the films of each label and source must have a mask
NAMED = 5  # lines in a sentence


class LungMasks(NamedTuple):
    """The masks of a cohort, and which of its films they let be perturbed.

    Attributes:
        films: masks by position; None where two ellipses stand for the lungs of all films.
        known: of each film, whether it may be perturbed: it has a mask, or there are ellipses for all.
        note: which films have none though others do, and what becomes of that; empty where nothing is to be told. Names of
            files may name patients, and notes stand in reports.
        missing: the first mask that is not there; empty without any.
    """

    films: FilmFolder | None
    known: np.ndarray
    note: str = ""
    missing: str = ""

    def sample(self, table: pd.DataFrame, films: int | None, seed: int) -> list[int]:
        """Positions of films to perturb, as `sample_by_patient` draws them among those that may be."""
        may = np.flatnonzero(self.known)
        target, source, patient = (table[name].to_numpy()[may] for name in ("target", "source", "patient"))
        drawn: list[int] = may[sample_by_patient(target, source, patient, films, seed)].tolist()
        return drawn


def lung_masks(cohort: Cohort, root: Path | None) -> LungMasks:
    """The masks that metadata.csv names, where at least half of the films of each label and source have one.

    Masks are images of the films' shape, lungs white on black, paths relative to the cohort's folder `root`.

    Raises:
        EvaluationError: a mask that leaves the folder, or can't be the name of a file.
    """
    table, ellipses = cohort.table, LungMasks(None, np.ones(len(cohort.table), bool))
    if root is None or "mask" not in table:
        return ellipses
    paths = ["" if path.casefold() in NOT_KNOWN else with_slashes(root, path) for path in table["mask"]]
    named, known = np.array([path != "" for path in paths]), np.zeros(len(table), bool)
    if not named.any():
        return ellipses
    whole = root.resolve()
    for position, (row, path, place) in enumerate(zip(table["row"], paths, places(whole, paths), strict=True)):
        if path and place is None:
            raise EvaluationError(f"line {row + 2} of metadata.csv: its mask is no name of a file")
        if path and place is not None:
            if not place.is_relative_to(whole):
                raise EvaluationError(f"line {row + 2} of metadata.csv: the mask {path} leaves the folder")
            known[position] = place.is_file()
    masks = FilmFolder(root, paths, masks=True)
    if known.all():
        return LungMasks(masks, known)
    lacking, missing = [], ""
    if (gone := named & ~known).any():
        missing = paths[int(gone.argmax())]
        lacking.append(f"{_films(gone, 'names', 'name')} a mask that is not there ({_lines(table, gone)})")
    if not named.all():
        lacking.append(f"{_films(~named, 'has', 'have')} none ({_lines(table, ~named)})")
    said = "Lung masks of metadata.csv: " + ", and ".join(lacking) + ". "
    share = table.assign(known=known).groupby(["target_name", "source"])["known"].mean().reset_index()
    least = share.iloc[int(share["known"].argmin())]
    if least["known"] < ENOUGH:
        why = f"most films of {least['source']} that are {least['target_name']} lack one"
        note = f"{said}Two ellipses stand for the lungs of all films, for {why}."
        return ellipses._replace(note=note, missing=missing)
    return LungMasks(masks, known, f"{said}Only films with a mask have parts taken away.", missing)


def unusable_note(cohort: Cohort, reasons: Mapping[int, str]) -> str:
    """Which masks could not be used when their films were read.

    Args:
        reasons: by position, a sentence on the mask.
    """
    table, told = cohort.table, []
    for reason in dict.fromkeys(reasons.values()):
        which = np.array([reasons.get(position) == reason for position in range(len(table))])
        told.append(f"{_lines(table, which)}: {reason}")
    masks = "1 lung mask" if len(reasons) == 1 else f"{len(reasons)} lung masks"
    return f"{masks} of metadata.csv can't be used ({listed(told, NAMED, '; ')}). Their films have no parts taken away."


def _films(which: np.ndarray, one: str, several: str) -> str:
    return f"1 film {one}" if which.sum() == 1 else f"{which.sum()} films {several}"


def _lines(table: pd.DataFrame, which: np.ndarray) -> str:
    lines: Sequence[int] = (table["row"][which] + 2).tolist()
    return f"line{'s' if len(lines) > 1 else ''} {listed(lines, NAMED)}"
