"""Make a new run from a finished one: `python -m training.recipe jtt RUN` or `python -m training.recipe dfr RUN`.

The result is a run folder as of training.train, beside RUN and named after it; its report compares the two.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets.seed import seed_number
from training.console.commandline import Parser
from training.run.recipe import SUMMARIES

CLOSING = "For research; not a medical device. Scores are model scores, not diagnoses."


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace; exits with a sentence on a bad one."""
    parser = Parser(prog="python -m training.recipe", description=__doc__, epilog=CLOSING)
    for name, text in SUMMARIES.items():
        add = parser.add_command(name, text).add_argument
        add("run", type=Path, metavar="RUN", help="finished run folder, or its model.safetensors")
        if name == "jtt":
            help = "lambda_up, times per epoch that an error is seen"
            add("--upweight", type=int, default=20, metavar="N", help=help)
            add("--epochs", type=int, metavar="N", help="epochs of the second training (default: as RUN)")
            add("--seed", type=seed_number, metavar="N", help="seed of the second training (default: as RUN)")
        else:
            add("--on", choices=("validation", "train"), default="validation", help="films to fit on")
            add("--penalty", choices=("l1", "l2"), default="l1", help="penalty of the regression")
            add("--subsets", type=int, default=10, metavar="N", help="balanced draws to average over")
            add(
                "--seed",
                type=seed_number,
                default=0,
                metavar="N",
                help="seed of the draws and of the halves of validation",
            )
        add("--data-dir", type=Path, metavar="DIR", help="where the films are now (default: as RUN)")
        add("--output", type=Path, metavar="DIR", help="where the run folder is made (default: beside RUN)")
        add("--json", action="store_true", help="end with --result and JSON on a terminal too")
        add("--device", help="cuda, cpu or auto (default: as RUN)")
    options = parser.parse_strictly(arguments)
    for name, smallest in (("upweight", 2), ("epochs", 1), ("subsets", 1)):
        value = getattr(options, name, None)
        if value is not None and value < smallest:
            parser.error(f"--{name} {value}: must be {smallest} or more")
    return options


def main(arguments: Sequence[str]) -> None:
    """Follow the recipe, print the summary with RUN beside it, then `--result` and one JSON object for programs."""
    options = read_arguments(arguments)
    # Imported after parsing, so that --help and mistakes answer at once.
    from training.recipe.follow import follow

    follow(options)


if __name__ == "__main__":
    main(sys.argv[1:])
