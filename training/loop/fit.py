"""Training itself, from top to bottom: `prepare` loads and checks the films, `obtain` looks for a run that is there already,
`train` is the loop.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.console import Console

from datasets.cohort.confounding import check_confounding
from datasets.cohort.films import Cohort, CohortError
from datasets.files import write_text
from datasets.film.identity import hash_key
from datasets.sample import Sample, Split
from models.classifier import require_model
from training.console.interruption import Interruption
from training.console.messages import ERRORS
from training.loop.assembly import Assembly, assemble
from training.loop.divergence import DivergenceError
from training.loop.joint import backward
from training.loop.keeper import Keeper
from training.loop.measure import finish, validate
from training.loop.probe_set import watch
from training.loop.progress import Clock, describe, progress_bar
from training.loop.resume import Progress, digest, restore, tidy
from training.loop.selection import Best, selection_value
from training.loop.tables import show_cohort, show_notices
from training.loop.trackers import Listener, require_tracker, tracking
from training.methods import METHODS
from training.parallel.device import TrainingError, choose_device
from training.parallel.ranks import (
    any_rank,
    first_goes_first,
    is_first,
    mean_over_ranks,
    ranks,
    take_over_buffers,
    told_by_first,
)
from training.run.checkpoint_header import state_files
from training.run.config import LOCAL_SETTINGS, TrainConfig, as_settings
from training.run.existing import find_run, read_result
from training.run.films import cohort_of, preprocessing_of
from training.run.recipe import Recipe
from training.run.report import RunResult, write_report
from training.scoring.predict import infer

SAME_COMMAND = "the same command goes on"
LOG_STEPS = 10
ALL_RANKS = Console(stderr=True)  # for what is known in one process alone, and must be said


def prepare(config: TrainConfig, console: Console) -> Cohort:
    """Load and check the films, say what they allow, and decode them, once model and device are known to exist."""
    require_model(config.model)
    choose_device(config.device)
    require_tracker(config.tracker)
    cohort = cohort_of(config, preprocessing_of(config))
    show_notices(console, cohort)
    with first_goes_first():  # a cache on disk is filled once
        cohort = cohort.cached(config.cache, config.output / ".cache")
    if ranks() > 1 and any_rank(told_by_first(digest(cohort)) != digest(cohort))[0]:
        raise TrainingError(
            "the processes read other films than the first: --data-dir must hold the same for all of them"
        )
    films = cohort.table.iloc[cohort.positions(Split.TRAIN)]
    check = check_confounding(films["target_name"], films["source"], config.batch_size, cohort.info.bias_name)
    show_cohort(console, cohort, check)
    if check.verdict == "not identifiable" and not config.accept_unidentifiable:
        raise TrainingError(f"not training: {check.sentence} To train all the same, pass --accept-unidentifiable")
    return cohort


def obtain(
    config: TrainConfig,
    cohort: Callable[[], Cohort],
    listeners: Sequence[Listener] = (),
    beside: Sequence[RunResult] = (),
) -> RunResult:
    """The finished run of these settings: found in the output folder, gone on with where it was interrupted, or trained.

    Args:
        config: of one run (not of a pair).
        cohort: loads the films; called only when something is to be trained.
        listeners: see `train`.
        beside: an earlier run that its report compares it with.
    """
    finished, begun = find_run(config)
    if finished is not None:
        for state in state_files(finished) if is_first() else ():  # killed after the report, before they were deleted
            state.unlink()
        return read_result(finished / "report.json")
    config.output.mkdir(parents=True, exist_ok=True)
    hash_key(config.output, config.hash_key)
    run = train(dataclasses.replace(config, resume=begun), cohort(), listeners, again=SAME_COMMAND)
    conclude([*beside, run])
    return run


def train(
    config: TrainConfig,
    cohort: Cohort,
    listeners: Sequence[Listener] = (),
    recipe: Recipe | None = None,
    again: str | None = None,
) -> RunResult:
    """The loop: returns the finished run, whose folder is complete but for report.json (`conclude`).

    In a training of several processes all must call it; the result has metrics in the first one alone.

    Args:
        config: of one run; `resume` is the run folder, or one of its states, that it goes on from.
        cohort: as `prepare` returns it.
        listeners: called with the epoch, from 1, and its line of metrics.jsonl once that is written; what they raise ends
            the training.
        recipe: by which another run led to this one; says how often each training film is seen.
        again: how to go on with an interrupted run, in words; None for the flags of this module.

    Raises:
        InterruptedTrainingError: SIGINT or SIGTERM came; the state is saved.
        DivergenceError: a term or an output is not finite.
        UnreadableFilmError: a film can't be decoded and `on_bad_image` is `fail`; the state is saved.
    """
    training = assemble(config, cohort, recipe)
    cohort, device = training.cohort, training.device
    settings = as_settings(dataclasses.replace(config, paired=False, resume=None))
    settings |= recipe.settings() if recipe else {}
    if config.resume:
        folder = config.resume if config.resume.is_dir() else config.resume.parent
        done = restore(training, config.resume)
        tidy(folder, training, done)
    else:
        name = f"{config.dataset}-{config.method}-{config.model}-s{config.seed}"
        folder, done = prepare_folder(config.output, f"{recipe.parent}-{recipe.name}" if recipe else name), Progress()
    if is_first():
        write_text(folder / "config.yaml", yaml.safe_dump(settings))
    flags = f"go on with --resume {folder}, or with the same command and --resume auto"
    keeper = Keeper(training, done, folder, again or flags)
    if not config.resume:
        keeper.save()
    told = {name: value for name, value in settings.items() if name not in LOCAL_SETTINGS}
    with (
        Interruption() as interruption,
        closing(training),
        tracking(config.tracker if is_first() else None, folder, told) as track,
        progress_bar(config.method, config.epochs * training.steps) as show,
    ):
        if done.epoch == done.step == 0:
            with keeper.leaving_when_told(interruption, save=False):
                watch(training.measured, cohort, config, folder, device, 0, keeper.lost)
        while done.epoch < config.epochs:
            try:
                rate = run_epoch(training, done, keeper, interruption, show)
            except RuntimeError as error:
                raise keeper.broke_off(error) from None
            with keeper.leaving_when_told(interruption):
                record, value = measure_epoch(training, done, keeper, rate)
            if value >= done.best.value:
                weights = {
                    name: weight.detach().cpu().clone() for name, weight in training.measured.state_dict().items()
                }
                done.best = Best(value, done.epoch + 1, weights)
            done.next_epoch()
            if is_first():
                with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                    file.flush()
                    os.fsync(file.fileno())  # a state that counts the line is not on disk before it
            for listener in (track, *listeners):
                listener(done.epoch, record)
            keeper.save()
            if any_rank(bool(interruption.asked))[0]:
                raise keeper.stopped(interruption)
        with keeper.leaving_when_told(interruption, save=False):  # what the last epoch left is on disk
            model, layout = training.measured, config.channels_last
            last = validate(model, cohort, device, layout, Split.TEST, keeper.lost)
            model.load_state_dict(done.best.weights)
            inference = infer(
                model,
                cohort.samples(),
                np.arange(len(cohort.table)),
                device,
                channels_last=layout,
                unreadable=keeper.lost,
            )
            if not is_first():
                return RunResult(folder, config.method, config.model, config.seed, cohort.info.synthetic, {})
            cohort = cohort.without(keeper.lost) if keeper.lost else cohort
            run = finish(model, inference, cohort, config, folder, done.best.epoch, last, recipe, done.unreadable)
        track(config.epochs, {"final": run.metrics})
    return run


def run_epoch(
    training: Assembly, done: Progress, keeper: Keeper, interruption: Interruption, show: Callable[[int, str], None]
) -> float:
    """Do the steps of an epoch that are still to do, and count them in `done`; returns films a second."""
    config, steps, epoch = training.config, training.steps, done.epoch
    training.sampler.epoch, training.sampler.start = epoch, done.step
    clock = Clock()
    batches: Iterator[Sample] = iter(training.loader) if done.step < steps else iter(())
    while done.step < steps:
        try:
            batch = next(batches)
        except CohortError as error:
            raise keeper.gave_up(error) from None
        step = done.step + 1
        if training.scheduler is not None:
            training.scheduler.step_update(epoch * steps + step - 1)
        tell_stand_ins(training, done, batch, step)
        batch = Sample(*(value.to(training.device, non_blocking=True) for value in batch))
        terms = backward(training.joint, training.wrapped, batch, training.scaler, config.accumulate)
        training.update(epoch * steps + step)
        done.totals.add(terms, step)
        done.pairs += training.pairs(step)
        done.step = step
        clock.count(training.sampler.batch_size)
        # Reading a number waits for the device, and asking the other processes waits for them: not at every step.
        at_once = not config.save_minutes or (ranks() == 1 and interruption.asked)
        if step % LOG_STEPS == 0 or step == steps or at_once:
            stop, due = any_rank(bool(interruption.asked), keeper.due())
            means = finite_means(training, done, keeper)
            show(
                epoch * steps + step,
                f"epoch {epoch + 1}/{config.epochs} {describe(means, done.pairs / step, clock.rate)}",
            )
            if stop or due:
                keeper.save()
            if stop:
                raise keeper.stopped(interruption)
    return clock.rate


def finite_means(training: Assembly, done: Progress, keeper: Keeper) -> dict[str, float]:
    """Means of the epoch's terms so far, over all processes.

    Raises:
        DivergenceError: a term or a weight is not finite; the batch's rows are in diverged.json.
    """
    keeper.require_finite()
    means = mean_over_ranks(torch.stack([value.double() for value in done.totals.sums.values()]) / done.step)
    return dict(zip(done.totals.sums, means.tolist(), strict=True))


def measure_epoch(training: Assembly, done: Progress, keeper: Keeper, rate: float) -> tuple[dict[str, Any], float]:
    """The epoch's line of metrics.jsonl, and what the selection rule makes of it."""
    config, epoch = training.config, done.epoch
    means, pairs = finite_means(training, done, keeper), done.pairs / training.steps
    take_over_buffers(training.measured)
    try:
        validation = validate(
            training.measured, training.cohort, training.device, config.channels_last, unreadable=keeper.lost
        )
    except DivergenceError as error:
        raise DivergenceError(f"{error}; {keeper.last_good()}") from None
    record = {
        "epoch": epoch + 1,
        "lr": training.optimiser.param_groups[0]["lr"],
        "terms": means,
        "pairs_per_batch": {"disentangling": pairs[0], "entangling": pairs[1]},
        "films_per_second": rate,
        "validation": validation,
    }
    if METHODS[config.method].uses_bias and not pairs.all():
        ERRORS.print(f"epoch {epoch + 1}: a term of {config.method} saw no pair of images at all", style="yellow")
    watch(training.measured, training.cohort, config, keeper.folder, training.device, epoch + 1, keeper.lost)
    return record, selection_value(config.select, validation, epoch)


def tell_stand_ins(training: Assembly, done: Progress, batch: Sample, step: int) -> None:
    """Say which films others stand in for, each once, and remember the reason."""
    sampler, samples = training.sampler, training.loader.dataset
    mine = slice(sampler.rank * sampler.share, (sampler.rank + 1) * sampler.share)
    wanted, found = training.rows(step)[mine], batch.row.numpy()
    for place in np.flatnonzero(wanted != found):
        row = int(wanted[place])
        if row not in done.unreadable:
            film = int(sampler.positions[sampler.batches(sampler.epoch)[step - 1][mine][place]])
            done.unreadable[row] = reason = samples.why_not(film)  # type: ignore[attr-defined]
            ALL_RANKS.print(
                f"epoch {done.epoch + 1}, step {step}: {reason}; line {found[place] + 2} stands in for it",
                style="yellow", markup=False, highlight=False,
            )  # fmt: skip


def prepare_folder(output: Path, name: str) -> Path:
    """Make the folder of a run below the output folder, with a counter when its name is taken; one for all processes."""
    for number in range(1, 10_000) if is_first() else ():
        folder = output / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return output / told_by_first(folder.name)
    folder_name = told_by_first("")
    if folder_name:
        return output / folder_name
    raise TrainingError(f"{output} holds 9,999 runs named {name}: choose another --output")


def conclude(runs: Sequence[RunResult]) -> None:
    """Write the last run's report, beside an earlier one of a pair; its training is then over and has nothing to resume."""
    if is_first():
        write_report(list(runs), runs[-1].folder)
