"""The features of a probe set as a run folder holds them, read without torch; `training.loop.probe_set` makes them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.run.checkpoint_header import CheckpointError, read_arrays

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

    A file of another format or version, or of arrays that don't belong together, raises CheckpointError.
    """
    file = run / NAME
    if not file.is_file():
        return None
    _, arrays = read_arrays(file, FORMAT, FORMAT_VERSION)
    rows = arrays.pop("rows", np.empty(0))
    features = {int(name.removeprefix("epoch ")): values for name, values in arrays.items() if name[6:].isdigit()}
    if rows.ndim != 1 or any(values.ndim != 2 or len(values) != len(rows) for values in features.values()):
        raise CheckpointError(f"{file} is broken: its features don't match its films")
    return ProbeSet(rows, dict(sorted(features.items())))
