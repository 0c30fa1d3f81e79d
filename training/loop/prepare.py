"""The films of a training: loaded, decoded, drawn, checked, printed."""

import dataclasses

from rich.console import Console

from datasets.cohort.attributes import check_attributes
from datasets.cohort.films import Cohort
from datasets.cohort.groups import joined_crossings, repeated_groups
from datasets.cohort.pixel_checks import alike_films
from datasets.cohort.splits import drawn_by_patient
from datasets.sample import Split
from models.classifier import require_model
from training.console.commandline import too_many_workers
from training.loop.assembly import mixing_of
from training.loop.rehearsal import rehearse, require_places
from training.loop.resume import digest
from training.loop.tables import show_cohort, show_notes, show_notices
from training.loop.trackers import require_tracker
from training.parallel.device import TrainingError, choose_device
from training.parallel.ranks import any_rank, broadcast, first_goes_first, ranks
from training.run.config import TrainConfig
from training.run.films import cohort_of, preprocessing_of


def prepare(config: TrainConfig, console: Console, trains: bool = True) -> Cohort:
    """Load, decode and check the films, and say what they allow, once the settings work on blank films.

    Args:
        trains: whether a network is to be trained, which is rehearsed then.
    """
    return draw(config, decode(config, console, trains), console)


def decode(config: TrainConfig, console: Console, trains: bool = True) -> Cohort:
    """All films that a run of any seed draws from, decoded; arguments as for `prepare`, whose first part this is."""
    try_out(config, trains)
    if said := too_many_workers(config.workers):
        console.print(said, style="yellow", highlight=False, markup=False)
    cohort = cohort_of(config, preprocessing_of(config))
    mixing_of(config, cohort)  # too few sources for it are told before the films are decoded
    show_notices(console, cohort)
    with first_goes_first():  # a cache on disk is filled once
        known = len(cohort.notes)
        cohort = cohort.cached(config.cache, config.output / ".cache")
    show_notes(console, cohort, cohort.notes[known:])  # what only the decoded films tell
    if ranks() > 1 and any_rank(broadcast(digest(cohort)) != digest(cohort))[0]:
        raise TrainingError(
            "the processes read other films than the first: --data-dir must hold the same for all of them"
        )
    for note in alike_films(cohort):
        console.print(f" {note} ", style="yellow", highlight=False, markup=False)
    return cohort


def try_out(config: TrainConfig, trains: bool = True) -> None:
    """Refuse settings that can't work before any film is read; arguments as for `prepare`."""
    require_model(config.model)
    choose_device(config.device)
    require_tracker(config.tracker)
    require_places(config)
    if trains:
        rehearse(config)


def balanced_notes(cohort: Cohort) -> list[str]:
    """What balanced batches do with few films: which crossings of several biases they join, and which groups they repeat."""
    at, info = cohort.positions(Split.TRAIN), cohort.info
    names = [info.targets, *(attribute.values for attribute in info.unwanted)]
    target, bias = cohort.table["target"].to_numpy()[at], cohort.bias[at]
    joined = joined_crossings(target, bias, names) if len(info.unwanted) > 1 else ""
    return [note for note in (joined, repeated_groups(target, bias, names, info.unwanted[0].name)) if note]


def draw(config: TrainConfig, cohort: Cohort, console: Console) -> Cohort:
    """The films of a run with this seed, of those that `decode` gave, with what they allow printed.

    Raises:
        TrainingError: no class comes from two sources, or has two values of another bias, unless the settings accept that.
    """
    at = cohort.positions(Split.TRAIN)
    if config.redraw < 1:
        pool = cohort.table.iloc[at]
        cells = pool["target"].astype(str) + "-" + pool["bias"].astype(str)
        left_out = at[~drawn_by_patient(cells, pool["patient"], config.redraw, config.seed)]
        why = f"its patient is not in this run's draw (--redraw {config.redraw:g}, --seed {config.seed})"
        cohort = cohort.without(dict.fromkeys(left_out.tolist(), why))
    if config.sampler == "balanced" and (notes := balanced_notes(cohort)):
        cohort = dataclasses.replace(cohort, notes=(*cohort.notes, *notes))
        show_notes(console, cohort, notes)
    checks = check_attributes(cohort, config.batch_size)
    show_cohort(console, cohort, checks.values())
    for attribute in cohort.info.unwanted:
        check = checks[attribute.name]
        if check.verdict == "not identifiable" and not config.accept_unidentifiable:
            raise TrainingError(f"not training: {check.sentence} To train all the same, pass --accept-unidentifiable")
    return cohort
