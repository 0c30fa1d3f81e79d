"""Regenerate the tables of the documentation: `python -m training.benchmark COMMAND`.

`cost` times EnD's terms against a Gram-matrix version and a training step; `throughput` training with and without them;
`train` training against timm's own; `epoch` an epoch of Biased MNIST against the released code's way; `dicom` the batch
evaluation of DICOM folders, `dicomweb` that of an archive; `audit` the stages of an audit. `paired` sets methods beside ERM
over seeds, with intervals of the differences; `biased-mnist` compares every method on Biased MNIST, `planted` on your own
films with a planted shortcut.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from datasets.files import require_new_file
from datasets.film.dicomweb_folder import add_arguments as add_dicomweb_arguments
from datasets.seed import DifferentSeeds, seed_number
from training.benchmark.biased_mnist import command as biased_mnist
from training.benchmark.planted import command as planted
from training.console.commandline import Parser, count
from training.methods import METHODS
from training.recipe.candidate import Candidate
from training.run.config import parse

# The module and the function of each command; the function takes the command's options by name.
FUNCTIONS = {
    "cost": ("cost", "cost"),
    "throughput": ("cost", "throughput"),
    "train": ("training", "train"),
    "epoch": ("epoch", "epoch"),
    "paired": ("paired", "paired"),
    "dicom": ("dicom", "dicom"),
    "dicomweb": ("dicomweb", "dicomweb"),
    "audit": ("audit", "audit"),
    "biased-mnist": ("biased_mnist.command", "biased_mnist"),
    "planted": ("planted.command", "planted"),
}

REPEATS = count(1, 1000)


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; `forwarded` holds the flags of `epoch`, `paired` and `planted` that go to training.train."""
    parser = Parser(prog="python -m training.benchmark", description=__doc__)
    add = parser.add_command("cost", "time of the terms against batch, width and groups").add_argument
    add("--repeats", type=REPEATS, default=7, help="timings per case; the median is reported")
    add = parser.add_command("throughput", "training with EnD against ERM, and the memory layouts").add_argument
    add("--model", default="resnet18", help="timm backbone")
    add("--img-size", type=count(8, 8192), default=224, help="px")
    add("-b", "--batch-size", type=count(2, 1_000_000), default=64, help="films per step")
    add("--repeats", type=REPEATS, default=5, help="steps timed of each kind, alternating")
    help = "training with EnD against timm's own recipe, and where a step's time goes"
    add = parser.add_command("train", help).add_argument
    add("--data-dir", type=Path, help="folder of films with metadata.csv (default: phantom films as PNG)")
    add("--films", type=count(2, 1_000_000), default=400, help="phantom films to train on")
    add("--model", default="tf_efficientnet_lite0", help="timm backbone")
    add("--img-size", type=count(8, 8192), default=128, help="px")
    add("-b", "--batch-size", type=count(2, 1_000_000), default=32, help="films per step")
    add("--repeats", type=REPEATS, default=11, help="epochs of each, alternating; the median is reported")
    add("--workers", type=count(1, 256), default=2, help="processes of those that decode at each epoch")
    help = "an epoch of Biased MNIST: the released code against ours; takes training.train's flags"
    add = parser.add_command("epoch", help, forwards=True).add_argument
    add("--steps", type=count(0, 1_000_000), default=5, help="steps of the epoch; 0 for all of them")
    add("--repeats", type=REPEATS, default=5, help="timings of each, alternating; the median is reported")
    help = "methods beside ERM over seeds; flags not listed here go to training.train"
    add = parser.add_command("paired", help, forwards=True).add_argument
    help = "methods, with their settings: end, end:alpha=1,beta=1, erm:sampler=balanced (default: end)"
    add("--method", nargs="+", default=["end"], metavar="NAME", help=help)
    add(
        "--seeds",
        type=seed_number,
        action=DifferentSeeds,
        nargs="+",
        default=list(range(10)),
        metavar="N",
        help="training seeds (default: 0 to 9)",
    )
    help = "share of the training patients that each seed draws (default: 0.8; 1, all of them, with --resplit)"
    add("--redraw", type=float, metavar="SHARE", help=help)
    add("--resplit", action="store_true", help="each seed draws its own split (its own phantom cohort)")
    add("--same-batches", action="store_true", help="ERM trains on batches drawn as the methods' (--sampler)")
    add("--record", type=Path, help="also write the table and all runs to this JSON file")
    help = "films per second of a DICOM folder, against its single steps and MONAI"
    add = parser.add_command("dicom", help).add_argument
    add("--repeats", type=REPEATS, default=5, help="timings of each part; the median is reported")
    add("--workers", type=count(1, 256), default=2, help="decoding processes")
    command = parser.add_command("dicomweb", "films per second of an archive, against retrieval and scoring alone")
    command.add_argument("url", metavar="URL", help="of a DICOMweb archive, best one of phantoms on this machine")
    add_dicomweb_arguments(command)
    command.add_argument(
        "--films", type=count(2, 1_000_000), default=2000, help="at most; kept in a temporary folder meanwhile"
    )
    command.add_argument("--repeats", type=REPEATS, default=3, help="timings of each, in turn; the median is reported")
    command.add_argument("--workers", type=count(1, 256), default=2, help="processes that fetch and decode")
    add = parser.add_command("audit", "where the time of an audit goes, against the bare models' scoring").add_argument
    add("runs", nargs="*", type=Path, metavar="RUN", help="judged on all their films (default: two untrained models)")
    add("--films", type=count(2, 1_000_000), default=1600, help="phantom films, or films of --from-scores")
    add("--from-scores", action="store_true", help="begin with simulated features and scores")
    add("--resamples", type=count(1, 100_000), default=2000, help="of each bootstrap over patients")
    add("--seed", type=seed_number, default=0, help="of films and resampling")
    help = "every method on Biased MNIST: tuning, seeds, the literature's table"
    biased_mnist.add_arguments(parser.add_command("biased-mnist", help))
    help = "every method on your own films with a planted shortcut, beside the truth; flags not listed go to training.train"
    planted.add_arguments(parser.add_command("planted", help, forwards=True))
    return parser.parse_strictly(arguments)


def require_settings(command: str, options: Mapping[str, Any]) -> None:
    """Exit with a sentence for a mistake in flags of training.train; each benchmark reads them again, for what it makes."""
    if command in ("paired", "epoch") and options.get("record") is not None:
        require_new_file(options["record"], "--record", b'{\n "machine": ', "record of this command")
    if command == "paired" or (command == "planted" and not options["show"]):
        methods = [Candidate.parse(text).trained_as for text in options["method"] or METHODS]
        parse(options["forwarded"], list(dict.fromkeys(["erm", *methods])))
    elif command == "epoch":
        parse(["--dataset", "biased-mnist", *options["forwarded"]])


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark that the command line names."""
    options = vars(read_arguments(arguments))
    command = options.pop("command")
    if command in ("dicom", "dicomweb"):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as training.evaluate
    # Imported after parsing, so that --help answers at once; each benchmark imports what it alone needs.
    from training.console.messages import mistakes_as_sentences

    with mistakes_as_sentences("interrupted; the same command continues from here"):
        require_settings(command, options)
        module, function = FUNCTIONS[command]
        getattr(import_module(f"training.benchmark.{module}"), function)(**options)


if __name__ == "__main__":
    main(sys.argv[1:])
