"""Which files of a run are shared, copied without local paths, and what a run from elsewhere must be to be accepted.

Never shared: the key of the hashes, unfinished trainings, caches, audits. Files that hold a row a film (predictions, features
of reference and probe films) are shared only on request, though patients and files are keyed hashes in them.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import pyarrow
import yaml
from pyarrow import parquet

from training.cards.model_card import NAME as CARD
from training.cards.model_card import model_card
from training.run.checkpoint import load_checkpoint
from training.run.checkpoint_header import NAME, CheckpointError, read_header
from training.run.config import LOCAL_SETTINGS
from training.run.probe_file import load_probe_set
from training.run.reference import load_reference

README = "README.md"  # the card, where it is shared
MIB = 1 << 20
# Largest sizes, in bytes.
RUN_FILES = {NAME: 8 << 30, "config.yaml": MIB, "metrics.jsonl": 64 * MIB, "report.json": 64 * MIB, README: 4 * MIB}
FILM_FILES = {"predictions.parquet": 2 << 30, "reference.safetensors": 1 << 30, "probe_set.safetensors": 1 << 30}
EXPECTED = RUN_FILES | FILM_FILES
NEEDED = (NAME, "config.yaml", "report.json")


class ShareError(ValueError):
    """A run that can't be shared, or files that aren't a run; the message says which file and why."""


def copy_to_share(run: Path, place: Path, films: bool = False) -> list[str]:
    """Copy the shared files of a finished run into an empty folder, without local paths, and return their names.

    The model card becomes README.md; where the run has none yet, one is written from its checkpoint and report.

    Args:
        films: also the files that hold a row a film.

    Raises:
        ShareError: not finished, or a path of this machine would go along.
    """
    checkpoint = load_checkpoint(run)
    checkpoint.build()  # what no reader could use is not shared
    for name in NEEDED:
        if not (run / name).is_file():
            raise ShareError(f"{run} holds no {name}: only the folder of a finished run can be shared")
    settings = _mapping(run / "config.yaml", yaml.safe_load)
    report = _mapping(run / "report.json", json.loads)
    places = [run.resolve(), run.resolve().parent]
    places += [Path(str(settings[name])) for name in LOCAL_SETTINGS if settings.get(name)]
    local = [path for path in places if path.is_absolute() and path.name]  # not the root: it is part of every path
    try:
        for part in report["runs"]:
            part["folder"] = PurePath(part["folder"]).name
        for name in ("excluded", "stood_in_for"):
            report[name] = [{"reason": row["reason"]} for row in report.get(name, [])]
        given = run / CARD
        card = _text(given) if given.is_file() else model_card(checkpoint, report)
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ShareError(f"{run / 'report.json'} is not what a run writes under this name") from None
    kept = {name: value for name, value in settings.items() if name not in LOCAL_SETTINGS}
    # Paths are removed from the values, not from the text: YAML folds a path with a blank, JSON escapes one with an accent.
    texts = {
        "config.yaml": yaml.safe_dump(_without(kept, local, run / "config.yaml"), allow_unicode=True),
        "report.json": json.dumps(_without(report, local, run / "report.json"), indent=2, allow_nan=False) + "\n",
        README: _without(card, local, given),
    }
    lines = run / "metrics.jsonl"
    if lines.is_file():
        rows = _readable(lines.name, lambda: _lines(lines))
        texts[lines.name] = "".join(json.dumps(_without(row, local, lines)) + "\n" for row in rows)
    for name, text in texts.items():
        (place / name).write_text(text, encoding="utf-8")
    if any(_names_a_place(text, local) for text in _texts(read_header(run))):
        raise ShareError(f"the header of {run / NAME} names a place on this machine; train again to share it")
    whole = [NAME, *(name for name in FILM_FILES if films and (run / name).is_file())]
    for name in whole:
        shutil.copyfile(run / name, place / name)
    return sorted([*texts, *whole])


def refusal(name: str) -> str | None:
    """Why a file of a shared folder is not taken, or None where it is one of a run's."""
    if name in EXPECTED:
        return None
    path = PurePath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        return "its path leaves the folder"
    if path.suffix.lower() in (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib", ".npy", ".py"):
        return "it could run code when it is loaded; weights are read from safetensors alone"
    return "it is no file of a run"


def check_size(name: str, size: int | None) -> None:
    """Raises ShareError for an expected file whose size is unknown or too large."""
    if size is None or not 0 < size <= EXPECTED[name]:
        actual = "of unknown size" if size is None else f"of {size:,} bytes"
        raise ShareError(f"{name} is {actual}: 1 to {EXPECTED[name]:,} are allowed")


def check_arrived(folder: Path) -> None:
    """Raise ShareError unless the folder holds a run as shared, and nothing else; nothing in it is executed."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise ShareError(f"{path.name} is not a plain file")
        reason = refusal(path.name)
        if reason:
            raise ShareError(f"{path.name} is not taken: {reason}")
        check_size(path.name, path.stat().st_size)
    for name in NEEDED:
        if not (folder / name).is_file():
            raise ShareError(f"{name} is missing: that is no finished run")
    checkpoint = _readable(NAME, lambda: load_checkpoint(folder))
    _readable(NAME, checkpoint.build)
    settings = _mapping(folder / "config.yaml", yaml.safe_load)
    named = [name for name in LOCAL_SETTINGS if settings.get(name) is not None]
    if named:
        raise ShareError(
            f"config.yaml sets {named[0]}, a place on a machine: with it, a training would write or read there"
        )
    report = _mapping(folder / "report.json", json.loads)
    try:
        same = report["runs"][-1]["metrics"] == checkpoint.metrics
    except (KeyError, IndexError, TypeError):
        raise ShareError("report.json is no report of a run") from None
    if not same:
        raise ShareError("report.json is of another run than model.safetensors: their metrics differ")
    for name, read in (("metrics.jsonl", _lines), (README, _text), ("predictions.parquet", parquet.read_schema)):
        if (folder / name).is_file():
            _readable(name, partial(read, folder / name))
    _readable("reference.safetensors", lambda: load_reference(folder))
    _readable("probe_set.safetensors", lambda: load_probe_set(folder))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in _text(file).splitlines()]


def _readable(name: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except CheckpointError as error:
        raise ShareError(f"{name}: {error}") from None
    except (ValueError, KeyError, TypeError, OSError, RecursionError, pyarrow.ArrowException) as error:
        raise ShareError(f"{name} can't be read ({type(error).__name__})") from None


def _mapping(file: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        values = parse(_text(file))
    except (ValueError, RecursionError, yaml.YAMLError):
        values = None
    if not isinstance(values, dict):
        raise ShareError(f"{file.name} is not what a run writes under this name")
    return values


def _without(value: Any, local: list[Path], file: Path) -> Any:
    """The value with the last part of each local path in its place, in each of its texts."""
    if isinstance(value, dict):
        return {_without(name, local, file): _without(part, local, file) for name, part in value.items()}
    if isinstance(value, list):
        return [_without(part, local, file) for part in value]
    if not isinstance(value, str):
        return value
    for path in sorted(map(str, local), key=len, reverse=True):
        value = value.replace(path, PurePath(path).name)
    if _names_a_place(value, local):
        raise ShareError(f"{file} names a place on this machine: take it out to share the run")
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, str):
        yield value


def _names_a_place(text: str, local: list[Path]) -> bool:
    """Whether one of these absolute paths or the user's own folder is named."""
    return any(str(path) in text for path in (*local, Path.home()) if path.name)
