"""Make a run out of another: `python -m training.recipe jtt RUN` or `python -m training.recipe dfr RUN`.

The result is a run folder as of training.train, beside RUN and named after it; its report compares the two.
"""

import argparse
import json
import sys
from pathlib import Path

from training.console.commandline import Parser
from training.run.recipe import SUMMARIES

CLOSING = "For research; not a medical device. Scores are model scores, not diagnoses."


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line as a namespace; exits with a sentence on a bad one."""
    parser = Parser(prog="python -m training.recipe", description=__doc__, epilog=CLOSING)
    recipes = parser.add_subparsers(dest="recipe", required=True, metavar="RECIPE")
    parsers = {name: recipes.add_parser(name, help=text, description=text) for name, text in SUMMARIES.items()}
    for name, of in parsers.items():
        of.set_defaults(recipe=name)
        of.add_argument("run", type=Path, metavar="RUN", help="finished run folder, or its model.safetensors")
    add = parsers["jtt"].add_argument
    add("--upweight", type=int, default=20, metavar="N", help="lambda_up, times that an error is seen (default: 20)")
    add("--epochs", type=int, metavar="N", help="of the second training (default: as RUN, which is ideally short)")
    add("--seed", type=int, metavar="N", help="of the second training (default: as RUN)")
    add = parsers["dfr"].add_argument
    add("--on", choices=("validation", "train"), default="validation", help="films fitted to (default: validation)")
    add("--penalty", choices=("l1", "l2"), default="l1", help="of the regression (default: l1)")
    add("--subsets", type=int, default=10, metavar="N", help="balanced draws to average over (default: 10)")
    add("--seed", type=int, default=0, metavar="N", help="of draws and halves (default: 0)")
    for of in parsers.values():
        of.add_argument("--data-dir", type=Path, metavar="DIR", help="where the films are now (default: as RUN)")
        of.add_argument("--output", type=Path, metavar="DIR", help="where the run folder is made (default: beside RUN)")
        of.add_argument("--device", help="cuda, cpu or auto (default: as RUN)")
    if not arguments or arguments[0] not in parsers:
        return parser.parse_strictly(arguments)
    own, other = parsers[arguments[0]], "dfr" if arguments[0] == "jtt" else "jtt"
    foreign = parsers[other]._option_string_actions.keys() - own._option_string_actions.keys()
    options = own.parse_strictly(arguments[1:], {flag: f"{flag} belongs to {other}" for flag in foreign})
    for name, smallest in (("upweight", 2), ("epochs", 1), ("subsets", 1), ("seed", 0)):
        value = getattr(options, name, None)
        if value is not None and value < smallest:
            own.error(f"--{name} {value}: must be {smallest} or more")
    return options


def main(options: argparse.Namespace) -> None:
    """Follow the recipe, print the summary with RUN beside it, then `--result` and one JSON object."""
    # Imported here, so that --help and mistakes answer at once.
    from rich.console import Console

    from datasets.film.identity import hash_key
    from training.console.messages import mistakes_as_sentences
    from training.loop.prepare import prepare
    from training.loop.tables import show_results
    from training.recipe.dfr import reweight_features
    from training.recipe.jtt import just_train_twice, second_config
    from training.recipe.parent import read_parent
    from training.run.report import result_json, write_report

    console = Console()
    with mistakes_as_sentences("interrupted; give the same command again"):
        given = {name: getattr(options, name) for name in ("data_dir", "output", "device")}
        parent = read_parent(options.run, given)
        config = second_config(parent, options.seed, options.epochs) if options.recipe == "jtt" else parent.config
        cohort = prepare(config, console)
        config.output.mkdir(parents=True, exist_ok=True)
        hash_key(config.output, config.hash_key)  # a key that can't be read shows before training, not after
        if options.recipe == "jtt":
            run = just_train_twice(parent, cohort, config, options.upweight)
        else:
            run = reweight_features(parent, cohort, options.on, options.penalty, options.subsets, options.seed)
        runs = [parent.result, run]
        write_report(runs, run.folder)
    show_results(console, runs, cohort.info)
    for note in run.details["notes"][len(cohort.notes) :]:
        console.print(note, highlight=False, markup=False)
    print("--result")
    print(json.dumps(result_json(runs), allow_nan=False))


if __name__ == "__main__":
    main(read_arguments(sys.argv[1:]))
