"""Features of the same few films at several moments of a training: how a method entangles and disentangles them.

The films are drawn from the run's test and external films, which nothing is chosen by; the features are for looking at.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from datasets.sample import Split
from training.loop.assembly import Assembly
from training.loop.measure import infer_films
from training.loop.resume import Progress
from training.parallel.ranks import is_first
from training.run.checkpoint_header import write_arrays
from training.run.probe_file import FORMAT, FORMAT_VERSION, NAME, ProbeSet, load_probe_set

FILMS = 400
MOMENTS = 8


def watch(training: Assembly, progress: Progress, folder: Path, epoch: int) -> None:
    """Write the features of the probe set after so many epochs, at the moments that `is_moment` names.

    Nothing is written where no film is in test or external. Films that can't be decoded leave the set, at earlier moments
    too.
    """
    cohort, config = training.cohort, training.config
    positions = probe_positions(cohort.table, config.split_seed)
    if not is_moment(epoch, config.epochs) or not len(positions):
        return
    inference = infer_films(training, progress, positions)
    if not is_first():
        return
    rows = cohort.table["row"].to_numpy(np.int64)[inference.positions]
    before = (load_probe_set(folder) if epoch else None) or ProbeSet(rows)
    kept, still = np.isin(before.rows, rows), np.isin(rows, before.rows)
    earlier = {moment: values[kept] for moment, values in before.features.items() if moment < epoch}
    save_probe_set(ProbeSet(rows[still], earlier | {epoch: inference.features.astype(np.float16)[still]}), folder)


def probe_positions(table: pd.DataFrame, seed: int) -> np.ndarray:
    """Positions of the films to watch: at most `FILMS`, drawn evenly over target x source cells.

    Args:
        table: of the cohort: columns split, target, bias.
        seed: of the draw; the split's, so that runs that share films share these.
    """
    candidates = np.flatnonzero(table["split"].isin([str(Split.TEST), str(Split.EXTERNAL)]))
    shuffled = np.random.default_rng(seed).permutation(candidates)
    films = table.iloc[shuffled]
    turn = films.groupby(["target", "bias"]).cumcount().to_numpy()  # the first of each cell, then the second, ...
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:FILMS]])


def is_moment(epoch: int, epochs: int) -> bool:
    """Whether features are kept after so many of all epochs: before the first, after the last, evenly between."""
    return epoch in {round(step * epochs / MOMENTS) for step in range(MOMENTS + 1)}


def save_probe_set(probe: ProbeSet, run: Path) -> None:
    """Write `probe_set.safetensors` into the run folder, whole or not at all."""
    arrays = {"rows": probe.rows} | {f"epoch {epoch}": values for epoch, values in probe.features.items()}
    write_arrays(run / NAME, arrays, FORMAT, FORMAT_VERSION, films=len(probe.rows))
