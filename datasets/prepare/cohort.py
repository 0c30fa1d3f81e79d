"""The cohort that `datasets.prepare` makes: films placed, metadata.csv and left_out.csv written, near-copies listed."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track

from datasets.cohort.copies import copies_across_patients, hashed
from datasets.cohort.csv_table import read_csv
from datasets.cohort.label_table import Labels, read_labels
from datasets.files import write_text
from datasets.film.folder import LocalFolder
from datasets.film.identity import KEY_FILE, as_hashed, hash_key, hashed_by, keyed_hash
from datasets.film.linkage import require_place, write_linkage
from datasets.prepare.layouts import LAYOUTS, reader
from datasets.prepare.layouts.film import Film, LayoutError, LeftOut, no_formula
from datasets.prepare.placing import Placing, PlacingError
from datasets.prepare.request import Request
from datasets.prepare.sources import OF_HEADERS, TAGS, with_sources

REQUIRED = ("path", "label", "source", "patient_id", "view", "sex", "age", "licence", "finding")
OPTIONAL = ("manufacturer", "model", "original_split", "location", "url")
MARKS = ("dataset", "origin")  # last columns, by which a metadata.csv is known as this command's
LEFT_OUT = ("dataset", "origin", "file", "reason")
TOGETHER = 256  # films handed to the threads at a time
METADATA, LEFT_OUT_FILE, COPIES = "metadata.csv", "left_out.csv", "near_copies.csv"
ARCHIVE = ".archive"  # the keyed hash of the folder whose films are in the cohort, which may be named after anyone


class Prepared(NamedTuple):
    """A data set in its cohort.

    Attributes:
        table: of the whole cohort.
        left_out: of all its data sets.
        placing: how this one's films were placed.
        notes: sentences that a user should read.
    """

    table: pd.DataFrame
    left_out: pd.DataFrame
    placing: Placing
    notes: tuple[str, ...] = ()


def prepare(request: Request) -> Prepared:
    """Put a data set's films below the cohort's folder and its rows into metadata.csv and left_out.csv there.

    Raises:
        LayoutError: the source folder is not that data set, the cohort's is another's, or no film is usable.
        CohortError: a table can't be read.
        ValueError: labels or a key that can't be used.
    """
    name, src, out = request.name, request.src, request.out
    layout = LAYOUTS[name]
    _require_places(request)
    others, others_left_out, replaced = _earlier(out, name)
    key = hash_key(out, request.hash_key) if layout.labelled else b""
    archive = as_hashed(key, keyed_hash(key, str(src.resolve())))
    if replaced and layout.labelled:
        _require_archive(request, archive)
    labels = read_labels(request.labels, key, words=request.words, classes=request.classes) if request.labels else None
    tag, column = _tag(request, labels)
    notes = [f"{replaced} rows of an earlier run on {name} are replaced."] if replaced else []
    rows = list(_rows(request, labels, key, column, notes.append))
    films = [row for row in rows if isinstance(row, Film)]
    left_out = [row for row in rows if isinstance(row, LeftOut)]
    if request.linkage is not None:
        write_linkage(request.linkage, LocalFolder(src.resolve()), key, {Path(film.place).stem for film in films})
    if tag is not None:
        films, told = with_sources(films, tag)
        notes += told
    placing = Placing(request)
    placed, unplaced = _placed(placing, films, request.workers, f"{column or tag} not stated")
    dropped = [(name, row.origin, no_formula(row.file), row.reason) for row in (*left_out, *unplaced)]
    new_left_out = pd.DataFrame(dropped, columns=list(LEFT_OUT), dtype=str)
    if not placed:
        why = new_left_out["reason"].value_counts()
        most = f"; most often: {why.index[0]} ({why.iloc[0]} of {len(new_left_out)} rows)" if len(why) else ""
        other = ", or another --source-tag" if most and "not stated" in why.index[0] else ""
        raise LayoutError(f"no film of {src} is usable{most}. Expected are {layout.expects}{other}")
    new = pd.DataFrame(placed, dtype=str).rename(columns={"file": "path"}).drop(columns="sidecar").assign(dataset=name)
    table = pd.concat([others, new], ignore_index=True).fillna("")
    all_left_out = pd.concat([others_left_out, new_left_out], ignore_index=True).fillna("")
    write(out, table, all_left_out)
    if layout.labelled:
        write_text(out / ARCHIVE, archive)
    return Prepared(table, all_left_out, placing, tuple(notes))


def require_labels(request: Request) -> None:
    """Raise what `prepare` would for the labels and the sources, before the films are there."""
    if request.labels is not None:
        labels = read_labels(request.labels, b"", words=request.words, classes=request.classes)
        _tag(request, labels)


def _rows(
    request: Request, labels: Labels | None, key: bytes, column: str | None, tell: Callable[[str], None]
) -> Iterator[Film | LeftOut]:
    """What the data set's layout gives, with a progress bar; its mistakes say what was expected."""
    name, layout, console = request.name, LAYOUTS[request.name], Console(stderr=True)
    own = {"labels": labels, "key": key, "source_column": column, "tell": tell} if layout.labelled else {}
    rows = reader(name)(request.src, request.policy, **own)
    try:
        yield from track(rows, f"{name}: rows", console=console, disable=layout.labelled or not console.is_terminal)
    except LayoutError as error:
        if layout.labelled:
            raise LayoutError(f"{request.src}: {error}") from None
        raise LayoutError(f"{request.src} is not {layout.title}: {error}. Expected are {layout.expects}") from None


def _placed(placing: Placing, films: Sequence[Film], workers: int, no_source: str) -> tuple[list[Film], list[LeftOut]]:
    """Films with their path in the cohort, and those that can't be placed or have no source, each in the order given."""

    def left_out(film: Film, error: PlacingError) -> LeftOut:
        return LeftOut(Path(film.place).stem or film.file, film.origin, str(error))

    def claimed(part: Sequence[Film]) -> Iterator[tuple[Film, Path] | LeftOut]:
        """In the order of the films, so that of two rows for one file the first has it."""
        for film in part:
            try:
                if not film.source:
                    raise PlacingError(no_source)
                yield film, placing.claim(film)
            except PlacingError as error:
                yield left_out(film, error)

    def written(claim: tuple[Film, Path] | LeftOut) -> Film | LeftOut:
        if isinstance(claim, LeftOut):
            return claim
        film, place = claim
        try:
            return film._replace(file=placing.write(film, place))
        except PlacingError as error:
            return left_out(film, error)

    console, done = Console(stderr=True), list[Film | LeftOut]()
    with ThreadPoolExecutor(workers) as pool:
        parts = range(0, len(films), TOGETHER)
        for start in track(parts, "films: placing", console=console, disable=not console.is_terminal):
            done += pool.map(written, claimed(films[start : start + TOGETHER]))
    return [row for row in done if isinstance(row, Film)], [row for row in done if isinstance(row, LeftOut)]


def _require_places(request: Request) -> None:
    """LayoutError where the folders can't be those of a data set and a cohort."""
    src, out, layout = request.src, request.out, LAYOUTS[request.name]
    if not src.is_dir():
        raise LayoutError(f"{src} is no folder; expected is {layout.title}: {layout.expects}")
    for flag, place in (("--out", out), ("--linkage", request.linkage)):
        inside = place is not None and place.resolve().is_relative_to(src.resolve())
        if inside and (layout.labelled or out.resolve() != src.resolve()):
            raise LayoutError(
                f"{flag} {place} lies inside {src}: name a folder beside it, so that films are not found twice"
            )
    if request.linkage is not None:
        require_place(request.linkage)


def _require_archive(request: Request, archive: str) -> None:
    """LayoutError where the rows that would be replaced are of another folder: a training may need them."""
    file = request.out / ARCHIVE
    before = file.read_text("utf-8") if file.is_file() else archive
    if before != archive and hashed_by(before) == hashed_by(archive):
        raise LayoutError(
            f"{request.out} has the films of another folder than {request.src}: name another place for the cohort. To have "
            f"the films of both, put them below one folder; where the folder was moved, remove {file}"
        )


def _tag(request: Request, labels: Labels | None) -> tuple[str | None, str | None]:
    """The tag, or the column of the labels, that a film's source is; both None where the layout says it."""
    layout, asked = LAYOUTS[request.name], request.source_tag
    if layout.labelled:
        columns = [] if labels is None else [str(name) for name in labels.table if name != "label"]
        asked = TAGS[0] if asked is None else asked
        if asked not in TAGS and asked in columns:
            return None, asked
        known = [*TAGS, *(name for name in columns if name not in TAGS)]
    else:
        known = [*OF_HEADERS] if layout.headers else []
    if asked is not None and asked not in known:
        choice = f"choose from {', '.join(known)}" if known else "its films have no DICOM headers"
        raise LayoutError(f"--source-tag {asked}: {request.name} has no such source; {choice}")
    return asked, None


def write(out: Path, table: pd.DataFrame, left_out: pd.DataFrame) -> None:
    """Write metadata.csv and left_out.csv, each whole or not at all; near_copies.csv, which is then of no use, goes."""
    out.mkdir(parents=True, exist_ok=True)
    (out / COPIES).unlink(missing_ok=True)  # its lines are those of another metadata.csv
    known = [column for column in OPTIONAL if column in table and (table[column] != "").any()]
    write_text(out / METADATA, table[[*REQUIRED, *known, *MARKS]].to_csv(index=False))
    write_text(out / LEFT_OUT_FILE, left_out.to_csv(index=False))


def prepare_alone(request: Request, errors: Console) -> tuple[Prepared, pd.DataFrame | None]:
    """`prepare`, then `with_copies` unless that isn't asked for, with no other command in the cohort's folder."""
    copies = None
    with alone(request.out):
        prepared = prepare(request)
        if request.copies:
            prepared, copies = with_copies(request, prepared, errors)
        if LAYOUTS[request.name].labelled:
            prepared.placing.tidy(set(prepared.table["path"]))
    return prepared, copies


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep a second command out of the cohort's folder while the block runs, for each would undo what the other adds.

    The folder is made, and goes again if it stays empty but for a key. The system lifts the lock when the process ends,
    however it does.
    LayoutError if another command is at work there, or it is a file.
    """
    if out.exists() and not out.is_dir():
        raise LayoutError(f"--out {out} is a file: name a folder, which is made if it isn't there")
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LayoutError(f"another run of this command is at work in {out}: wait until it has ended") from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(folder)
        if made:
            with suppress(OSError):  # it holds something
                if [file.name for file in out.iterdir()] == [KEY_FILE]:
                    (out / KEY_FILE).unlink()
                out.rmdir()


def _earlier(out: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """The rows of other data sets in a cohort that this command made, and how many there are of this one."""
    if not (out / METADATA).exists():
        return pd.DataFrame(), pd.DataFrame(), 0
    table = read_csv(out / METADATA)
    if tuple(table.columns[-len(MARKS) :]) != MARKS:
        raise LayoutError(f"{out / METADATA} was not written by this command: name another folder with --out")
    left_out = read_csv(out / LEFT_OUT_FILE) if (out / LEFT_OUT_FILE).exists() else pd.DataFrame(columns=list(LEFT_OUT))
    if tuple(left_out.columns) != LEFT_OUT:
        raise LayoutError(f"{out / LEFT_OUT_FILE} was not written by this command: remove it, or name another --out")
    own = table["dataset"] == name
    return table[~own], left_out[left_out["dataset"] != name], int(own.sum())


def with_copies(request: Request, prepared: Prepared, console: Console) -> tuple[Prepared, pd.DataFrame]:
    """Write near_copies.csv, leave out films that can't be decoded (all: LayoutError); returns the cohort and the pairs."""
    out, table, left_out = request.out, prepared.table, prepared.left_out
    columns = (TextColumn("near-copies: hashing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(table))
        paths, policy = table["path"].tolist(), request.policy
        bits, problems = hashed(out, paths, request.workers, lambda: bar.advance(task), policy)
    if problems:
        positions = sorted(problems)
        gone, bits = table.iloc[positions], np.delete(bits, positions, axis=0)
        rows = gone.assign(file=gone["path"], reason=[problems[i] for i in positions])[list(LEFT_OUT)]
        table, left_out = table.drop(index=gone.index), pd.concat([left_out, rows], ignore_index=True)
        table = table.reset_index(drop=True)
        write(out, table, left_out)
    if table.empty:
        why = pd.Series(list(problems.values())).value_counts()
        raise LayoutError(
            f"no film of the cohort can be decoded; most often: {why.index[0]} ({why.iloc[0]} of {len(problems)})"
        )
    copies = copies_across_patients(table, bits)
    write_text(out / COPIES, copies.to_csv(index=False))
    return prepared._replace(table=table, left_out=left_out), copies
