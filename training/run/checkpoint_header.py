"""The header of a checkpoint and the arrays of other safetensors files of a run, read without torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

FORMAT = "end-cxr"
FORMAT_VERSION = 1
NAME = "model.safetensors"
RESUME_PATTERN = "resume-*.pt"  # of an unfinished training; `training.loop.resume`


class CheckpointError(ValueError):
    """A file that is not a checkpoint of this package, or not a whole one; the message says what it is."""


def checkpoint_file(path: Path) -> Path:
    """The checkpoint of a run folder, or the file itself; raises CheckpointError where there is none."""
    file = path / NAME if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(f"{file} does not exist; give a run folder that holds {NAME}")
    return file


def read_header(path: Path) -> dict[str, Any]:
    """The header of a checkpoint file or run folder: `training.run.checkpoint.Checkpoint` without weights, as plain values.

    Raises:
        CheckpointError: not there, not safetensors, cut short, another format or version, or no header.
    """
    file = checkpoint_file(path)
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is not a safetensors file ({error}); other formats are never loaded") from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{file} was not written by this package (format {metadata.get('format')!r}, expected {FORMAT!r})"
        )
    if metadata.get("version") != str(FORMAT_VERSION):
        raise CheckpointError(
            f"{file} has format version {metadata.get('version')}; this package reads version {FORMAT_VERSION}"
        )
    try:
        header = json.loads(metadata["header"])
    except KeyError:
        raise CheckpointError(f"{file} has a broken header: entry 'header' is missing") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} has a broken header: {error}") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{file} has a broken header: {type(header).__name__} in place of an object")
    return header


def read_arrays(file: Path, kind: str, version: int) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The metadata and the arrays of a safetensors file that a run keeps beside its checkpoint.

    Args:
        kind: `format` that its metadata must have.

    Raises:
        CheckpointError: not safetensors, cut short, another format or version.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: numbers that NumPy doesn't know
        raise CheckpointError(f"{file} is not a safetensors file ({error}); other formats are never loaded") from None
    written = metadata.get("format"), metadata.get("version")
    if written != (kind, str(version)):
        raise CheckpointError(
            f"{file} has format {written[0]!r}, version {written[1]}; this package reads {kind!r}, {version}"
        )
    return metadata, arrays


def state_files(folder: Path) -> list[Path]:
    """The states that a run folder holds, the earliest step first."""
    return sorted(folder.glob(RESUME_PATTERN))
