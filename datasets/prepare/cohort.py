"""The cohort that `datasets.prepare` makes: films placed, metadata.csv and left_out.csv written, near-copies listed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track

from datasets.cohort.copies import copies_across_patients, hashed
from datasets.cohort.csv_table import read_csv
from datasets.files import write_text
from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.prepare.layouts import LAYOUTS, reader
from datasets.prepare.layouts.film import Film, LayoutError, LeftOut, no_formula
from datasets.prepare.placing import Placing, PlacingError

REQUIRED = ("path", "label", "source", "patient_id", "view", "sex", "age", "licence", "finding")
OPTIONAL = ("manufacturer", "original_split", "location", "url")
MARKS = ("dataset", "origin")  # last columns, by which a metadata.csv is known as this command's
LEFT_OUT = ("dataset", "origin", "file", "reason")
METADATA, LEFT_OUT_FILE, COPIES = "metadata.csv", "left_out.csv", "near_copies.csv"


def prepare(
    name: str, src: Path, out: Path, policy: DicomPolicy = DEFAULT
) -> tuple[pd.DataFrame, pd.DataFrame, Placing]:
    """Put a data set's films below `out` and its rows into metadata.csv and left_out.csv there.

    Args:
        name: of a layout.
        out: made if it isn't there. Rows of other data sets stay, this one's are replaced.
        policy: which views and parts of the body are admitted.

    Returns:
        The cohort's table, what was left out of all its data sets, and how this one's films were placed.

    Raises:
        LayoutError: `src` is not that data set, `out` is another's folder, or no film is usable.
        CohortError: a table can't be read.
    """
    layout = LAYOUTS[name]
    if not src.is_dir():
        raise LayoutError(f"{src} is no folder; expected is {layout.title}: {layout.expects}")
    if out.resolve() != src.resolve() and out.resolve().is_relative_to(src.resolve()):
        raise LayoutError(f"--out {out} lies inside {src}: name a folder beside it, so that films are not found twice")
    others, others_left_out = _earlier(out, name)
    placing, films, left_out = Placing(src, out, name), [], []
    console = Console(stderr=True)
    rows = track(reader(name)(src, policy), f"{name}: films", console=console, disable=not console.is_terminal)
    try:
        for row in rows:
            if isinstance(row, Film):
                try:
                    films.append(row._replace(file=placing.put(row)))
                except PlacingError as error:
                    row = LeftOut(row.file, row.origin, str(error))
            if isinstance(row, LeftOut):
                left_out.append((name, row.origin, no_formula(row.file), row.reason))
    except LayoutError as error:
        raise LayoutError(f"{src} is not {layout.title}: {error}. Expected are {layout.expects}") from None
    new_left_out = pd.DataFrame(left_out, columns=list(LEFT_OUT), dtype=str)
    if not films:
        why = new_left_out["reason"].value_counts()
        most = f"; most often: {why.index[0]} ({why.iloc[0]} of {len(new_left_out)} rows)" if len(why) else ""
        raise LayoutError(f"no film of {src} is usable{most}. Expected are {layout.expects}")
    new = pd.DataFrame(films, dtype=str).rename(columns={"file": "path"}).drop(columns="sidecar").assign(dataset=name)
    table = pd.concat([others, new], ignore_index=True).fillna("")
    dropped = pd.concat([others_left_out, new_left_out], ignore_index=True).fillna("")
    write(out, table, dropped)
    return table, dropped, placing


def write(out: Path, table: pd.DataFrame, left_out: pd.DataFrame) -> None:
    """Write metadata.csv and left_out.csv, each whole or not at all; near_copies.csv, which is then of no use, goes."""
    out.mkdir(parents=True, exist_ok=True)
    (out / COPIES).unlink(missing_ok=True)  # its lines are those of another metadata.csv
    known = [column for column in OPTIONAL if column in table and (table[column] != "").any()]
    write_text(out / METADATA, table[[*REQUIRED, *known, *MARKS]].to_csv(index=False))
    write_text(out / LEFT_OUT_FILE, left_out.to_csv(index=False))


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep a second command out of the cohort's folder while the block runs, for each would undo what the other adds.

    The folder is made, and goes again if it stays empty. The system lifts the lock when the process ends, however it does.
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
                out.rmdir()


def _earlier(out: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of other data sets in a cohort that this command made."""
    if not (out / METADATA).exists():
        return pd.DataFrame(), pd.DataFrame()
    table = read_csv(out / METADATA)
    if tuple(table.columns[-len(MARKS) :]) != MARKS:
        raise LayoutError(f"{out / METADATA} was not written by this command: name another folder with --out")
    left_out = read_csv(out / LEFT_OUT_FILE) if (out / LEFT_OUT_FILE).exists() else pd.DataFrame(columns=list(LEFT_OUT))
    return table[table["dataset"] != name], left_out[left_out["dataset"] != name]


def with_copies(
    out: Path,
    table: pd.DataFrame,
    left_out: pd.DataFrame,
    workers: int,
    console: Console,
    policy: DicomPolicy = DEFAULT,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Write near_copies.csv, leave out films that can't be decoded (all: LayoutError); returns both tables and the pairs."""
    columns = (TextColumn("near-copies: hashing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(table))
        bits, problems = hashed(out, table["path"].tolist(), workers, lambda: bar.advance(task), policy)
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
    return table, left_out, copies
