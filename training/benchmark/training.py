"""How fast training is, against timm's own: `python -m training.benchmark train`.

The peer is written after the recipe of timm's train script (github.com/huggingface/pytorch-image-models, train.py): its image
folder, its loader with default augmentation, worker processes and prefetcher, its model with cross-entropy, its optimiser and
scheduler, and a log line every 50 steps; evaluation and checkpoints are left out on both sides. Both sides have the same
films, backbone, size, batch, optimiser and memory layout, and their own augmentation.

Ours is the loop itself (`training.train.run_epoch`). It decodes every film once, before the first epoch, and keeps it; timm
decodes at each epoch. So there is a third row, which decodes at each epoch too, in as many processes.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter
from torch import nn
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile, record_function

from datasets.cohort.films import Cohort
from datasets.film.preprocessing import Preprocessing
from datasets.phantom.cohort import load_phantom
from datasets.sample import Split
from training.benchmark.timing import in_turn
from training.console.interruption import Interruption
from training.loop.assembly import Assembly, assemble
from training.loop.fit import run_epoch
from training.loop.resume import Progress
from training.loop.saver import Saver
from training.run.config import TrainConfig, configure
from training.run.films import cohort_of, preprocessing_of
from training.run.report import machine

SIDE = 512  # px, of the phantom films
AT_LEAST = {"timm": 1.0, "erm": 0.98}  # EnD's speed over theirs
PROFILED = 3  # steps
SHOWN = 12  # operations of the profile


def train(
    data_dir: Path | None, films: int, model: str, img_size: int, batch_size: int, repeats: int, workers: int
) -> None:
    """Print films a second of each side, taken in turn, and the ratios; then where the time of a step goes.

    Phantom films as PNG files stand in for a `data_dir`; medians of `repeats` epochs, after one to warm up, count.
    """
    console = Console()
    with tempfile.TemporaryDirectory() as place:
        folder = data_dir or phantom_folder(Path(place) / "films", films)
        config = configure(
            {"dataset": "covid", "data_dir": folder, "model": model, "img_size": img_size, "batch_size": batch_size}
            | {"accept_unidentifiable": True, "output": Path(place), "save_minutes": 1000.0}
        )
        started = time.perf_counter()
        kept = cohort_of(config, preprocessing_of(config)).cached("memory")
        decoding = time.perf_counter() - started
        count = len(kept.positions(Split.TRAIN))
        undecoded = kept.cached("none")
        epochs: dict[str, Callable[[], object]] = {
            "timm": timm_epoch(image_folder(folder, kept.table, Path(place) / "timm"), config, workers),
            "erm": our_epoch(config.with_settings(method="erm"), kept),
            "end": our_epoch(config, kept),
            "end, decoding": our_epoch(config.with_settings(workers=workers), undecoded),
        }
        times = in_turn(epochs, repeats)
        each = count // batch_size * batch_size
        console.print(f"{model}, {img_size} px, batch {batch_size}, {each} films an epoch; {machine()}")
        console.print(f"median of {repeats} epochs of each, in turn")
        table = Table("", "films/s", "end over it: median, range", header_style="bold")
        for name, seconds in times.items():
            against = "" if name == "end" else _ratio_and_range(seconds, times["end"])
            table.add_row(name, f"{each / statistics.median(seconds):.1f}", against)
        console.print(table)
        both = _ratio_and_range(times["timm"], times["end, decoding"])
        console.print(f"films decoded at each epoch in {workers} processes by both: {both} x timm")
        console.print(f"decoding {len(kept.table)} films once, before the first epoch: {decoding:.1f} s")
        for name, least in AT_LEAST.items():
            ratio = statistics.median(_ratios(times[name], times["end"]))
            verdict = "reached" if ratio >= least else "not reached"
            console.print(f"end against {name}: {ratio:.3f}, aim {least}: {verdict}")
        show_profile(console, config, kept)


def _ratios(theirs: list[float], ours: list[float]) -> list[float]:
    """How many times as fast ours is, by round."""
    return [a / b for a, b in zip(theirs, ours, strict=True)]


def _ratio_and_range(theirs: list[float], ours: list[float]) -> str:
    ratios = _ratios(theirs, ours)
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def phantom_folder(folder: Path, films: int) -> Path:
    """Phantom films as PNG files of 512 px with a metadata.csv."""
    cohort = load_phantom(Preprocessing(SIDE), rho=0.8, films=films, seed=0)
    table = cohort.table[cohort.table["split"].isin(["train", "validation"])].copy()
    folder.mkdir(parents=True)
    assert cohort.films is not None
    for position in table.index:
        pixels = (cohort.films.read(position).pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(folder / f"{position}.png")
    table["path"] = [f"{position}.png" for position in table.index]
    table["patient_id"] = table["patient"]
    table[["path", "label", "source", "patient_id", "split"]].to_csv(folder / "metadata.csv", index=False)
    return folder


def image_folder(films: Path, table: pd.DataFrame, place: Path) -> Path:
    """The training films as links in a folder a class, which is what timm reads."""
    for path, label in table.loc[table["split"] == str(Split.TRAIN), ["path", "target_name"]].itertuples(index=False):
        folder = place / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.replace("/", "_")).symlink_to((films / path).resolve())
    return place


def timm_epoch(folder: Path, config: TrainConfig, workers: int) -> Callable[[], None]:
    """An epoch of timm's recipe; its folder may hold films that ours left out."""
    dataset = create_dataset("", root=str(folder), is_training=True)
    size, cpu = (config.in_chans, config.img_size, config.img_size), torch.device("cpu")
    loader = create_loader(dataset, size, config.batch_size, is_training=True, num_workers=workers, device=cpu)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    classes = len(list(folder.iterdir()))
    model = timm.create_model(config.model, num_classes=classes, in_chans=config.in_chans).to(memory_format=layout)
    optimiser = create_optimizer_v2(model, opt=config.opt, lr=config.lr, weight_decay=config.weight_decay)
    scheduler, _ = create_scheduler_v2(optimiser, sched=config.sched, num_epochs=100, updates_per_epoch=len(loader))
    loss_of = nn.CrossEntropyLoss()

    def epoch() -> None:
        model.train()
        losses = AverageMeter()
        for step, (image, target) in enumerate(loader):
            loss = loss_of(model(image.contiguous(memory_format=layout)), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step % 50 == 0:
                losses.update(loss.item(), len(image))
            scheduler.step_update(step, metric=losses.avg)

    return epoch


def our_epoch(config: TrainConfig, cohort: Cohort) -> Callable[[], None]:
    """An epoch of `training.train`, without what comes between epochs."""
    training, progress = assemble(config.with_settings(epochs=1000), cohort), Progress()

    def epoch() -> None:
        _run(training, progress)
        progress.next_epoch()

    return epoch


def _run(training: Assembly, progress: Progress) -> None:
    saver = Saver(training, progress, training.config.output, "")
    run_epoch(training, progress, saver, Interruption(), lambda step, note: None)


def show_profile(console: Console, config: TrainConfig, cohort: Cohort) -> None:
    """Print where the time of a step with EnD goes: its parts, then the operations that take most themselves."""
    training, progress = assemble(config, cohort), Progress()
    for name, module in (("forward", training.joint.classifier), ("terms", training.joint.method)):
        mark(module, name)
    _run(training, progress)
    progress.next_epoch()
    steps = min(PROFILED, training.steps)
    progress.step = training.steps - steps
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # a machine without a GPU is no error
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        _run(training, progress)
    events = profiler.key_averages()
    whole = sum(event.self_cpu_time_total for event in events)

    def row(table: Table, name: str, spent: float) -> None:
        table.add_row(name, f"{spent / steps / 1000:.2f}", f"{spent / whole:.1%}")

    parts = Table("part of a step with end", "ms", "share", header_style="bold")
    times = {
        "films: augment, normalise, collate": total(events, "enumerate(DataLoader)"),
        "classifier, forward": total(events, "forward"),
        "cross-entropy, R_perp, R_par": total(events, "terms"),
        "optimiser": total(events, "Optimizer.step"),
    }
    times |= {"backward, and the rest": whole - sum(times.values()), "all": whole}
    for name, spent in times.items():
        row(parts, name, spent)
    console.print(parts)
    operations = Table("operation, itself", "ms", "share", header_style="bold")
    for event in sorted(events, key=lambda event: -event.self_cpu_time_total)[:SHOWN]:
        row(operations, event.key, event.self_cpu_time_total)
    console.print(operations)


def mark(module: nn.Module, name: str) -> None:
    """Let the profiler know a module's forward passes by name."""
    spans: list[record_function] = []
    module.register_forward_pre_hook(lambda *_: spans.append(record_function(name).__enter__()))
    module.register_forward_hook(lambda *_: spans.pop().__exit__(None, None, None))


def total(events: EventList, name: str) -> float:
    """Microseconds of all events whose name begins so, with what they call."""
    return float(sum(event.cpu_time_total for event in events if event.key.startswith(name)))
