"""What training.recipe does: the parent run, its recipe, and the summary of both."""

import argparse

from rich.console import Console

from datasets.film.identity import hash_key
from training.console.messages import mistakes_as_sentences
from training.loop.prepare import prepare
from training.loop.tables import show_results
from training.recipe.dfr import reweight_features
from training.recipe.jtt import just_train_twice, second_config
from training.recipe.parent import read_parent
from training.run.report import write_report, write_result


def follow(options: argparse.Namespace) -> None:
    """Make the run and print its metrics beside those of its parent."""
    console = Console()
    with mistakes_as_sentences("interrupted; give the same command again"):
        given = {name: getattr(options, name) for name in ("data_dir", "output", "device")}
        parent = read_parent(options.run, given)
        jtt = options.command == "jtt"
        config = second_config(parent, options.seed, options.epochs) if jtt else parent.config
        cohort = prepare(config, console, trains=jtt)
        config.output.mkdir(parents=True, exist_ok=True)
        hash_key(config.output, config.hash_key)  # a key that can't be read shows before training, not after
        if jtt:
            run = just_train_twice(parent, cohort, config, options.upweight)
        else:
            run = reweight_features(parent, cohort, options.on, options.penalty, options.subsets, options.seed)
        runs = [parent.result, run]
        write_report(runs, run.folder)
    show_results(console, runs, cohort.info)
    for note in run.details["notes"][len(cohort.notes) :]:
        console.print(note, highlight=False, markup=False)
    write_result(runs, options.json)
