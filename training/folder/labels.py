"""Labels for a folder of DICOM files: a table keyed by file, SOP instance or accession number, matched by keyed hash."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.cohort import CohortError
from datasets.covid import BINARY, LABELS
from datasets.csv_table import read_csv
from datasets.identity import keyed_hash
from datasets.sample import DatasetInfo

# Headings that name a key, without blanks and underscores. A film is looked up by the first that knows it.
KEYS = {"instance": ("sopinstanceuid",), "file": ("file", "path", "filename"), "accession": ("accessionnumber",)}


class LabelsError(CohortError):
    """A table of labels that can't be used; the message names the line and what would be right."""


@dataclass(frozen=True)
class Labels:
    """What a table says of films, and how these are found in it.

    Attributes:
        table: a row a line of the file, all columns as text; `label` in lower case.
        keys: for `instance`, `file`, `file_name` and `accession`: keyed hash to row of the table.
    """

    table: pd.DataFrame
    keys: dict[str, dict[str, int]]

    def rows_of(self, hashes: pd.DataFrame, ambiguous: set[str]) -> np.ndarray:
        """Row of the table for each film, -1 where it has none.

        Args:
            hashes: columns instance, file, file_name and accession.
            ambiguous: hashes of file names that several files bear, by which nothing is found.
        """
        found = np.full(len(hashes), -1)
        for kind, known in self.keys.items():
            open_ = np.flatnonzero(found < 0)
            values = hashes[kind].to_numpy(object)[open_]
            rows = [-1 if kind == "file_name" and value in ambiguous else known.get(value, -1) for value in values]
            found[open_] = rows
        return found

    def targets(self, info: DatasetInfo) -> np.ndarray:
        """Class name of each row for a model of these classes; None for a label that is none of them."""
        if info.targets == BINARY:
            return np.array([BINARY[label == BINARY[1]] for label in self.table["label"]], dtype=object)
        return np.array([label if label in info.targets else None for label in self.table["label"]], dtype=object)


def read_labels(file: Path, key: bytes, infos: list[DatasetInfo]) -> Labels:
    """Read a CSV or Parquet file of labels.

    Args:
        file: columns `label` and one or more of `sop_instance_uid`, `file` (path below the folder, or the name alone) and
            `accession_number`; others may be grouped by.
        key: of the hashes.
        infos: classes of the models, one of which each label must be known to.

    Raises:
        LabelsError: no such file, no key, a label that no model knows, or two lines that contradict each other.
    """
    table = _read(file)
    table.columns = [str(name).strip() for name in table.columns]
    heading = {name.lower().replace("_", "").replace(" ", ""): name for name in table.columns}
    columns = {kind: next((heading[name] for name in names if name in heading), None) for kind, names in KEYS.items()}
    if "label" not in heading or not any(columns.values()):
        raise LabelsError(
            f"{file} has the columns {', '.join(table.columns)}; needed are label and one of sop_instance_uid, file, "
            f"accession_number"
        )
    table["label"] = table[heading["label"]].str.lower()
    table["line"] = np.arange(len(table)) + 2
    table = table[table["label"] != ""].reset_index(drop=True)
    for info in infos:
        allowed = LABELS if info.targets == BINARY else info.targets
        unknown = table[~table["label"].isin(allowed)]
        if len(unknown) and (info.targets == BINARY or len(unknown) == len(table)):
            raise LabelsError(f"{file}, line {unknown['line'].iloc[0]}: its label is none of {', '.join(allowed)}")
    keys: dict[str, dict[str, int]] = {"instance": {}, "file": {}, "file_name": {}, "accession": {}}
    for kind, column in columns.items():
        if column is not None:
            _index(file, table, table[column], keys, kind, lambda text: keyed_hash(key, text))
    return Labels(table, keys)


def _index(
    file: Path,
    table: pd.DataFrame,
    values: pd.Series,
    keys: dict[str, dict[str, int]],
    kind: str,
    hashed: Callable[[str], str],
) -> None:
    """Fill the index of one column; two lines for one film must agree."""
    for row, text in enumerate(values):
        if not text:
            continue
        if kind == "file":
            text = text.replace("\\", "/").removeprefix("./")
        known = keys["file_name" if kind == "file" and "/" not in text else kind]
        before = known.setdefault(hashed(text), row)
        if table["label"].iloc[before] != table["label"].iloc[row]:
            lines = table["line"].iloc[[before, row]].tolist()
            raise LabelsError(f"{file}, lines {lines[0]} and {lines[1]}: two labels for one {values.name}")


def _read(file: Path) -> pd.DataFrame:
    """All cells as stripped text."""
    if not file.is_file():
        raise LabelsError(f"--labels {file}: no such file")
    if file.suffix.lower() not in (".parquet", ".pq"):
        return read_csv(file)
    try:
        table = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise LabelsError(f"{file} can't be read as Parquet ({type(error).__name__})") from None
    return table.astype(object).where(table.notna(), "").astype(str).apply(lambda column: column.str.strip())
