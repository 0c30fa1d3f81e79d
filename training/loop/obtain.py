"""A finished run of some settings: found in the output folder, resumed, or trained."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from datasets.cohort.attributes import with_attributes
from datasets.cohort.films import Cohort
from datasets.files import write_text
from datasets.film.identity import hash_key
from training.console.interruption import Interruption
from training.console.messages import ERRORS
from training.loop.assembly import Assembly, assemble
from training.loop.fit import fit
from training.loop.measure import finish
from training.loop.resume import Progress, digest, restore, tidy
from training.loop.saver import Saver
from training.loop.trackers import Listener, tracking
from training.parallel.device import TrainingError
from training.parallel.ranks import broadcast, is_first
from training.run.biases import parse_biases
from training.run.checkpoint_header import state_files
from training.run.config import TrainConfig, public_settings
from training.run.existing import find_run, read_result, run_settings
from training.run.recipe import Recipe
from training.run.report import RunResult, write_report

SAME_COMMAND = "the same command resumes it"


def obtain(
    config: TrainConfig,
    cohort: Callable[[], Cohort],
    listeners: Sequence[Listener] = (),
    beside: Sequence[RunResult] = (),
) -> RunResult:
    """The finished run of these settings: found in the output folder, resumed where it was interrupted, or trained.

    Args:
        config: of one run (not of a pair).
        cohort: loads the films; called only when something is to be trained, or when they may have changed since.
        beside: an earlier run that its report compares it with.
    """
    finished, begun = find_run(config)
    if finished is not None and config.dataset == "covid":
        films = digest(with_attributes(cohort(), parse_biases(config.bias)))
        finished, begun = find_run(config, films=films)
    if finished is not None:
        for state in state_files(finished) if is_first() else ():  # killed after the report, before they were deleted
            state.unlink()
        if is_first():
            said = f"{finished.name} is finished, with these settings and on films of these names: nothing is trained"
            ERRORS.print(f"{said}. Remove {finished} to train it anew.", style="dim", highlight=False, markup=False)
        return read_result(finished / "report.json")
    config.output.mkdir(parents=True, exist_ok=True)
    hash_key(config.output, config.hash_key)
    run = train(dataclasses.replace(config, resume=begun), cohort(), listeners, how_to_resume=SAME_COMMAND)
    conclude([*beside, run])
    return run


def train(
    config: TrainConfig, cohort: Cohort, listeners: Sequence[Listener] = (), recipe: Recipe | None = None,
    how_to_resume: str | None = None,
) -> RunResult:  # fmt: skip
    """Train, then measure; the run folder is complete but for report.json (`conclude`).

    In a training of several processes all must call it; the result has metrics in the first one alone.

    Args:
        config: of one run; `resume` is the run folder, or one of its states, to resume.
        recipe: by which another run led to this one.
        how_to_resume: how an interrupted training is resumed, in words; None for the flags of training.train.
    """
    training, progress, saver = start(config, cohort, recipe, how_to_resume)
    public = public_settings(config) | {"paired": False} | (recipe.settings() if recipe else {})
    with tracking(config.tracker if is_first() else None, saver.folder, public) as track:
        fit(training, progress, saver, (track, *listeners))
        # Its last state is on disk.
        with Interruption() as interruption, saver.stopping_at_once(interruption, save=False):
            run = finish(training, progress, saver.folder, recipe)
        if is_first():
            track(config.epochs, {"final": run.metrics})
    return run


def start(
    config: TrainConfig, cohort: Cohort, recipe: Recipe | None = None, how_to_resume: str | None = None
) -> tuple[Assembly, Progress, Saver]:
    """A training at its beginning, in a new run folder, or at the state that `config.resume` names; arguments as `train`."""
    # Trainings that differ in --bias may share their films, as those of a benchmark do.
    training = assemble(config, with_attributes(cohort, parse_biases(config.bias)), recipe)
    if config.resume:
        folder = config.resume if config.resume.is_dir() else config.resume.parent
        progress = restore(training, config.resume)
        tidy(folder, training, progress)
    else:
        name = f"{config.cohort_name}-{config.method}-{config.model}-s{config.seed}"
        name += "" if config.redraw == 1 else f"-redraw{config.redraw:g}"
        folder = prepare_folder(config.output, f"{recipe.parent}-{recipe.name}" if recipe else name)
        progress = Progress()
    if is_first():
        write_text(folder / "config.yaml", yaml.safe_dump(run_settings(config, recipe)))
    flags = f"resume it with --resume {folder}, or with the same command and --resume auto"
    saver = Saver(training, progress, folder, how_to_resume or flags)
    if not config.resume:
        saver.save()
    return training, progress, saver


def prepare_folder(output: Path, name: str) -> Path:
    """Make the folder of a run below the output folder, with a counter when its name is taken; one for all processes."""
    made = ""
    for number in range(1, 10_000) if is_first() else ():
        folder = output / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            made = folder.name
            break
    if made := broadcast(made):
        return output / made
    raise TrainingError(f"{output} holds 9,999 runs named {name}: choose another --output")


def conclude(runs: Sequence[RunResult]) -> None:
    """Write the last run's report, beside an earlier one of a pair; its training is then over and has nothing to resume."""
    if is_first():
        write_report(list(runs), runs[-1].folder)
