"""Train one classifier, or a method beside its ERM twin: `python -m training.train --dataset covid --paired`.

Read top to bottom: `main` reads the command line and shows the results, `prepare` loads and checks the films, `train`
is the loop.
"""

import dataclasses
import hashlib
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.config import TrainConfig, as_settings, parse

if __name__ == "__main__":
    CONFIG = parse(sys.argv[1:])  # before the heavy imports, so that --help and mistakes answer at once

import numpy as np
import torch
import yaml
from rich.console import Console
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets.augmentation import Augmentation
from datasets.cohort import Cohort, whole_batch
from datasets.confounding import check_confounding, count_groups, count_pairs
from datasets.identity import hash_key
from datasets.sample import Sample, Split
from datasets.samplers import EpochSampler
from models.classifier import ModelConfig, build_classifier, feature_width, require_model
from training.checkpoint import load_resume, save_resume, write_aside
from training.cohorts import cohort_of, preprocessing_of
from training.divergence import require_finite
from training.measure import LOCAL_SETTINGS, finish, validate
from training.methods import METHODS, Setup, build_method
from training.methods.parameters import ErmParameters
from training.probe_set import watch
from training.progress import describe, progress_bar
from training.recipes import Recipe
from training.report import (
    ERRORS,
    RunResult,
    mistakes_as_sentences,
    result_json,
    show_cohort,
    show_notices,
    show_results,
    write_report,
)
from training.selection import Best, selection_value
from training.trackers import Listener, require_tracker, tracking

LOG_STEPS = 10


class TrainingError(ValueError):
    """Training that can't begin or go on; the message says why and what to change."""


def main(config: TrainConfig, parameters: Any) -> None:
    """Train, print the summary, then `--result` and one JSON object."""
    console = Console()
    with mistakes_as_sentences(f"interrupted; --resume takes the unfinished folder below {config.output}"):
        cohort = prepare(config, console)
        config.output.mkdir(parents=True, exist_ok=True)
        hash_key(config.output, config.hash_key)  # a key that can't be read shows before training, not after
        runs = []
        if config.paired:
            runs.append(train(dataclasses.replace(config, method="erm"), ErmParameters(), cohort))
            write_report(runs, runs[0].folder)
        runs.append(train(config, parameters, cohort))
        write_report(runs, runs[-1].folder)
    show_results(console, runs, cohort.info)
    print("--result")
    print(json.dumps(result_json(runs), allow_nan=False))


def prepare(config: TrainConfig, console: Console) -> Cohort:
    """Load and check the films, say what they allow, and decode them, once model and device are known to exist."""
    require_model(config.model)
    choose_device(config.device)
    require_tracker(config.tracker)
    cohort = cohort_of(config, preprocessing_of(config))
    show_notices(console, cohort)
    cohort = cohort.cached(config.cache, config.output / ".cache")
    films = cohort.table.iloc[cohort.positions(Split.TRAIN)]
    check = check_confounding(films["target_name"], films["source"], config.batch_size, cohort.info.bias_name)
    show_cohort(console, cohort, check)
    if check.verdict == "not identifiable" and not config.accept_unidentifiable:
        raise TrainingError(f"not training: {check.sentence} To train all the same, pass --accept-unidentifiable")
    return cohort


def train(
    config: TrainConfig,
    parameters: Any,
    cohort: Cohort,
    listeners: Sequence[Listener] = (),
    recipe: Recipe | None = None,
) -> RunResult:
    """The loop: returns the finished run, whose folder is complete but for report.json.

    Args:
        config: of one run.
        parameters: of its method.
        cohort: as `prepare` returns it.
        listeners: called with the epoch, from 1, and its line of metrics.jsonl once that is written; what they raise ends
            the training.
        recipe: by which another run led to this one; says how often each training film is seen.
    """
    device, entry = choose_device(config.device), METHODS[config.method]
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    torch.manual_seed(config.seed)
    torch.backends.cudnn.benchmark = True  # every batch has one size: the fastest convolution is worth looking for
    shape = ModelConfig(
        config.model,
        len(cohort.info.targets),
        config.in_chans,
        config.img_size,
        config.unit_norm,
        config.centred,
        config.logit_scale,
    )
    model = build_classifier(shape, config.pretrained, config.weights).to(device).to(memory_format=layout)
    positions = cohort.positions(Split.TRAIN)
    target, bias = (cohort.table[name].to_numpy()[positions] for name in ("target", "bias"))
    repeats = None if recipe is None else recipe.repeats
    sampler = EpochSampler(positions, target, bias, config.batch_size, config.seed, config.sampler, repeats)
    if not config.augment and not config.workers:
        cohort = cohort.on(device)
    loader = DataLoader(
        cohort.samples(Augmentation() if config.augment else None, config.seed),
        batch_sampler=sampler,
        collate_fn=whole_batch,
        num_workers=config.workers,
        pin_memory=device.type == "cuda" and not cohort.on_device,
    )
    steps = len(sampler)
    setup = Setup(
        info=cohort.info,
        counts=count_groups(target, bias, len(cohort.info.targets), len(cohort.info.biases)),
        width=feature_width(model.backbone),
        in_chans=config.in_chans,
        rows=int(cohort.table["row"].max()) + 1,
        steps=config.epochs * steps,
    )
    method = build_method(config.method, parameters, setup).to(device)
    both = nn.ModuleList([model, method])
    optimiser = create_optimizer_v2(both, opt=config.opt, lr=config.lr, weight_decay=config.weight_decay)
    scheduler, _ = create_scheduler_v2(
        optimiser,
        sched=config.sched,
        num_epochs=config.epochs,
        warmup_epochs=min(config.warmup_epochs, config.epochs - 1),
        warmup_lr=config.lr / 100,
        decay_epochs=math.ceil(config.epochs / 4),
        decay_rate=0.1,
        step_on_epochs=False,
        updates_per_epoch=steps,
    )
    scaler = torch.amp.GradScaler(device.type, enabled=config.amp and device.type == "cuda")
    films = cohort.table[["row", "split", "target", "bias"]]
    digest = hashlib.sha256(films.to_csv(index=False).encode()).hexdigest()
    settings = as_settings(dataclasses.replace(config, paired=False), parameters)
    settings |= recipe.settings() if recipe else {}
    first, best = 0, Best(float("-inf"), 0, {})
    if config.resume:
        folder = config.resume
        state = load_resume(folder)
        if state["films"] != digest:
            raise TrainingError(f"{folder}: the films or their splits have changed since this run began; train anew")
        both.load_state_dict(state["modules"])
        optimiser.load_state_dict(state["optimiser"])
        scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["generator"])
        first, best = state["epoch"], Best(*state["best"])
    else:
        name = f"{config.dataset}-{config.method}-{config.model}-s{config.seed}"
        folder = prepare_folder(config.output, f"{recipe.parent}-{recipe.name}" if recipe else name)
        write_aside(folder / "config.yaml", lambda file: file.write_text(yaml.safe_dump(settings), encoding="utf-8"))

    watch(model, cohort, config, folder, device, first)
    both.train()
    told = {name: value for name, value in settings.items() if name not in LOCAL_SETTINGS}
    with tracking(config.tracker, folder, told) as track, progress_bar() as progress:
        task = progress.add_task(config.method, total=config.epochs * steps, completed=first * steps, note="")
        for epoch in range(first, config.epochs):
            sampler.epoch = epoch
            totals: dict[str, Tensor] = {}
            pairs = np.zeros(2, dtype=np.int64)
            started = time.perf_counter()
            for step, batch in enumerate(loader, start=1):
                if scheduler is not None:
                    scheduler.step_update(epoch * steps + step - 1)
                pairs += count_pairs(batch.target.numpy(), batch.bias.numpy())
                batch = Sample(*(value.to(device, non_blocking=True) for value in batch))
                with torch.autocast(device.type, half_precision(device), enabled=config.amp):
                    output = model(batch.image.contiguous(memory_format=layout), entry.detached_head)
                terms = method(output, batch)
                loss = torch.stack(list(terms.values())).sum()
                optimiser.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()
                if config.clip_grad is not None:
                    scaler.unscale_(optimiser)
                    nn.utils.clip_grad_norm_(both.parameters(), config.clip_grad)
                scaler.step(optimiser)
                scaler.update()
                for name, value in terms.items():
                    totals[name] = totals.get(name, torch.zeros_like(value)) + value.detach()
                if step % LOG_STEPS == 0 or step == steps:  # reading the terms waits for the device
                    means = {name: float(value) / step for name, value in totals.items()}
                    require_finite(means, f"by step {step} of epoch {epoch + 1}")
                    rate = step * sampler.batch_size / (time.perf_counter() - started)
                    note = f"epoch {epoch + 1}/{config.epochs} {describe(means, pairs / step, rate)}"
                    progress.update(task, completed=epoch * steps + step, note=note)
            record = {
                "epoch": epoch + 1,
                "lr": optimiser.param_groups[0]["lr"],
                "terms": means,
                "pairs_per_batch": {"disentangling": pairs[0] / steps, "entangling": pairs[1] / steps},
                "films_per_second": rate,
                "validation": validate(model, cohort, device, config.channels_last),
            }
            with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            for listener in (track, *listeners):
                listener(epoch + 1, record)
            if entry.uses_bias and not pairs.all():
                ERRORS.print(
                    f"epoch {epoch + 1}: a term of {config.method} saw no pair of images at all", style="yellow"
                )
            watch(model, cohort, config, folder, device, epoch + 1)
            value = selection_value(config.select, record["validation"], epoch)
            if value >= best.value:
                best = Best(
                    value, epoch + 1, {name: w.detach().cpu().clone() for name, w in model.state_dict().items()}
                )
            state = {
                "epoch": epoch + 1,
                "modules": both.state_dict(),
                "optimiser": optimiser.state_dict(),
                "films": digest,
            }
            state |= {"scaler": scaler.state_dict(), "generator": torch.get_rng_state(), "best": tuple(best)}
            save_resume(state, folder)
        last = validate(model, cohort, device, config.channels_last, Split.TEST)
        model.load_state_dict(best.weights)
        run = finish(model, cohort, config, parameters, folder, device, best.epoch, last, recipe)
        track(config.epochs, {"final": run.metrics})
    return run


def prepare_folder(output: Path, name: str) -> Path:
    """Make the folder of a run below the output folder, with a counter when its name is taken."""
    for number in range(1, 10_000):
        folder = output / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise TrainingError(f"{output} holds 9,999 runs named {name}: choose another --output")


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one; raises TrainingError for a device that isn't there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda") or (name != "cpu" and not torch.cuda.is_available()):
        raise TrainingError(
            f"--device {name}: there is no such device here; auto takes CUDA where there is one, else cpu"
        )
    return torch.device(name)


def half_precision(device: torch.device) -> torch.dtype:
    """What autocast computes in: fp16 on CUDA, bf16 elsewhere."""
    return torch.float16 if device.type == "cuda" else torch.bfloat16


if __name__ == "__main__":
    main(*CONFIG)
