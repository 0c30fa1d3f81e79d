"""The saved state that resumes an interrupted training: `resume-<step>.pt` in its run folder; tensors, numbers, text.

The order of films, their augmentation and their mixing are functions of (seed, epoch, position), so counters stand for
them, and worker processes have nothing to keep. What is kept: parameters and buffers of the classifier and the method, the
optimiser, the scheduler, the loss scale, the moving average, torch's generators of every process, the sums of the running
epoch, the films that could not be read, and the weights of the best epoch so far. On one machine's CPU a resumed training
therefore gives bit-identical weights, wherever it was interrupted.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.cohort.films import Cohort
from datasets.files import ASIDE, write_aside, write_text
from training.loop.assembly import Assembly
from training.loop.divergence import Totals
from training.loop.selection import Best
from training.parallel.ranks import barrier, gather, gather_rows, is_first, rank, ranks
from training.run.checkpoint_header import RESUME_PATTERN, CheckpointError, state_files

VERSION = 2


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        epoch: epochs that are finished and measured.
        step: steps of the running epoch that are done.
        totals: sums of the running epoch's terms.
        pairs: of the running epoch, those that R_perp and R_par saw, attributes x 2.
        stand_ins: reason by row of the cohort's table, of training films that others replaced.
        unmeasured: reason by position, of films that could not be decoded when they were to be measured; not saved.
    """

    epoch: int = 0
    step: int = 0
    totals: Totals = field(default_factory=Totals)
    pairs: np.ndarray = field(default_factory=lambda: np.zeros((1, 2), dtype=np.int64))
    stand_ins: dict[int, str] = field(default_factory=dict)
    unmeasured: dict[int, str] = field(default_factory=dict)
    best: Best = field(default_factory=lambda: Best(float("-inf"), 0, {}))

    def next_epoch(self) -> None:
        """The running epoch is measured."""
        self.epoch, self.step, self.totals, self.pairs = self.epoch + 1, 0, Totals(), np.zeros_like(self.pairs)


def state_name(training: Assembly, progress: Progress) -> str:
    """Of the file that holds this state; states are ordered by name."""
    return RESUME_PATTERN.replace("*", f"{progress.epoch * training.steps + progress.step:09d}")


def save_progress(training: Assembly, progress: Progress, folder: Path, keep: int) -> None:
    """Write the state aside, flush it to disk and move it in place; every process must call this, the first one writes.

    All leave when it is there, for torchrun ends the others once one process has ended; and with one list of the films that
    any of them could not read. Where it can't be written, the states before it stay as they are.

    Args:
        keep: states that stay, this one among them; older ones are deleted once it is in place.
    """
    cuda = training.device.type == "cuda"
    generators = {"cpu": gather(torch.get_rng_state())}
    if cuda:
        generators["cuda"] = gather(torch.cuda.get_rng_state(training.device))
    for row in gather_rows(np.array(list(progress.stand_ins), dtype=np.int64)).tolist():
        progress.stand_ins.setdefault(row, "another process could not decode it")
    if is_first():
        _write(training, progress, folder, keep, generators)
    barrier()


def _write(training: Assembly, progress: Progress, folder: Path, keep: int, generators: dict[str, Tensor]) -> None:
    state = {
        "version": VERSION,
        "films": digest(training.cohort),
        "epoch": progress.epoch,
        "step": progress.step,
        "joint": training.joint.state_dict(),
        "optimiser": training.optimiser.state_dict(),
        "scheduler": None if training.scheduler is None else training.scheduler.state_dict(),
        "scaler": training.scaler.state_dict(),
        "average": None if training.average is None else training.average.module.state_dict(),
        "generators": generators,
        "totals": progress.totals.state(),
        "pairs": progress.pairs.tolist(),
        "unreadable": progress.stand_ins,
        "best": tuple(progress.best),
    }
    write_aside(folder / state_name(training, progress), lambda file: torch.save(state, file))
    for old in state_files(folder)[: -max(keep, 1)]:
        old.unlink()


def restore(training: Assembly, place: Path) -> Progress:
    """Bring a fresh assembly to the newest state of a run folder that can be read whole, or to that of one file.

    A state of other films, of another version of this package, or that was tampered with raises CheckpointError.
    """
    state, file = load_state(place)
    if state.get("version") != VERSION:
        raise CheckpointError(f"{file} was written by another version of this package: resume it with that one")
    if state.get("films") != digest(training.cohort):
        raise CheckpointError(f"{file}: the films or their splits have changed since this run began; train anew")
    try:
        training.joint.load_state_dict(state["joint"])
        training.optimiser.load_state_dict(state["optimiser"])
        training.scaler.load_state_dict(state["scaler"])
        if training.scheduler is not None:
            training.scheduler.load_state_dict(state["scheduler"])
        if training.average is not None:
            training.average.module.load_state_dict(state["average"])
        set_generators(training.device, state["generators"])
        totals, pairs = Totals(state["totals"]), np.array(state["pairs"], dtype=np.int64).reshape(-1, 2)
        unreadable, best = dict(state["unreadable"]), Best(*state["best"])
        return Progress(state["epoch"], state["step"], totals, pairs, unreadable, best=best)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        detail = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(f"{file} does not fit the settings of its run: {detail}") from None


def load_state(place: Path) -> tuple[dict[str, Any], Path]:
    """Read a state, and say from which file; objects are refused (`weights_only`).

    Args:
        place: run folder, of whose states the newest whole one is taken, or one `resume-*.pt`.
    """
    files = [place] if place.is_file() else state_files(place)[::-1]
    if not files:
        why = "its training is finished" if (place / "report.json").is_file() else "nothing to resume"
        raise CheckpointError(f"{place} holds no {RESUME_PATTERN}: {why}")
    for file in files:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            refusal = CheckpointError(f"{file} can't be read without executing it ({type(error).__name__})")
            continue
        if isinstance(state, dict):
            return state, file
        refusal = CheckpointError(f"{file} holds no state of a training")
    raise refusal from None


def set_generators(device: torch.device, states: dict[str, Tensor]) -> None:
    """Give torch's main generators, of this process, what they had; with another number of processes they stay fresh."""
    if len(states["cpu"]) != ranks():
        return
    # Cloned: torch reads a view from the start of its memory, which is another rank's state.
    torch.set_rng_state(states["cpu"][rank()].clone())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"][rank()].clone(), device)


def digest(cohort: Cohort) -> str:
    """A hash of the films, their splits and labels."""
    films = cohort.table[["row", "split", "target", "bias"]]
    if cohort.info.named:
        films = films.assign(**{f"bias {a.name}": cohort.codes(a) for a in cohort.info.named})
    return hashlib.sha256(films.to_csv(index=False).encode()).hexdigest()


def tidy(folder: Path, training: Assembly, progress: Progress) -> None:
    """Undo what came after a state, or was cut short: later states, half-written files, later lines of metrics.jsonl.

    A later state would be taken for the newest, and what is saved from here on for older ones, which go.
    """
    if not is_first():
        return
    later = [file for file in state_files(folder) if file.name > state_name(training, progress)]
    for leftover in (*later, *folder.glob(f".*{ASIDE}"), folder / "diverged.json"):
        leftover.unlink(missing_ok=True)
    epochs, file = progress.epoch, folder / "metrics.jsonl"
    if file.is_file():
        kept = []
        for line in file.read_text(encoding="utf-8").splitlines()[:epochs]:
            try:
                kept.append(json.dumps(json.loads(line)) + "\n")
            except ValueError:
                break
        write_text(file, "".join(kept))
