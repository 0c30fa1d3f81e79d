"""A draw as a folder with films and metadata.csv: a cohort like any other, that training and audit take as it is."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.files import write_text
from datasets.phantom.signature import Signature
from training.benchmark.planted.films import PlantedFilms
from training.benchmark.planted.pair import DEVICE, signature_name

KEPT = ("view", "sex", "age")
"""Columns of the user's metadata.csv that the folder's has too, for the audit."""


def metadata(films: PlantedFilms, drawn: pd.DataFrame, signatures: dict[str, Signature | None]) -> pd.DataFrame:
    """The folder's metadata.csv: patients as numbers, and the line of the user's metadata.csv that a film has.

    Names of patients order the folds of a leak's probe: numbers are the same on every machine, as keyed hashes are not.
    """
    rows = films.cohort.table.iloc[drawn["position"].to_numpy()].reset_index(drop=True)
    names = [
        films.place(position, signatures[name]).name
        for position, name in zip(drawn["position"], _signature_names(drawn), strict=True)
    ]
    table = pd.DataFrame({"path": [f"films/{name}" for name in names], "label": rows["label"]})
    table = table.assign(source=drawn["source"].to_numpy(), split=drawn["split"].to_numpy(), **_others(drawn))
    number = {name: f"patient {count}" for count, name in enumerate(films.cohort.table["patient"].unique(), start=1)}
    table["patient_id"] = rows["patient"].map(number)
    table["line"] = rows["row"] + 2
    return table.assign(**{name: rows[name] for name in KEPT if name in rows})


def _others(drawn: pd.DataFrame) -> dict[str, np.ndarray]:
    """The second shortcut of each film, where there is one."""
    return {DEVICE: drawn[DEVICE].to_numpy()} if DEVICE in drawn else {}


def _signature_names(drawn: pd.DataFrame) -> list[str]:
    if DEVICE not in drawn:
        return list(drawn["source"])
    return [signature_name(*pair) for pair in zip(drawn["source"], drawn[DEVICE], strict=True)]


def write_cohort(films: PlantedFilms, table: pd.DataFrame, root: Path, name: str) -> Path:
    """Make the folder unless it is there whole, and return it; the films in it are links to the ones made once.

    Args:
        table: from `metadata`; the folder's name has a hash of it, so that another draw never takes its place.
    """
    text = table.to_csv(index=False, lineterminator="\n")
    folder = root / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    if (folder / "metadata.csv").is_file():
        return folder
    (folder / "films").mkdir(parents=True, exist_ok=True)
    for path in table["path"]:
        made, place = films.folder / Path(path).name, folder / path
        place.unlink(missing_ok=True)
        try:
            os.link(made, place)
        except OSError:  # a file system without hard links
            shutil.copyfile(made, place)
    write_text(folder / "metadata.csv", text)
    return folder


def digest(films: PlantedFilms, drawn: pd.DataFrame, signatures: dict[str, Signature | None]) -> str:
    """16 hex digits that tell the films, labels, patients, splits and signatures of a study from others, on any machine."""
    rows = films.cohort.table.iloc[drawn["position"].to_numpy()][["path", "label", "patient"]].reset_index(drop=True)
    rows = rows.assign(source=drawn["source"].to_numpy(), split=drawn["split"].to_numpy(), **_others(drawn))
    text = rows.to_csv(index=False) + repr(signatures) + repr(films.reading)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
