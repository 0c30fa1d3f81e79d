"""What training.recipe does: the parent run, its recipe, and the summary of both."""

import argparse
import time

from rich.console import Console

from datasets.cohort.films import Cohort
from datasets.film.identity import hash_key
from training.console.messages import mistakes_as_sentences
from training.loop.prepare import prepare
from training.loop.tables import show_results
from training.recipe.dfr import reweight_features
from training.recipe.head import fit_new_head, freeze, settings_of_head
from training.recipe.jtt import just_train_twice, second_config
from training.recipe.parent import read_parent
from training.run.config import TrainConfig
from training.run.report import RunResult, write_report, write_result


def follow(options: argparse.Namespace) -> None:
    """Make the run and print its metrics, beside those of its parent where it has one."""
    console = Console(emoji=False)
    with mistakes_as_sentences("interrupted; give the same command again"):
        runs, cohort = _fit_head(options, console) if options.command == "head" else _from_run(options, console)
        write_report(runs, runs[-1].folder)
    show_results(console, runs, cohort.info)
    for note in runs[-1].details["notes"][len(cohort.notes) :]:
        console.print(note, highlight=False, markup=False)
    write_result(runs, options.json)


def _from_run(options: argparse.Namespace, console: Console) -> tuple[list[RunResult], Cohort]:
    parent = read_parent(options.run, _given(options))
    jtt = options.command == "jtt"
    config = second_config(parent, options.seed, options.epochs) if jtt else parent.config
    cohort = _prepare(config, console, trains=jtt)
    if jtt:
        run = just_train_twice(parent, cohort, config, options.upweight)
    else:
        run = reweight_features(parent, cohort, options.on, options.penalty, options.subsets, options.seed)
    return [parent.result, run], cohort


def _fit_head(options: argparse.Namespace, console: Console) -> tuple[list[RunResult], Cohort]:
    parent = read_parent(options.run, _given(options)) if options.run else None
    config = settings_of_head(parent.config if parent else options.config, parent)
    frozen = freeze(config, parent, options.layers)
    cohort = _prepare(config, console, trains=False)
    started = time.perf_counter()
    run = fit_new_head(frozen, cohort, config, parent)
    console.print(f"Features of {len(cohort.table)} films and the head in {time.perf_counter() - started:.0f} s.")
    return [parent.result, run] if parent else [run], cohort


def _given(options: argparse.Namespace) -> dict[str, object]:
    return {name: getattr(options, name) for name in ("data_dir", "output", "device")}


def _prepare(config: TrainConfig, console: Console, trains: bool) -> Cohort:
    cohort = prepare(config, console, trains=trains)
    config.output.mkdir(parents=True, exist_ok=True)
    hash_key(config.output, config.hash_key)  # a key that can't be read shows before training, not after
    return cohort
