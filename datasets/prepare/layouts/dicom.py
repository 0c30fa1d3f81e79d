"""Any folder of DICOM films, such as a hospital's archive, with a table of labels.

What is kept of a film is what an evaluation of the folder keeps: facts of an allow-list, and keyed hashes of file, patient,
institution and station. Which films are admitted, and which line of the labels is a film's, is decided as there.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import track

from datasets.cohort.label_table import Labels, match_films, matches_nothing, no_line_has
from datasets.film.dicom import read_facts
from datasets.film.folder import LocalFolder
from datasets.film.identity import as_hashed, keyed_hash, short_name
from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.film.radiograph import RadiographError
from datasets.prepare.layouts.film import Film, LayoutError, LeftOut, text
from datasets.prepare.layouts.header import matrix, not_understood

LICENCE = "not stated: the hospital's own films"
DUPLICATE, UNLABELLED = "duplicate", "no label"


def read(
    src: Path,
    policy: DicomPolicy = DEFAULT,
    labels: Labels | None = None,
    key: bytes = b"",
    source_column: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Film | LeftOut]:
    """Every file below `src` once, in a fixed order: a film with a label, or why not.

    Args:
        labels: matched by hashes under `key`.
        source_column: column of the labels that is the source; without one the source is left empty.
        tell: is given sentences that a user should read.

    Raises:
        LayoutError: there is no file, no film, or no line of the labels goes with a film.
    """
    if labels is None:
        raise LayoutError("its table of labels is missing: name it with --labels")
    entries = list(LocalFolder(src.resolve()).entries())
    if not entries:
        raise LayoutError("the folder is empty: there is no file below it")
    console = Console(stderr=True)
    shown = track(entries, "dicom: headers", console=console, disable=not console.is_terminal)
    found = [_facts(src, entry.name, entry.problem, policy, key) for entry in shown]
    files = pd.DataFrame(found, dtype=object)  # else rows and columns become 64.0 where one file states none
    usable = files["reason"] == ""
    if not usable.any():
        why = files["reason"].value_counts()
        raise LayoutError(
            f"there is no film among its {len(files)} files; most often: {why.index[0]} ({why.iloc[0]} of {len(files)})"
        )
    copies = usable & files["instance"].notna() & files["instance"].where(usable).duplicated()
    usable &= ~copies
    files.loc[copies, "reason"] = DUPLICATE
    match = match_films(labels, files, usable, copies)
    if not (match.rows[usable.to_numpy()] >= 0).any():
        raise LayoutError(matches_nothing(labels, "a film of it"))
    for sentence in _told(
        files[usable & (match.rows >= 0)], labels, match.unmatched, int(match.contradicted[usable].sum())
    ):
        tell(sentence)
    records: list[dict[str, Any]] = files.where(files.notna(), None).to_dict("records")  # type: ignore[assignment]
    for entry, facts, row in zip(entries, records, match.rows.tolist(), strict=True):
        origin = f"{labels.file.name} line {labels.lines[row]}" if row >= 0 else ""
        if facts["reason"] or row < 0:
            yield LeftOut(str(facts["file"]), origin, str(facts["reason"] or UNLABELLED))
        else:
            yield _film(entry.name, facts, labels, row, key, origin, source_column)


def _facts(src: Path, name: str, problem: str, policy: DicomPolicy, key: bytes) -> dict[str, Any]:
    """What may be kept of a file, and why it is no film (empty where it is one)."""
    known: dict[str, Any] = dict.fromkeys(("instance", "accession", "patient", "study", "patient_alike"))
    known |= {"file": keyed_hash(key, name), "file_name": keyed_hash(key, name.rpartition("/")[2]), "reason": problem}
    if not problem:
        try:
            known |= read_facts(src / name, policy, key=key)
        except RadiographError as error:
            known["reason"] = error.reason
    return known


def _film(
    name: str, facts: dict[str, Any], labels: Labels, row: int, key: bytes, origin: str, source_column: str | None
) -> Film:
    """A film and its line of the labels."""
    file = str(facts["file"])
    named = {tag: short_name(tag, facts[tag]) if facts[tag] else "" for tag in ("institution", "station")}
    return Film(
        name,
        str(labels.table["label"].iloc[row]),
        text(str(labels.table[source_column].iloc[row])) if source_column else "",
        as_hashed(key, facts["patient"] or facts["study"] or file),
        origin,
        view="" if facts["view_position"] == "UNKNOWN" else facts["view_position"],
        sex=(facts["sex"] or "").replace("O", ""),
        age=facts["age_band"] or "",
        licence=LICENCE,
        finding=text(str(labels.words.iloc[row])),
        manufacturer=text(facts["manufacturer"] or ""),
        model=text(facts["model"] or ""),
        matrix=matrix(facts),
        not_understood=not_understood(facts),
        place=f"{file[:2]}/{file}.dcm",
        **named,
    )


def _told(films: pd.DataFrame, labels: Labels, unmatched: dict[str, int], contradicted: int) -> Iterator[str]:
    """What became of the labels, and which films name no patient."""
    if labels.mapped_to_nothing:
        yield f"Labels that are mapped to nothing, their films left out: {labels.mapped_to_nothing}."
    if said := no_line_has(labels):
        yield said
    lines = {"no file": "no file", "no scored file": "files that are no films", "several files": "several files"}
    for kind, what in lines.items():
        if unmatched[kind]:
            yield f"{unmatched[kind]} of {len(labels.table)} lines of the labels go with {what}."
    if contradicted:
        films_have = "1 film has" if contradicted == 1 else f"{contradicted} films have"
        yield f"{films_have} two labels, by different columns: the first of {', '.join(labels.tried)} counts."
    if twice := int((films.groupby("patient_alike")["patient"].nunique() > 1).sum()):
        yield (
            f"{twice} patient(s) seem to be numbered in two ways (PatientID with leading zeros or capital letters on some "
            "films alone) and count as two, whose films may be in two splits. If they are one, write the tag alike."
        )
    if unnamed := int(films["patient"].isna().sum()):
        films_name = "1 film names" if unnamed == 1 else f"{unnamed} films name"
        yield f"{films_name} no patient: each study without one counts as a patient."
