"""Search a method's hyper-parameters: `python -m training.sweep --dataset phantom --method end --trials 20`.

Optuna (Akiba et al., KDD 2019): a tree-structured Parzen estimator proposes, the first trial is the defaults, and a trial
whose first seed falls behind the median of the others is ended early. The objective is measured on validation films.
Settings given as flags stay fixed, the rest of the method's ranges are searched. Finished runs are kept: the same
command continues where it stopped; with a shared --storage several machines work on one study.
Needs `pip install 'end-cxr[sweep]'`.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from training.console.commandline import Parser
from training.sweep.space import DIRECTIONS

NEEDED = "training.sweep needs optuna, which is not installed; pip install 'end-cxr[sweep]'"


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; `forwarded` holds the flags that go to training.train."""
    parser = Parser(
        prog="python -m training.sweep",
        forwards=True,
        description=__doc__,
        epilog="Flags not listed here go to training.train. For research; not a medical device.",
    )
    add = parser.add_argument
    add("--trials", type=int, default=20, help="number of finished trials")
    add("--seeds", type=int, default=1, help="seeds per trial, counted from --seed; the objective is their mean")
    help = "objective on validation; several give a Pareto front"
    add("--objective", nargs="+", default=["accuracy"], choices=tuple(DIRECTIONS), help=help)
    help = "also search these settings, such as form lr weight_decay"
    add("--search", nargs="+", default=[], metavar="NAME", help=help)
    add("--storage", help="database of the study, as SQLAlchemy spells it; default study.db beside its runs")
    add("--study", help="name of the study and of its folder; default DATASET-METHOD")
    add("--output", type=Path, default=Path("runs/sweep"), help="where the folder of the study is made")
    options = parser.parse_strictly(arguments)
    options.objective = list(dict.fromkeys(options.objective))
    options.search = [name.lstrip("-").replace("-", "_") for name in options.search]
    for flag in ("trials", "seeds"):
        if getattr(options, flag) < 1:
            parser.error(f"--{flag} {getattr(options, flag)}: must be 1 or more")
    if options.study is not None and (options.study in ("", ".", "..") or set(options.study) & set("/\\\0")):
        parser.error(f"--study {options.study}: it names a folder in --output, so it has no / or \\ and is not ..")
    for flag in ("--paired", "--resume"):
        if flag in options.forwarded:
            parser.error(f"{flag} is for training.train; a sweep trains one method, and the same command continues it")
    return options


def main(arguments: Sequence[str]) -> None:
    """Go on with the study until its trials are finished, then print what it found and write it beside the runs."""
    options = read_arguments(arguments)
    if find_spec("optuna") is None:
        raise SystemExit(NEEDED)
    # Imported after parsing, so that --help and mistakes answer at once.
    from training.console.messages import mistakes_as_sentences

    with mistakes_as_sentences("interrupted; nothing was begun"):
        from training.sweep.study import run

    run(options)


if __name__ == "__main__":
    main(sys.argv[1:])
