"""Train one classifier, or a method beside its ERM twin: `python -m training.train --dataset covid --paired`.

This file reads the command line; `training/loop/twin.py` trains and prints, `training/loop/fit.py` is the loop.
`torchrun --nproc-per-node N -m training.train ...` runs it in N processes, which share each batch.
"""

import signal
import sys
from collections.abc import Sequence

from training.run.archive import add_archive_arguments, split_archive
from training.run.config import parse


def main(arguments: Sequence[str]) -> None:
    """Train, print the summary, then, where no person reads or with `--json`, `--result` and one JSON object."""
    archive, others = split_archive(arguments)
    config = parse(others, own=add_archive_arguments)
    # Imported after parsing, so that --help and mistakes answer at once.
    from training.loop.twin import train_and_show

    train_and_show(config, "--json" in arguments, archive)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the training listens, Ctrl-C needs no traceback
    main(sys.argv[1:])
