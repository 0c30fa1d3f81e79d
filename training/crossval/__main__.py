"""Leave one source out: `python -m training.crossval --dataset covid --leave-out source --method erm --method end`.

Holds out each source that has both classes, trains on the rest and scores the held-out films: does a model work at a
hospital that it never saw? Any other column of metadata.csv will do: a view, a manufacturer. Patients and near-copies of
films never lie on both sides. Each seed draws its own training patients, and intervals are over patients and seeds.
Finished runs are kept, so a second call continues where the first one stopped.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets.seed import DifferentSeeds, seed_number
from training.console.commandline import Parser, option_fields
from training.recipe.candidate import Candidate
from training.run.config import TrainConfig, parse


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; `forwarded` holds the flags that go to training.train."""
    parser = Parser(
        prog="python -m training.crossval",
        forwards=True,
        description=__doc__,
        epilog="Flags not listed here go to training.train. For research; not a medical device.",
    )
    add = parser.add_argument
    help = (
        "column of metadata.csv (or age_band) each of whose values is held out in turn; films without one are left out"
    )
    add("--leave-out", metavar="COLUMN", default="source", help=help)
    add("--values", "--sources", help="hold out only these values, separated by commas")
    help = "METHOD, METHOD:SETTING=VALUE,... (erm:sampler=balanced) or head; the first is the reference"
    add("--method", action="extend", nargs="+", help=help)
    add(
        "--seeds",
        type=seed_number,
        action=DifferentSeeds,
        nargs="+",
        default=list(range(10)),
        metavar="N",
        help="training seeds (default: 0 to 9)",
    )
    add(
        "--redraw", type=float, default=0.8, metavar="SHARE", help=option_fields(TrainConfig)["redraw"].metadata["help"]
    )
    add("--output", type=Path, default=Path("runs/crossval"), help="folder of the runs and crossval.json")
    add("--record", type=Path, help="JSON lines file, a line a finished run (default: OUTPUT/record.jsonl)")
    add("--show", action="store_true", help="print the table of --record, and train nothing")
    options = parser.parse_strictly(arguments)
    options.method = list(dict.fromkeys(options.method or ["erm", "erm:sampler=balanced", "end"]))
    if not options.show:
        try:
            trained = [Candidate.parse(text).trained_as for text in options.method]
        except ValueError as error:
            parser.error(str(error))
        parse(options.forwarded, list(dict.fromkeys(trained)))  # its mistakes show before the heavy imports
    return options


def main(arguments: Sequence[str]) -> None:
    """Train every fold that is not there yet, then print the table and write crossval.json."""
    options = read_arguments(arguments)
    # Imported after parsing, so that --help and mistakes answer at once.
    from training.console.messages import mistakes_as_sentences

    with mistakes_as_sentences("interrupted; nothing was begun"):
        from training.crossval.folds import run

    run(options)


if __name__ == "__main__":
    main(sys.argv[1:])
