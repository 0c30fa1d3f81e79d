"""Regenerate the tables of the documentation: `python -m training.benchmark COMMAND`.

`cost` times EnD's terms against a Gram-matrix version and a training step; `throughput` training with and without them;
`train` training against timm's own; `epoch` an epoch of Biased MNIST against the released code's way; `dicom` the batch
evaluation of DICOM folders. `paired` sets a method beside ERM over seeds, with intervals of the differences; `biased-mnist`
compares every method on Biased MNIST.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from training.benchmark.biased_mnist.command import add_arguments
from training.console.commandline import Parser


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; `forwarded` holds the flags of `epoch` and `paired` that go to training.train."""
    parser = Parser(prog="python -m training.benchmark", description=__doc__)
    cost = parser.add_command("cost", "time of the terms against batch, width and groups")
    cost.add_argument("--repeats", type=int, default=7, help="timings per case; the median is reported")
    throughput = parser.add_command("throughput", "training with EnD against ERM, and the memory layouts")
    throughput.add_argument("--model", default="resnet18", help="timm backbone")
    throughput.add_argument("--img-size", type=int, default=224, help="px")
    throughput.add_argument("-b", "--batch-size", type=int, default=64, help="films per step")
    throughput.add_argument("--repeats", type=int, default=5, help="steps timed of each kind, alternating")
    speed = parser.add_command("train", "training with EnD against timm's own recipe, and where a step's time goes")
    speed.add_argument(
        "--data-dir", type=Path, help="folder of films with metadata.csv (default: phantom films as PNG)"
    )
    speed.add_argument("--films", type=int, default=400, help="phantom films to train on")
    speed.add_argument("--model", default="tf_efficientnet_lite0", help="timm backbone")
    speed.add_argument("--img-size", type=int, default=128, help="px")
    speed.add_argument("-b", "--batch-size", type=int, default=32, help="films per step")
    speed.add_argument("--repeats", type=int, default=11, help="epochs of each, alternating; the median is reported")
    speed.add_argument("--workers", type=int, default=2, help="processes of those that decode at each epoch")
    epoch = parser.add_command(
        "epoch", "an epoch of Biased MNIST: the released code against ours; takes training.train's flags", forwards=True
    )
    epoch.add_argument("--steps", type=int, default=5, help="steps of the epoch; 0 for all of them")
    epoch.add_argument("--repeats", type=int, default=5, help="timings of each, alternating; the median is reported")
    paired = parser.add_command(
        "paired", "a method beside ERM over seeds; flags not listed here go to training.train", forwards=True
    )
    paired.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="training seeds")
    paired.add_argument("--resplit", action="store_true", help="each seed draws its own split (its own phantom cohort)")
    paired.add_argument("--record", type=Path, help="also write the table and all runs to this JSON file")
    films = parser.add_command("dicom", "films per second of a DICOM folder, against its single steps and MONAI")
    films.add_argument("--repeats", type=int, default=5, help="timings of each part; the median is reported")
    films.add_argument("--workers", type=int, default=2, help="decoding processes")
    digits = parser.add_command("biased-mnist", "every method on Biased MNIST: tuning, seeds, the literature's table")
    add_arguments(digits)
    return parser.parse_strictly(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark that the command line names."""
    options = read_arguments(arguments)
    if options.command == "dicom":
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as training.evaluate
    # Imported after parsing, so that --help answers at once; each benchmark imports what it alone needs.
    from training.console.messages import mistakes_as_sentences

    with mistakes_as_sentences("interrupted; the same command continues from here"):
        if options.command == "cost":
            from training.benchmark.cost import cost

            cost(options.repeats)
        elif options.command == "throughput":
            from training.benchmark.cost import throughput

            throughput(options.model, options.img_size, options.batch_size, options.repeats)
        elif options.command == "biased-mnist":
            from training.benchmark.biased_mnist.command import biased_mnist

            biased_mnist(options)
        elif options.command == "dicom":
            from training.benchmark.dicom import dicom

            dicom(options.repeats, options.workers)
        elif options.command == "train":
            from training.benchmark.training import train

            train(**{name: value for name, value in vars(options).items() if name != "command"})
        elif options.command == "epoch":
            from training.benchmark.epoch import epoch

            epoch(options.forwarded, options.steps, options.repeats)
        else:
            from training.benchmark.paired import paired

            paired(options.forwarded, options.seeds, options.resplit, options.record)


if __name__ == "__main__":
    main(sys.argv[1:])
