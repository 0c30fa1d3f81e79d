"""Features of the same few films at several moments of a training: how a method entangles and disentangles them.

The films are drawn from the run's test and external films, which nothing is chosen by; the features are for looking at.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import save_file

from datasets.cohort.films import Cohort
from datasets.files import write_aside
from datasets.sample import Split
from models.classifier import Classifier
from training.parallel.ranks import is_first
from training.run.config import TrainConfig
from training.run.probe_file import FORMAT, FORMAT_VERSION, NAME, ProbeSet, load_probe_set
from training.scoring.predict import infer

FILMS = 400
MOMENTS = 8


def watch(
    model: Classifier,
    cohort: Cohort,
    config: TrainConfig,
    folder: Path,
    device: torch.device,
    epoch: int,
    unreadable: dict[int, str] | None = None,
) -> None:
    """Keep the features of the probe set after so many epochs, at the moments that `is_moment` names.

    Args:
        model: as trained so far; left as it is.
        cohort: its films; no file is written where none is in test or external.
        config: of the run.
        folder: of the run.
        device: of the model.
        epoch: number of epochs trained.
        unreadable: see `infer`; such films are left out of the set, at the moments before too.
    """
    positions = probe_positions(cohort.table, config.split_seed)
    if not is_moment(epoch, config.epochs) or not len(positions):
        return
    rows = cohort.table["row"].to_numpy(np.int64)[positions]
    lost = {} if unreadable is None else unreadable
    layout = config.channels_last
    features, _ = infer(model, cohort.samples(), positions, device, channels_last=layout, unreadable=unreadable)
    if not is_first():
        return
    rows = rows[[position not in lost for position in positions]]
    before = (load_probe_set(folder) if epoch else None) or ProbeSet(rows)
    kept, still = np.isin(before.rows, rows), np.isin(rows, before.rows)
    earlier = {moment: values[kept] for moment, values in before.features.items() if moment < epoch}
    save_probe_set(ProbeSet(rows[still], earlier | {epoch: features.astype(np.float16)[still]}), folder)


def probe_positions(table: pd.DataFrame, seed: int) -> np.ndarray:
    """Positions of the films to watch: at most `FILMS`, drawn evenly over target x source cells.

    Args:
        table: of the cohort: columns split, target, bias.
        seed: of the draw; the split's, so that runs that share films share these.
    """
    held = np.flatnonzero(table["split"].isin([str(Split.TEST), str(Split.EXTERNAL)]))
    shuffled = np.random.default_rng(seed).permutation(held)
    films = table.iloc[shuffled]
    turn = films.groupby(["target", "bias"]).cumcount().to_numpy()  # the first of each cell, then the second, ...
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:FILMS]])


def is_moment(epoch: int, epochs: int) -> bool:
    """Whether features are kept after so many of all epochs: before the first, after the last, evenly between."""
    return epoch in {round(step * epochs / MOMENTS) for step in range(MOMENTS + 1)}


def save_probe_set(probe: ProbeSet, run: Path) -> None:
    """Write `probe_set.safetensors` into the run folder, whole or not at all."""
    arrays = {"rows": probe.rows} | {f"epoch {epoch}": values for epoch, values in probe.features.items()}
    metadata = {"format": FORMAT, "version": str(FORMAT_VERSION), "header": json.dumps({"films": len(probe.rows)})}
    write_aside(run / NAME, lambda file: save_file(arrays, file, metadata=metadata))
