"""Labels for a folder of DICOM files: a table keyed by file, SOP instance or accession number, matched by keyed hash.

Training, evaluation and `datasets.prepare` find the line of a film here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from datasets.cohort.csv_table import read_csv
from datasets.cohort.films import CohortError
from datasets.cohort.label_words import (
    BINARY,
    LABELS,
    MOST,
    LabelMap,
    as_word,
    in_our_words,
    refusal,
    require_known,
    words_with_lines,
)
from datasets.cohort.parquet_table import TableError, read_parquet
from datasets.film.identity import keyed_hash
from datasets.listed import listed
from datasets.sample import DatasetInfo

# Headings that name a key, without blanks and underscores. A film is looked up by the first that knows it.
KEYS = {"instance": ("sopinstanceuid",), "file": ("file", "path", "filename"), "accession": ("accessionnumber",)}
KINDS = ("instance", "file", "file_name", "accession")  # in the order in which a film is looked up
NAMES = {"instance": "sop_instance_uid", "file": "file", "accession": "accession_number"}
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
        file: that it was read from.
        table: a row a line of the file whose label is known, all columns as text but those that identify; `label` in our
            words.
        hashes: for `instance`, `file`, `file_name` and `accession`: the keyed hash in each row, "" where there is none.
        lines: of the file, of each row.
        words: the label of each row as it stands in the file.
        tried: the columns by which films are looked up, in this order.
        mapped_to_nothing: words that the map doesn't have, with their lines, as a sentence goes on; empty for none.
        unused: words of the map that no line has: perhaps misspelt.
    """

    file: Path
    table: pd.DataFrame
    hashes: pd.DataFrame
    lines: np.ndarray
    words: pd.Series
    tried: tuple[str, ...]
    mapped_to_nothing: str = ""
    unused: tuple[str, ...] = ()

    def rows_of(self, hashes: pd.DataFrame, ambiguous: set[str]) -> np.ndarray:
        """Row of the table for each film, -1 where it has none.

        Args:
            hashes: columns instance, file, file_name and accession.
            ambiguous: hashes of file names that several files bear, by which nothing is matched.
        """
        rows = np.full(len(hashes), -1)
        for kind in KINDS:
            rows = np.where(rows < 0, self._rows_by(kind, hashes[kind], ambiguous), rows)
        return rows

    def _rows_by(self, kind: str, hashes: pd.Series, ambiguous: set[str]) -> np.ndarray:
        """The same by one kind of key alone."""
        known: dict[str, int] = {}
        for row, value in enumerate(self.hashes[kind]):
            if value and not (kind == "file_name" and value in ambiguous):
                known.setdefault(value, row)
        return np.array([known.get(value, -1) for value in hashes.to_numpy(object)], dtype=int)

    def matched(self, hashes: pd.DataFrame, ambiguous: set[str]) -> np.ndarray:
        """Which rows of the table go with any of the films, also those that agree with an earlier row."""
        matched = np.zeros(len(self.table), dtype=bool)
        for kind in self.hashes:
            present = set(hashes[kind].dropna()) - (ambiguous if kind == "file_name" else set())
            matched |= self.hashes[kind].isin(present).to_numpy()
        return matched

    def contradicted(self, hashes: pd.DataFrame, ambiguous: set[str]) -> np.ndarray:
        """For each film whether two lines that name it, by different columns, have different labels."""
        label = np.array([*self.table["label"], None], dtype=object)  # of row -1: none
        found = {kind: label[self._rows_by(kind, hashes[kind], ambiguous)] for kind in KINDS}
        return (pd.DataFrame(found).nunique(axis=1) > 1).to_numpy()

    def targets(self, info: DatasetInfo) -> np.ndarray:
        """Class name of each row for a model of these classes; None for a label that is none of them."""
        if info.targets == BINARY:
            return np.array([BINARY[label == BINARY[1]] for label in self.table["label"]], dtype=object)
        return np.array([label if label in info.targets else None for label in self.table["label"]], dtype=object)


class Match(NamedTuple):
    """Which line goes with which film.

    Attributes:
        rows: row of the labels' table for each file, -1 without.
        unmatched: number of lines that no file goes with, that go with unusable files alone, and that name several files.
        contradicted: files that two lines name by different columns, with different labels; the first column counts.
    """

    rows: np.ndarray
    unmatched: dict[str, int]
    contradicted: np.ndarray


def match_films(labels: Labels, files: pd.DataFrame, usable: pd.Series, copies: pd.Series) -> Match:
    """Find the line of each file of a folder.

    Args:
        files: a row for every file: columns file, file_name, instance, accession (keyed hashes).
        usable: whether a file is a film that counts.
        copies: whether it is a further copy of such a film: its label is the film's.
    """
    names = files["file_name"].value_counts()
    ambiguous = set(names[names > 1].index)
    rows = labels.rows_of(files, ambiguous)
    matched = pd.Series(rows, index=files.index)
    labelled_copies = files[copies & (matched >= 0)].assign(label=matched).drop_duplicates("instance")
    of_copies = labelled_copies.set_index("instance")["label"]
    unlabelled = usable & (matched < 0) & files["instance"].isin(of_copies.index)
    matched.loc[unlabelled] = files.loc[unlabelled, "instance"].map(of_copies).astype(int)
    anywhere, somewhere = labels.matched(files, ambiguous), labels.matched(files[usable | copies], ambiguous)
    several = labels.hashes["file_name"].isin(ambiguous).to_numpy() & ~anywhere
    unmatched = {
        "no file": int((~anywhere & ~several).sum()),
        "no scored file": int((anywhere & ~somewhere).sum()),
        "several files": int(several.sum()),
    }
    return Match(matched.to_numpy(), unmatched, labels.contradicted(files, ambiguous))


def no_line_has(labels: Labels) -> str:
    """The sentence on words of the map that no line has; empty where there are none."""
    words = listed([repr(word) for word in labels.unused], MOST)
    return f"Words of the map that no line has: {words}." if labels.unused else ""


def matches_nothing(labels: Labels, films: str) -> str:
    """The sentence where no line goes with any film; `films` says which."""
    tried = ", ".join(labels.tried)
    return (
        f"--labels {labels.file}: none of its {len(labels.table)} lines goes with {films}; tried {tried}. A line names its "
        "film by sop_instance_uid, by file (its path below the folder, or a name that one file bears) or by accession_number"
    )


def read_labels(
    file: Path,
    key: bytes,
    infos: Sequence[DatasetInfo] = (),
    words: LabelMap | None = None,
    classes: Sequence[str] = (),
) -> Labels:
    """Read a CSV or Parquet file of labels.

    Args:
        file: columns `label` and one or more of `sop_instance_uid`, `file` (path below the folder, or the name alone) and
            `accession_number`; others may be grouped by.
        infos: classes of the models that the labels are for; `LABELS` are known beside them.
        words: what the file's own words mean, of `label_words.label_map`.
        classes: further labels that are known.

    Raises:
        LabelsError: no such file, no key, no label, one that isn't known though there is no map, or two lines that contradict
            each other.
        LabelWordsError: a word is mapped to a label that isn't known.
    """
    table = _read(file)
    table.columns = [str(name).strip() for name in table.columns]
    top = f"{file}, line {int(table.index.min()) + 1 if len(table) else 1}"
    heading = {_plain(name): name for name in reversed(table.columns)}
    if len(heading) < len(table.columns):
        raise LabelsError(f"{top}: two columns have the same name but for case, blanks and underscores")
    columns = {kind: next((heading[name] for name in names if name in heading), None) for kind, names in KEYS.items()}
    if "label" not in heading or not any(columns.values()):
        # The first line is not shown: in a table without headings it identifies a patient.
        needed = "one of them label and one sop_instance_uid, file or accession_number"
        raise LabelsError(f"{top}: the columns must be named, {needed}")
    if accession := columns["accession"]:
        numbers = table[accession][table[accession] != ""]
        if numbers.str.fullmatch(r"[0-9]+\.0").all():  # as pandas writes a column of whole numbers with gaps
            table[accession] = table[accession].str.removesuffix(".0")
    table = table.rename(columns={heading["label"]: "label"})
    table = table[table["label"] != ""]
    if table.empty:
        raise LabelsError(f"{file}: no line has a label")
    of_models = [name for info in infos if info.targets != BINARY for name in info.targets]
    known = tuple(dict.fromkeys((*of_models, *classes, *LABELS)))
    require_known(words, known)
    own_words, table["label"] = table["label"], in_our_words(table["label"], words)
    unused = tuple(word for word in words or {} if word not in set(own_words.map(as_word)))
    strange = ~table["label"].isin(known)
    mapped_to_nothing = ""
    if strange.any():
        strangers, at = table["label"][strange], (table.index[strange].to_numpy() + 2).tolist()
        if words is None or strange.all():
            raise LabelsError(f"{file}: {refusal(strangers, at, known, private=True)}")
        mapped_to_nothing = words_with_lines(strangers, at, private=True)
        table, own_words = table[~strange], own_words[~strange]
    for info in infos:
        if info.targets != BINARY and len(table) and not table["label"].isin(info.targets).any():
            raise LabelsError(f"{file}: none of its labels is one of {', '.join(info.targets)}")
    lines, table = table.index.to_numpy() + 2, table.reset_index(drop=True)
    texts = {kind: table[column].tolist() if column else [""] * len(table) for kind, column in columns.items()}
    texts["file"] = [text.replace("\\", "/").removeprefix("./") for text in texts["file"]]
    texts["file_name"] = ["" if "/" in path else path for path in texts["file"]]
    hashed = {kind: [keyed_hash(key, text) if text else "" for text in texts[kind]] for kind in KINDS}
    hashes = pd.DataFrame(hashed, dtype=object)
    for kind in texts:
        _check_agreement(file, table["label"], hashes[kind], lines, columns["file" if kind == "file_name" else kind])
    kept = table[[name for name in table if _plain(str(name)) not in IDENTIFYING]]
    tried = tuple(NAMES[kind] for kind, column in columns.items() if column)
    return Labels(file, kept, hashes, lines, own_words.reset_index(drop=True), tried, mapped_to_nothing, unused)


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
        found = "a folder, not a file" if file.is_dir() else "no such file"
        raise LabelsError(f"--labels {file}: {found}")
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
    if isinstance(value, bytes):  # as many writers store text
        return value.decode("utf-8", "replace").strip()
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value).strip()
