"""How far a training is that has not finished, from its run folder alone; read without torch."""

import time
from pathlib import Path
from typing import NamedTuple

import yaml

from training.run.checkpoint_header import state_files

# A training saves its state after each epoch and every `--save-minutes`; between the two it may measure films for long.
PATIENCE = 30.0  # minutes without a saved state
SAVES = 3  # times `--save-minutes`
LONGEST = 1 << 16  # bytes of a config.yaml that is read


class UnderWay(NamedTuple):
    """A training with states to resume from and without a checkpoint.

    Attributes:
        done: epochs that are finished and measured.
        epochs: of the whole training; None where its config.yaml can't be read.
        minutes: since its last state was saved.
        live: whether it saved a state so lately that it must be thought to run.
    """

    done: int
    epochs: int | None
    minutes: float
    live: bool

    def __str__(self) -> str:
        """`training, epoch 2 of 5`, or that it stopped and how it goes on."""
        of = f" of {self.epochs}" if self.epochs else ""
        if not self.live:
            return f"its training stopped in epoch {self.done + 1}{of}: --resume continues it"
        if self.epochs is not None and self.done >= self.epochs:
            return f"training, measured after epoch {self.done}{of}"
        return f"training, epoch {self.done + 1}{of}"


def under_way(folder: Path) -> UnderWay | None:
    """How far the training of a run folder is; None where it has nothing to resume from."""
    states = state_files(folder)
    if not states:
        return None
    record, settings = folder / "metrics.jsonl", _settings(folder / "config.yaml")
    done = record.read_bytes().count(b"\n") if record.is_file() else 0
    minutes = (time.time() - max(file.stat().st_mtime for file in [*states, record] if file.is_file())) / 60
    epochs, save = (settings.get(name) for name in ("epochs", "save_minutes"))
    patience = max(PATIENCE, SAVES * save) if isinstance(save, int | float) else PATIENCE
    return UnderWay(done, epochs if isinstance(epochs, int) else None, minutes, minutes < patience)


def _settings(file: Path) -> dict:
    """What a config.yaml says; nothing where it can't be read."""
    try:
        if file.stat().st_size > LONGEST:
            return {}
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return settings if isinstance(settings, dict) else {}
