"""Near-copies in a whole cohort: each film hashed once, hashes kept beside metadata.csv, pairs of patients as a table.

The file of hashes grows as films are hashed, so that a run that was stopped goes on, and a cohort to which a data set is
added hashes only what is new. It holds paths, sizes, times and hashes. A film that could not be read is tried again each
time, for rights, memory and codecs change without the file.
"""

import csv
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.cohort.csv_table import read_csv
from datasets.cohort.films import CohortError
from datasets.cohort.near_duplicates import SIDE, film_hash, near_duplicates
from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.film.radiograph import RadiographError
from datasets.film.read import read_radiograph

HASHES = ".film-hashes.csv"
COLUMNS = ("path", "stamp", "hash")
BITS = SIDE * SIDE
_CODE = re.compile(rf"[0-9a-f]{{{BITS // 4}}}")
_TOGETHER = 256  # films handed to the threads at a time, so that a cohort of 100,000 keeps no queue of them


def hashed(
    root: Path, paths: list[str], workers: int, advance: Callable[[], None], policy: DicomPolicy = DEFAULT
) -> tuple[np.ndarray, dict[int, str]]:
    """Hashes of films, films x 256 bits, and why for those that can't be read (their rows have only False).

    Args:
        paths: of the films, below it.
        workers: threads; Pillow and the codecs decode outside Python's lock.
        advance: called once a film, for a progress bar.
        policy: which DICOM films are admitted.
    """
    kept, file = _kept(root), root / HASHES
    bits, problems = np.zeros((len(paths), BITS), dtype=bool), {}
    fresh = not file.is_file() or not kept
    with file.open("w" if fresh else "a", encoding="utf-8", newline="") as opened, ThreadPoolExecutor(workers) as pool:
        out = csv.writer(opened)
        if fresh:
            out.writerow(COLUMNS)
        elif not _ends_in_a_line(file):
            opened.write("\n")  # so that the next film is not on the line that a killed run began
        for start in range(0, len(paths), _TOGETHER):
            part = [(path, _stamp(root / path)) for path in paths[start : start + _TOGETHER]]
            missing = [name for name in part if name not in kept]
            failed = {}
            results = pool.map(lambda name: _hash(root / name[0], policy), missing)
            for name, (code, problem) in zip(missing, results, strict=True):
                if problem:
                    failed[name] = problem
                else:
                    kept[name] = code
                    out.writerow((*name, code))
            opened.flush()
            for i, name in enumerate(part, start=start):
                if name in failed:
                    problems[i] = failed[name]
                else:
                    bits[i] = _bits(kept[name])
                advance()
    return bits, problems


def kept_hashes(root: Path, paths: list[str]) -> np.ndarray:
    """Hashes that an earlier run left for these films, films x 256 bits; rows of only False for films that it did not see."""
    kept, bits = _kept(root), np.zeros((len(paths), BITS), dtype=bool)
    for i, path in enumerate(paths) if kept else ():
        code = kept.get((path, _stamp(root / path)))
        if code is not None:
            bits[i] = _bits(code)
    return bits


def copies_across_patients(table: pd.DataFrame, bits: np.ndarray) -> pd.DataFrame:
    """Pairs of films of different patients that are near-copies by their bits from `hashed`, nearest first.

    Returns:
        Columns bits (that differ), line_1, line_2 (of metadata.csv), and path, dataset, source, label and patient_id of
        both, with _1 and _2.
    """
    pairs = near_duplicates(bits)
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    patient = table["patient_id"].to_numpy()
    across = patient[first] != patient[second]
    first, second = first[across], second[across]
    copies = pd.DataFrame({"bits": pairs["bits"].to_numpy()[across], "line_1": first + 2, "line_2": second + 2})
    for name in ("path", "dataset", "source", "label", "patient_id"):
        values = table[name].to_numpy()
        copies[f"{name}_1"], copies[f"{name}_2"] = values[first], values[second]
    return copies


def _kept(root: Path) -> dict[tuple[str, str], str]:
    """The hashes of earlier runs; a damaged or foreign file is begun anew."""
    try:
        table = read_csv(root / HASHES)
    except (CohortError, OSError):
        return {}
    if tuple(table.columns) != COLUMNS:
        return {}
    rows = table.itertuples(index=False, name=None)
    return {(path, stamp): code for path, stamp, code in rows if _CODE.fullmatch(code)}


def _ends_in_a_line(file: Path) -> bool:
    with file.open("rb") as opened:
        opened.seek(-1, os.SEEK_END)
        return opened.read() == b"\n"


def _bits(code: str) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bytes.fromhex(code), np.uint8)).astype(bool)


def _stamp(file: Path) -> str:
    try:
        status = file.stat()
    except OSError:  # gone: read_radiograph says so
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _hash(file: Path, policy: DicomPolicy) -> tuple[str, str]:
    """The hash in hexadecimal digits, or why there is none."""
    try:
        return np.packbits(film_hash(read_radiograph(file, policy=policy))).tobytes().hex(), ""
    except RadiographError as error:
        return "", f"can't be read: {error.reason}"
