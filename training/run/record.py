"""A record of runs: one JSON line for every finished run, written at once, never twice."""

import json
import math
import os
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any

from training.console.messages import ERRORS
from training.run.config import TrainConfig, public_settings


def read_lines(path: Path, key_of: Callable[[dict[str, Any]], Hashable]) -> list[dict[str, Any]]:
    """The finished runs; none where the file is not there. A last line that a kill cut short is told and left out.

    Args:
        key_of: what tells a run from any other; raises KeyError, TypeError or ValueError for a line that is of no such run,
            or not whole.

    Raises:
        ValueError: the file is a folder, or holds something else, or a run twice; the message names the line.
    """
    if path.is_dir():
        raise ValueError(f"--record {path}: this is a folder; name a file in it")
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except UnicodeDecodeError:
        raise ValueError(f"--record {path} is no text in UTF-8; give another --record") from None
    records, line_of = list[dict[str, Any]](), dict[Hashable, int]()
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError):
            if number == len(lines) and line.startswith("{") and not line.endswith("\n"):
                said = f"{path}, line {number}: this line is cut short; its run is left out until the command trains it again"
                ERRORS.print(said, style="yellow", highlight=False, markup=False, soft_wrap=True)
                break
            record = None
        try:
            first = line_of.setdefault(key_of(record), number)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f"{path}, line {number}: no record of the benchmark, or not whole: give another --record"
            ) from None
        if first != number:
            raise ValueError(f"{path}, line {number}: the run of line {first} again; leave one of the two out")
        records.append(record)
    return records


def require_films(films: dict[str, Any], digits: Iterable[str], numbers: Iterable[str]) -> None:
    """Raise KeyError, TypeError or ValueError where entries of a line don't have one value a film.

    Args:
        digits: names of entries that are a text with a digit a film.
        numbers: names of entries that are a list with a number a film.
    """
    texts, lists = [films[name] for name in digits], [films[name] for name in numbers]
    if len({len(values) for values in texts + lists}) != 1:
        raise ValueError("entries for different numbers of films")
    if not all(isinstance(text, str) and text.isdecimal() for text in texts):
        raise ValueError("no digit for each film")
    if not all(math.isfinite(value) for values in lists for value in values):
        raise ValueError("no number for each film")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Add a line, in the place of one that was cut short; only one process writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, allow_nan=False) + "\n")


def settings_in_line(config: TrainConfig, *without: str) -> dict[str, Any]:
    """The settings that a line has, without those that name a place; of the weights to start from the name of their file."""
    from training.bias.report.plain import plain  # brings pandas, which --help does without

    settings: dict[str, Any] = plain(public_settings(config, *without))
    return settings | {"weights": config.weights.name if config.weights else None}


def require_settings(settings: dict[str, Any], line: dict[str, Any], name: str) -> None:
    """Raise ValueError where a recorded run had other settings; those that only one of them knows don't count.

    Args:
        name: of the run, for the message.
    """
    ran = line["settings"]
    for setting in sorted(settings.keys() & ran.keys()):
        if ran[setting] != settings[setting]:
            raise ValueError(
                f"--record holds {name} with {setting} {ran[setting]}, not {settings[setting]}: give another --record"
            )
