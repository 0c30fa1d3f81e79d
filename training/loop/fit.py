"""The training loop, from top to bottom: epochs of steps, each epoch measured, the best one kept."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import torch
from rich.console import Console

from datasets.cohort.films import CohortError
from datasets.sample import Sample
from training.console.interruption import Interruption
from training.console.messages import ERRORS
from training.loop import mistakes
from training.loop.assembly import Assembly
from training.loop.divergence import DivergenceError
from training.loop.joint import backward
from training.loop.measure import metric_name, validate
from training.loop.probe_set import watch
from training.loop.progress import describe, progress_bar
from training.loop.resume import Progress
from training.loop.saver import Saver
from training.loop.selection import Best, selection_value
from training.loop.trackers import Listener
from training.methods import METHODS
from training.parallel.ranks import any_rank, broadcast_buffers, is_first, mean_over_ranks, ranks

LOG_STEPS = 10
ALL_RANKS = Console(stderr=True, emoji=False)  # for what one process alone knows and the user must read


def fit(training: Assembly, progress: Progress, saver: Saver, listeners: Sequence[Listener] = ()) -> Best:
    """Train to the last epoch; returns the epoch that the selection rule keeps.

    In a training of several processes all must call it.

    Args:
        listeners: called with the epoch, from 1, and its line of metrics.jsonl once that is written.

    Raises:
        InterruptedTrainingError: SIGINT or SIGTERM came; the state is saved.
        DivergenceError: a term, a weight or an output is not finite.
        UnreadableFilmError: a film can't be decoded and `on_bad_image` is `fail`; the state is saved.
    """
    config, folder = training.config, saver.folder
    bar = progress_bar(config.method, config.epochs * training.steps)
    with Interruption() as interruption, closing(training), bar as show:
        if progress.epoch == progress.step == 0:
            with saver.stopping_at_once(interruption, save=False):
                watch(training, progress, folder, epoch=0)
        while progress.epoch < config.epochs:
            try:
                rate = run_epoch(training, progress, saver, interruption, show)
            except RuntimeError as error:
                raise mistakes.machine_fault(error, config.workers, folder, saver.how_to_resume) from None
            with saver.stopping_at_once(interruption):
                record, value = measure_epoch(training, progress, saver, rate)
            if value >= progress.best.value:
                state = training.measured.state_dict()
                weights = {name: weight.detach().cpu().clone() for name, weight in state.items()}
                progress.best = Best(value, progress.epoch + 1, weights)
            progress.next_epoch()
            if is_first():
                with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                    file.flush()
                    os.fsync(file.fileno())  # a state that counts the line is not on disk before it
            for listener in listeners:
                listener(progress.epoch, record)
            saver.save()
            if any_rank(bool(interruption.asked))[0]:
                raise saver.stopped(interruption)
    return progress.best


def run_epoch(
    training: Assembly, progress: Progress, saver: Saver, interruption: Interruption, show: Callable[[int, str], None]
) -> float:
    """Do the steps of an epoch that are still to do, and count them in `progress`; returns films a second."""
    config, steps, epoch = training.config, training.steps, progress.epoch
    training.sampler.epoch, training.sampler.start = epoch, progress.step
    started, films = time.perf_counter(), 0
    batches: Iterator[Sample] = iter(training.loader) if progress.step < steps else iter(())
    while progress.step < steps:
        try:
            batch = next(batches)
        except CohortError as error:
            raise saver.unreadable(error) from None
        step = progress.step + 1
        if training.scheduler is not None:
            training.scheduler.step_update(epoch * steps + step - 1)
        report_stand_ins(training, progress, batch, step)
        batch = Sample(*(value.to(training.device, non_blocking=True) for value in batch))
        terms = backward(training.joint, training.wrapped, batch, training.scaler, config.accumulate)
        training.update(epoch * steps + step)
        progress.totals.add(terms, step)
        progress.pairs = progress.pairs + training.pairs(step)
        progress.step = step
        films += training.sampler.batch_size
        # Reading a number waits for the device, and asking the other processes waits for them: not at every step.
        at_once = not config.save_minutes or (ranks() == 1 and interruption.asked)
        if step % LOG_STEPS == 0 or step == steps or at_once:
            stop, due = any_rank(bool(interruption.asked), saver.due())
            means = finite_means(training, progress, saver)
            note = describe(means, progress.pairs.sum(0) / step, films / (time.perf_counter() - started))
            show(epoch * steps + step, f"epoch {epoch + 1}/{config.epochs} {note}")
            if stop or due:
                saver.save()
            if stop:
                raise saver.stopped(interruption)
    return films / (time.perf_counter() - started)


def finite_means(training: Assembly, progress: Progress, saver: Saver) -> dict[str, float]:
    """Means of the epoch's terms so far, over all processes; raises DivergenceError as `Saver.require_finite`."""
    saver.require_finite()
    means = mean_over_ranks(torch.stack([value.double() for value in progress.totals.sums.values()]) / progress.step)
    return dict(zip(progress.totals.sums, means.tolist(), strict=True))


def measure_epoch(training: Assembly, progress: Progress, saver: Saver, rate: float) -> tuple[dict[str, Any], float]:
    """The epoch's line of metrics.jsonl, and what the selection rule makes of it."""
    config, epoch = training.config, progress.epoch
    means, pairs = finite_means(training, progress, saver), progress.pairs / training.steps
    broadcast_buffers(training.measured)
    try:
        validation = validate(training, progress)
    except DivergenceError as error:
        raise DivergenceError(f"{error}; {mistakes.last_state(saver.folder)}") from None
    record = {
        "epoch": epoch + 1,
        "lr": training.optimiser.param_groups[0]["lr"],
        "terms": means,
        "pairs_per_batch": dict(zip(("disentangling", "entangling"), pairs.sum(0).tolist(), strict=True)),
        "films_per_second": rate,
        "validation": validation,
    }
    for attribute, seen in zip(training.cohort.info.unwanted, pairs, strict=True):
        if METHODS[config.method].uses_bias and not seen.all():
            of = f" of one {attribute.name} or across several" if len(pairs) > 1 else ""
            text = f"epoch {epoch + 1}: a term of {config.method} saw no pair of images{of} at all"
            ERRORS.print(text, style="yellow", markup=False)
    watch(training, progress, saver.folder, epoch + 1)
    names = [metric_name(config.select, training.cohort.info, a.name) for a in training.cohort.info.unwanted]
    return record, selection_value(config.select, validation, epoch, names)


def report_stand_ins(training: Assembly, progress: Progress, batch: Sample, step: int) -> None:
    """Print each film that can't be decoded and the one that replaces it, once, and remember the reason."""
    sampler, samples = training.sampler, training.loader.dataset
    mine = slice(sampler.rank * sampler.share, (sampler.rank + 1) * sampler.share)
    drawn, rows = training.rows(step)[mine], batch.row.numpy()
    for place in np.flatnonzero(drawn != rows):
        row = int(drawn[place])
        if row not in progress.stand_ins:
            film = int(sampler.positions[sampler.batches(sampler.epoch)[step - 1][mine][place]])
            progress.stand_ins[row] = reason = samples.why_not(film)  # type: ignore[attr-defined]
            text = f"epoch {progress.epoch + 1}, step {step}: {reason}; line {rows[place] + 2} stands in for it"
            ALL_RANKS.print(text, style="yellow", markup=False, highlight=False)
