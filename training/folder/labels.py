"""Labels for a folder of DICOM files: a table keyed by file, SOP instance or accession number, matched by keyed hash."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.cohort.csv_table import read_csv
from datasets.cohort.films import CohortError
from datasets.cohort.parquet_table import TableError, read_parquet
from datasets.covid import BINARY, LABELS
from datasets.film.identity import keyed_hash
from datasets.sample import DatasetInfo

# Headings that name a key, without blanks and underscores. A film is looked up by the first that knows it.
KEYS = {"instance": ("sopinstanceuid",), "file": ("file", "path", "filename"), "accession": ("accessionnumber",)}
# Headings of columns that are dropped on reading, so that no flag can carry them into a table.
IDENTIFYING = {
    *(name for names in KEYS.values() for name in names),
    *("patient", "patientid", "patientname", "name", "birthdate", "patientbirthdate", "dateofbirth", "mrn"),
    *("studyinstanceuid", "seriesinstanceuid"),
}


class LabelsError(CohortError):
    """A table of labels that can't be used; the message names the line and what would be right."""


@dataclass(frozen=True)
class Labels:
    """A table of labels, and the hashes by which films are matched to its rows.

    Attributes:
        table: a row a line of the file that has a label, all columns as text but those that identify; `label` in lower
            case.
        hashes: for `instance`, `file`, `file_name` and `accession`: the keyed hash in each row, "" where there is none.
    """

    table: pd.DataFrame
    hashes: pd.DataFrame

    def rows_of(self, hashes: pd.DataFrame, ambiguous: set[str]) -> np.ndarray:
        """Row of the table for each film, -1 where it has none.

        Args:
            hashes: columns instance, file, file_name and accession.
            ambiguous: hashes of file names that several files bear, by which nothing is matched.
        """
        rows = np.full(len(hashes), -1)
        for kind in self.hashes:
            known: dict[str, int] = {}
            for row, value in enumerate(self.hashes[kind]):
                if value and not (kind == "file_name" and value in ambiguous):
                    known.setdefault(value, row)
            open_ = np.flatnonzero(rows < 0)
            rows[open_] = [known.get(value, -1) for value in hashes[kind].to_numpy(object)[open_]]
        return rows

    def matched(self, hashes: pd.DataFrame, ambiguous: set[str]) -> np.ndarray:
        """Which rows of the table go with any of the films, also those that agree with an earlier row."""
        matched = np.zeros(len(self.table), dtype=bool)
        for kind in self.hashes:
            present = set(hashes[kind].dropna()) - (ambiguous if kind == "file_name" else set())
            matched |= self.hashes[kind].isin(present).to_numpy()
        return matched

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
        infos: classes of the models, one of which each label must be known to.

    Raises:
        LabelsError: no such file, no key, a label that no model knows, or two lines that contradict each other.
    """
    table = _read(file)
    table.columns = [str(name).strip() for name in table.columns]
    heading = {_plain(name): name for name in reversed(table.columns)}
    if len(heading) < len(table.columns):
        raise LabelsError(f"{file}, line 1: two columns have the same name but for case, blanks and underscores")
    columns = {kind: next((heading[name] for name in names if name in heading), None) for kind, names in KEYS.items()}
    if "label" not in heading or not any(columns.values()):
        # The first line is not shown: in a table without headings it identifies a patient.
        needed = "one of them label and one sop_instance_uid, file or accession_number"
        raise LabelsError(f"{file}, line 1: the columns must be named, {needed}")
    table = table.rename(columns={heading["label"]: "label"})
    table["label"] = table["label"].str.lower()
    table = table[table["label"] != ""]
    lines, table = table.index.to_numpy() + 2, table.reset_index(drop=True)
    for info in infos:
        allowed = LABELS if info.targets == BINARY else info.targets
        unknown = np.flatnonzero(~table["label"].isin(allowed))
        if len(unknown) and (info.targets == BINARY or len(unknown) == len(table)):
            raise LabelsError(f"{file}, line {lines[unknown[0]]}: its label is none of {', '.join(allowed)}")
    texts = {kind: table[column].tolist() if column else [""] * len(table) for kind, column in columns.items()}
    texts["file"] = [text.replace("\\", "/").removeprefix("./") for text in texts["file"]]
    texts["file_name"] = ["" if "/" in path else path for path in texts["file"]]
    kinds = ("instance", "file", "file_name", "accession")
    hashed = {kind: [keyed_hash(key, text) if text else "" for text in texts[kind]] for kind in kinds}
    hashes = pd.DataFrame(hashed, dtype=object)
    for kind in texts:
        _check_agreement(file, table["label"], hashes[kind], lines, columns["file" if kind == "file_name" else kind])
    return Labels(table[[name for name in table if _plain(str(name)) not in IDENTIFYING]], hashes)


def _plain(heading: str) -> str:
    return heading.lower().replace("_", "").replace(" ", "")


def _check_agreement(file: Path, label: pd.Series, hashes: pd.Series, lines: np.ndarray, column: str | None) -> None:
    """Two lines for one film must say the same."""
    first: dict[str, int] = {}
    for row, value in enumerate(hashes):
        before = first.setdefault(value, row) if value else row
        if label.iloc[before] != label.iloc[row]:
            raise LabelsError(f"{file}, lines {lines[before]} and {lines[row]}: two labels for one {column}")


def _read(file: Path) -> pd.DataFrame:
    """All cells as stripped text."""
    if not file.is_file():
        raise LabelsError(f"--labels {file}: no such file")
    if file.suffix.lower() not in (".parquet", ".pq"):
        return read_csv(file)
    try:
        table = read_parquet(file, dtype_backend="numpy_nullable")  # else whole numbers with gaps become 1.0, 2.0
    except TableError as error:
        raise LabelsError(str(error)) from None
    return table.reset_index(drop=True).astype(object).map(_text)


def _text(value: object) -> str:
    """A cell as a CSV file would hold it; a number that is whole without decimals, for it may be a key."""
    if pd.api.types.is_scalar(value) and pd.isna(value):  # type: ignore[call-overload]
        return ""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value).strip()
