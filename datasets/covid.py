"""COVID chest radiographs: a folder with metadata.csv and images, read into a cohort.

`metadata.csv` needs the columns `path` (relative to the folder), `label` and `source`. It may have `patient_id` (else each
film counts as its own patient), `split` (train, validation, test, external; it then wins over a computed split), `view`,
`sex`, `age` and any others. Films are PNG, JPEG, TIFF or DICOM.
"""

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import pandas as pd

from datasets.cohort.copies import kept_hashes
from datasets.cohort.csv_table import NOT_KNOWN, read_csv
from datasets.cohort.external import external_films
from datasets.cohort.films import Cohort, CohortError, age_bands, left_out
from datasets.cohort.label_words import BINARY, LABELS, LabelMap, in_our_words, refusal, require_known, words_with_lines
from datasets.cohort.near_duplicates import hashes, joined_by_copies, near_duplicates
from datasets.cohort.notes import OTHER_LABEL, copies_note, left_out_notes, rounded_note, table_notes
from datasets.cohort.source_names import with_one_spelling, with_one_spelling_each
from datasets.cohort.splits import patients_in_two_splits, split_by_patient
from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph
from datasets.film.read import read_radiograph
from datasets.sample import DatasetInfo, Split

# What a cohort's table holds beside the columns of metadata.csv.
RESERVED = {"row": "", "patient": " (patient_id, if it is that)", "target": "", "target_name": "", "bias": ""}
SPLIT_NAMES = {str(split): str(split) for split in Split} | {"val": "validation", "valid": "validation"}


class FilmFolder:
    """Films by position, read from files below one folder; DICOM films as the policy says, masks though they are binary."""

    def __init__(self, root: Path, paths: Sequence[str], policy: DicomPolicy = DEFAULT, *, masks: bool = False) -> None:
        self.root, self.paths, self.policy, self.masks = root, list(paths), policy, masks
        self._texts: Counter[str] = Counter()

    def read(self, position: int) -> Radiograph:
        """Decode one film; raises RadiographError with the reason."""
        film = read_radiograph(self.root / self.paths[position], policy=self.policy, may_be_empty=self.masks)
        for tag, name in (("view", "view_text"), ("body part", "body_part_text")):
            if text := film.facts.get(name):
                self._texts[f"{tag} {text}"] += 1
        return film

    def not_understood(self) -> dict[str, int]:
        """Texts of the view and the body part that no word fits, by falling number of films."""
        return dict(self._texts.most_common())

    def fingerprint(self, position: int) -> str:
        """Path, size, time of last change, and how a DICOM file is read."""
        file = self.root / self.paths[position]
        status = file.stat()
        return f"{file.resolve()} {status.st_size} {status.st_mtime_ns} {self.policy}"


def load_covid(
    data_dir: Path | str,
    preprocessing: Preprocessing,
    classes: tuple[str, ...] = (),
    external_sources: tuple[str, ...] = (),
    split_seed: int = 0,
    separate_copies: bool = False,
    policy: DicomPolicy = DEFAULT,
    external_column: str = "source",
    words: LabelMap | None = None,
) -> Cohort:
    """Read and check `data_dir/metadata.csv`; films are not decoded yet, unless copies are looked for.

    Args:
        classes: labels to keep as classes of their own, rows with others being left out; empty: `covid` against the rest.
        external_sources: sources, or values of `external_column`, that form the external test set; films of which that
            column is unknown are left out then.
        separate_copies: find copies of one film under several patients by perceptual hash and keep them in one split; films
            that `datasets.prepare` left no hash of are decoded for it.
        policy: which DICOM films are admitted; their greys are read as the preprocessing says.
        words: what the words of the column label mean, of `label_words.label_map`; others are left out then.

    Raises:
        CohortError: a missing file or column, an unknown label or source, a path that leaves the folder, a patient in two
            splits, or nothing left to train on; the message names rows (counted from 2, as a spreadsheet shows them) and
            says what to change.
    """
    data_dir = Path(data_dir)
    for argument, given in (("classes", classes), ("external_sources", external_sources)):
        if isinstance(given, str):  # whose letters would be taken for names
            raise CohortError(f"{argument} is the text {given!r}: give a tuple of names")
    table, reasons = read_metadata(data_dir, words)
    table["source"], notes = with_one_spelling(table["source"])
    notes += with_one_spelling_each(table)
    classes = tuple(dict.fromkeys(name.lower() for name in classes))
    absent = [name for name in classes if name not in set(table["label"])]
    if absent or len(classes) == 1:
        raise CohortError(
            f"--classes {','.join(classes)}: " + (f"no row has label {absent[0]!r}" if absent else "name two or more")
        )
    require_known(words, classes or LABELS)
    table, of_other_classes, unmapped = with_targets(table, classes, data_dir, words)
    notes += unmapped
    has_splits, outside = _has_splits(table), None
    if external_sources:
        outside, unknown = external_films(table, external_column, external_sources)
        if has_splits:
            notes.append("metadata.csv has a split column, which wins: --external-sources is not used.")
        else:
            reasons |= dict.fromkeys(
                table["row"][unknown], f"its {external_column} is unknown: neither inside nor outside"
            )
            table, outside = table[~unknown].reset_index(drop=True), outside[~unknown].reset_index(drop=True)
    together = table["patient"]
    if separate_copies:
        copies = _copies(table, data_dir, policy.reading(preprocessing.voi))
        together = joined_by_copies(table["patient"], copies)
        notes.append(copies_note(table, copies))
    table, in_no_split = with_splits(table, together, outside, split_seed, data_dir)
    if separate_copies and not has_splits:
        in_no_split = {row: f"{why}, or shares a copy of one with it" for row, why in in_no_split.items()}
    targets = classes or BINARY
    for split in (Split.TRAIN, Split.VALIDATION):
        lacking = set(range(len(targets))) - set(table["target"][table["split"] == str(split)])
        if lacking:
            names, there = ", ".join(targets[i] for i in sorted(lacking)), table["patient"].nunique()
            raise CohortError(
                f"split {split} of {data_dir} has no film of class {names}: more patients of it are needed; the films are of "
                f"{there} patient{'s' if there > 1 else ''}. {rounded_note(table)}".rstrip()
            )
    reasons = reasons | of_other_classes | in_no_split
    notes += table_notes(table, reasons)
    return as_cohort(table, reasons, data_dir, preprocessing, targets, policy, notes=tuple(notes))


def load_unseen(
    data_dir: Path | str,
    preprocessing: Preprocessing,
    info: DatasetInfo,
    policy: DicomPolicy = DEFAULT,
    words: LabelMap | None = None,
    known: Collection[str] = (),
) -> Cohort:
    """Read another cohort for a trained model: nothing is split, and its sources may be new.

    Films of sources that the model was trained on are test films, others external. A `split` column is of another training
    and not read.

    Args:
        info: the model's classes: labels are read as in its training, and rows of other classes are left out.
        policy, words: as in `load_covid`.
        known: the sources that the model was trained on.

    Raises:
        CohortError: as `load_covid`, or a model that wasn't trained on chest radiographs.
    """
    data_dir = Path(data_dir)
    if info.name == "biased-mnist":
        raise CohortError(f"--data-dir {data_dir}: a model of digits can't score chest radiographs")
    table, reasons = read_metadata(data_dir, words)
    table["source"], notes = with_one_spelling(table["source"], list(dict.fromkeys([*info.biases, *sorted(known)])))
    notes += with_one_spelling_each(table)
    classes = () if info.targets == BINARY else info.targets
    require_known(words, (*classes, *(label for label in LABELS if label not in classes)))
    table, of_other_classes, unmapped = with_targets(table, classes, data_dir, words)
    notes += unmapped
    if table.empty:
        raise CohortError(f"{data_dir / 'metadata.csv'} has no film of the model's classes: {', '.join(info.targets)}")
    if "split" in table:
        notes.append(
            "The column split of metadata.csv is not read: it is of another training. Films of sources that the run was "
            "trained on are test films, others external."
        )
    table["split"] = table["source"].isin(known).map({True: str(Split.TEST), False: str(Split.EXTERNAL)})
    reasons = reasons | of_other_classes
    notes += [*left_out_notes(reasons), *table_notes(table, reasons)]
    return as_cohort(table, reasons, data_dir, preprocessing, info.targets, policy, info.bias_name, tuple(notes))


def with_targets(
    table: pd.DataFrame, classes: tuple[str, ...], data_dir: Path, words: LabelMap | None = None
) -> tuple[pd.DataFrame, dict[int, str], list[str]]:
    """Add the columns target and target_name, of the labels named or of `BINARY`.

    Returns:
        The table without the films of other classes, for each of their rows the reason, and sentences to be read.

    Raises:
        CohortError: no classes are named, nor is any word mapped, and a label is unknown.
    """
    label = table["label"]
    unknown = ~label.isin(classes or LABELS)
    lines = (table["row"][unknown] + 2).tolist()
    if unknown.any() and not classes and (words is None or unknown.all()):
        told = refusal(label[unknown], lines, LABELS)
        raise CohortError(
            f"{data_dir / 'metadata.csv'}: {told}. Or name labels that you want as classes with --classes"
        )
    notes = []
    if unknown.any() and words is not None:
        notes.append(
            f"Labels that are mapped to nothing, their films left out: {words_with_lines(label[unknown], lines)}."
        )
    if not classes:
        reasons = dict.fromkeys(table["row"][unknown], "its label is mapped to nothing")
        table = table[~unknown].reset_index(drop=True)
        target = (table["label"] == "covid").astype(int)
        return table.assign(target=target, target_name=[BINARY[t] for t in target]), reasons, notes
    kept = label.isin(classes)
    reasons = {
        row: f"label {name} is not among --classes" for row, name in zip(table["row"][~kept], label[~kept], strict=True)
    }
    table = table[kept].reset_index(drop=True)
    target = table["label"].map({name: i for i, name in enumerate(classes)}).astype(int)
    return table.assign(target=target, target_name=table["label"]), reasons, notes


def with_splits(
    table: pd.DataFrame, together: pd.Series, outside: pd.Series | None, seed: int, data_dir: Path
) -> tuple[pd.DataFrame, dict[int, str]]:
    """Fill the column split: from metadata.csv where it has one, else by patient.

    Args:
        together: a name for the films that must stay in one split: their patient, or patients who share a copy.
        outside: which films form the external split; None for none.

    Returns:
        The table without the films that are in no split, and for each of their rows the reason.

    Raises:
        CohortError: a split of another name, or a patient in two.
    """
    file = data_dir / "metadata.csv"
    if _has_splits(table):
        split = _given_splits(table)
        wrong = table[split.isna() & (table["split"] != "")]
        if len(wrong):
            line, name = int(wrong["row"].iloc[0]) + 2, wrong["split"].iloc[0]
            raise CohortError(f"{file}, line {line}: split {name!r}; use train, validation, test or external")
        split, why = split.fillna(""), "its split is empty"
    else:
        split = split_by_patient(table["target_name"], table["source"], together, seed, outside)
        why = "its patient also has external films"
    table = table.assign(split=split)
    placed = split != ""
    reasons = dict.fromkeys(table["row"][~placed], why)
    table = table[placed].reset_index(drop=True)
    twice = patients_in_two_splits(table["patient"], table["split"])
    if twice:
        lines = ", ".join(str(row + 2) for row in table.loc[table["patient"] == twice[0], "row"])
        raise CohortError(
            f"{file}: {len(twice)} patient(s) are in two splits, the first on lines {lines}; "
            f"give all films of a patient the same split"
        )
    return table, reasons


def as_cohort(
    table: pd.DataFrame,
    reasons: dict[int, str],
    data_dir: Path,
    preprocessing: Preprocessing,
    targets: tuple[str, ...],
    policy: DicomPolicy = DEFAULT,
    bias_name: str = "source",
    notes: tuple[str, ...] = (),
) -> Cohort:
    """The cohort of a table that has targets and splits; `covid` is its positive class, or else the last one."""
    sources = tuple(sorted(set(table["source"])))
    table = table.assign(bias=table["source"].map({name: i for i, name in enumerate(sources)}).astype(int))
    if "age" in table:
        table["age_band"] = age_bands(table["age"])
    positive = targets.index("covid") if "covid" in targets else len(targets) - 1
    info = DatasetInfo("covid", targets, sources, bias_name, positive, synthetic=False)
    films = FilmFolder(data_dir, table["path"].tolist(), policy.reading(preprocessing.voi))
    return Cohort(info, table, preprocessing, films, excluded=left_out(reasons), notes=notes)


def _has_splits(table: pd.DataFrame) -> bool:
    return "split" in table and bool((table["split"] != "").any())


def _given_splits(table: pd.DataFrame) -> pd.Series:
    """The splits that metadata.csv names; NaN where it names none of ours."""
    if "split" not in table:
        return pd.Series(index=table.index, dtype=object)
    return table["split"].str.lower().map(SPLIT_NAMES)


def _copies(table: pd.DataFrame, data_dir: Path, policy: DicomPolicy) -> pd.DataFrame:
    """Pairs of near-copies; films that `datasets.prepare` left no hash of are decoded."""
    films = FilmFolder(data_dir, table["path"].tolist(), policy)
    return near_duplicates(hashes(films, len(table), kept_hashes(data_dir, films.paths) if policy == DEFAULT else None))


def read_metadata(data_dir: Path, words: LabelMap | None = None) -> tuple[pd.DataFrame, dict[int, str]]:
    """The usable rows of metadata.csv, labels in our words, and the reason for each other row."""
    file = data_dir / "metadata.csv"
    if not file.is_file():
        what = "is no file" if os.path.lexists(file) else "does not exist"
        raise CohortError(f"{file} {what}; --data-dir must be a folder with metadata.csv (columns path, label, source)")
    table = read_csv(file)
    for column in ("path", "label", "source"):
        if column not in table:
            raise CohortError(
                f"{file} lacks the column {column}; it has {', '.join(table.columns)}. Required are path, label and "
                f"source, separated by commas"
            )
    for column, hint in RESERVED.items():
        if column in table:
            raise CohortError(f"{file} has a column {column}, a name that is used here: call it something else{hint}")
    table.insert(0, "row", table.index)
    table["label"] = in_our_words(table["label"], words)
    root = data_dir.resolve()
    table["path"] = [with_slashes(root, path) for path in table["path"]]
    reasons: dict[int, str] = {}
    seen: dict[Path, int] = {}
    labels = table["label"].to_dict()
    blank = (table.drop(columns="row") == "").all(axis=1).to_dict()
    columns = table[["row", "path", "label", "source"]].itertuples(index=False)
    for (row, path, label, source), place in zip(columns, places(root, table["path"]), strict=True):
        empty = [name for name, value in (("path", path), ("label", label), ("source", source)) if not value]
        if blank[row]:
            reasons[row] = "the line is empty"
        elif empty:
            reasons[row] = f"its {empty[0]} is empty"
        elif source.casefold() in NOT_KNOWN:
            reasons[row] = f"its source is {source!r}, which names none"
        elif place is None:
            reasons[row] = _why_no_place(root, path)
        elif not place.is_relative_to(root):
            raise CohortError(
                f"{file}, line {row + 2}: the path {path} leaves the folder; put the image below {data_dir}"
            )
        elif not place.is_file():
            reasons[row] = "its file does not exist"
        elif place in seen:
            differs = OTHER_LABEL if label != labels[seen[place]] else ""
            reasons[row] = f"its file is already on line {seen[place] + 2}{differs}"
        else:
            seen[place] = row
    usable = table[~table["row"].isin(list(reasons))].reset_index(drop=True)
    if usable.empty:
        first = f"; the first: line {min(reasons) + 2}, {reasons[min(reasons)]}" if reasons else ""
        raise CohortError(f"{file} has no usable row{first}")
    film = "film " + usable["row"].astype(str)
    if "patient_id" in usable:
        usable["patient_id"] = usable["patient_id"].mask(usable["patient_id"].str.casefold().isin(NOT_KNOWN), "")
    usable["patient"] = usable["patient_id"].where(usable["patient_id"] != "", film) if "patient_id" in usable else film
    return usable, reasons


def with_slashes(root: Path, path: str) -> str:
    """A path written on Windows, with `/` for each backslash, unless a file bears that very name here."""
    if "\\" not in path:
        return path
    with suppress(ValueError, OSError):
        if (root / path).is_file():
            return path
    return path.replace("\\", "/")


def _why_no_place(root: Path, path: str) -> str:
    try:
        (root / path).stat()
    except PermissionError:
        return "its file or folder may not be read (no permission)"
    except UnicodeEncodeError:
        return "its path has letters that this system's locale lacks: set PYTHONUTF8=1"
    except (ValueError, OSError, RuntimeError):
        pass
    return "its path is no name of a file"


def places(root: Path, paths: Iterable[str]) -> Iterator[Path | None]:
    """`resolved` of many paths below one folder, a resolved one: each folder among them is followed once."""
    folder = cache(partial(resolved, root))
    for path in paths:
        head, name = os.path.split(path)
        parent, place = folder(head), None
        if parent is not None:
            with suppress(ValueError, OSError):
                place = parent / name if stat.S_ISREG((parent / name).lstat().st_mode) else None
        yield place or resolved(root, path)  # a link, or nothing that is there


def resolved(root: Path, path: str) -> Path | None:
    """Where a path below a folder leads, through every link; None where it can't be the name of a file."""
    try:
        place = (root / path).resolve()
        place.is_file()  # raises for a name that is too long
    except (ValueError, OSError, RuntimeError):
        return None
    return place
