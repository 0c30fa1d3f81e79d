"""The header of a checkpoint and the arrays of other safetensors files of a run, read without torch."""

import hashlib
import json
import reprlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from datasets.files import write_aside
from training.run.header_fields import HeaderError, require_header

FORMAT = "end-cxr"
FORMAT_VERSION = 1
NAME = "model.safetensors"
HEAD = "head.weight"  # of `models.classifier.Classifier`: logits x width
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

    A file that is no safetensors, cut short, of another format or version, without header, or with one that no training
    writes (`training.run.header_fields`) raises CheckpointError.
    """
    file = checkpoint_file(path)
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            logits = opened.get_slice(HEAD).get_shape()[:1] if HEAD in opened.keys() else []  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is not a safetensors file ({error}); other formats are never loaded") from None
    kind, version = metadata.get("format"), metadata.get("version")
    if kind != FORMAT:
        found = reprlib.repr(kind)
        raise CheckpointError(f"{file} was not written by this package (format {found}, expected {FORMAT!r})")
    if version != str(FORMAT_VERSION):
        found = reprlib.repr(version).strip("'")
        raise CheckpointError(f"{file} has format version {found}; this package reads version {FORMAT_VERSION}")
    try:
        header = json.loads(metadata["header"])
    except KeyError:
        raise CheckpointError(f"{file} has a broken header: entry 'header' is missing") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} has a broken header: it is no JSON ({error})") from None
    try:
        require_header(header)
    except HeaderError as error:
        raise CheckpointError(f"{file} has a broken header: {error}") from None
    names = len(header["info"]["targets"])
    if logits and logits != [names]:
        raise CheckpointError(
            f"{file} has a broken header: info.targets has {names} names; it must have {logits[0]}, as {HEAD} has rows"
        )
    return dict(header)


def head_digest(run: Path) -> str:
    """Tells the checkpoint of a run folder from others, by the SHA-256 of its last layer; empty where there is none."""
    try:
        with safe_open(checkpoint_file(run), framework="numpy") as opened:
            return hashlib.sha256(opened.get_tensor(HEAD).tobytes()).hexdigest()[:16]
    except (CheckpointError, SafetensorError, OSError, TypeError):  # TypeError: numbers that NumPy doesn't know
        return ""


def read_arrays(file: Path, kind: str, version: int) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The metadata and the arrays of a safetensors file that a run keeps beside its checkpoint.

    A file that is no safetensors, cut short, or of another format (`kind`) or version raises CheckpointError.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: numbers that NumPy doesn't know
        raise CheckpointError(f"{file} is not a safetensors file ({error}); other formats are never loaded") from None
    written = f"{metadata.get('format')!r}, version {metadata.get('version')}"
    if written != f"{kind!r}, version {version}":
        raise CheckpointError(f"{file} has format {written}; this package reads {kind!r}, {version}")
    return metadata, arrays


def write_arrays(file: Path, arrays: dict[str, np.ndarray], kind: str, version: int, **header: Any) -> None:
    """Write a file that `read_arrays` reads, whole or not at all."""
    metadata = {"format": kind, "version": str(version), "header": json.dumps(header)}
    write_aside(file, lambda place: save_file(arrays, place, metadata=metadata))


def state_files(folder: Path) -> list[Path]:
    """The states that a run folder holds, the earliest step first."""
    return sorted(folder.glob(RESUME_PATTERN))
