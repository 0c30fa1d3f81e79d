"""The features of a probe set as a run folder holds them, read without torch; `training.probe_set` makes them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from training.checkpoint_header import CheckpointError

NAME = "probe_set.safetensors"
FORMAT, FORMAT_VERSION = "end-cxr-probe-set", 1


@dataclass(frozen=True, eq=False)
class ProbeSet:
    """Features of a fixed set of films, by epoch.

    Attributes:
        rows: of the films in the cohort's table, int64.
        features: films x width, float16, by the number of epochs trained (0 is before the first).
    """

    rows: np.ndarray
    features: dict[int, np.ndarray] = field(default_factory=dict)


def load_probe_set(run: Path) -> ProbeSet | None:
    """Read it from a run folder; None where the run has none.

    Raises:
        CheckpointError: a file that is not safetensors, another format or version, arrays that don't belong together.
    """
    file = run / NAME
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
    except (SafetensorError, OSError, TypeError) as error:
        raise CheckpointError(f"{file} is not a safetensors file ({error}); other formats are never loaded") from None
    if (metadata.get("format"), metadata.get("version")) != (FORMAT, str(FORMAT_VERSION)):
        raise CheckpointError(f"{file} is no probe set of this version of the package")
    rows = arrays.pop("rows", np.empty(0))
    features = {int(name.removeprefix("epoch ")): values for name, values in arrays.items() if name[6:].isdigit()}
    if rows.ndim != 1 or any(values.ndim != 2 or len(values) != len(rows) for values in features.values()):
        raise CheckpointError(f"{file} is broken: its features are not of its films")
    return ProbeSet(rows, dict(sorted(features.items())))
