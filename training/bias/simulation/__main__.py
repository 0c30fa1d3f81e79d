"""Are the intervals and p-values calibrated? `python -m training.bias.simulation COMMAND`.

`coverage` counts how often the 95 % intervals of AUROC contain the true value, `comparison` how often two equally good models
are called different, `speed` times all metrics by source, `small` counts the coverage of shares and AUROC by number of
patients and true value, `verdict` how often the audit's questions are answered yes where nothing is wrong, and where
something is, `leak` how often the probe finds a source that is or is not in the features, and whether its intervals hold, and
`seeds` how often intervals over patients and seeds hold the true difference of two methods.
"""

import argparse
import os
import platform
import sys
import time
from importlib import import_module

import numpy as np
from rich.console import Console

from datasets.seed import seed_number
from training.console.commandline import Parser

# The module and the function of each command; the function makes a title and a table of the options.
FUNCTIONS = {
    "coverage": ("coverage", "coverage_table"),
    "comparison": ("coverage", "comparison_table"),
    "leak": ("leak", "leak_table"),
    "small": ("small", "small_table"),
    "verdict": ("verdict", "verdict_table"),
    "seeds": ("seeds", "seeds_table"),
    "speed": ("speed", "speed_table"),
}


def main(options: argparse.Namespace) -> None:
    """Run one of the commands and print its table."""
    started = time.perf_counter()
    module, function = FUNCTIONS[options.command]
    title, table = getattr(import_module(f"training.bias.simulation.{module}"), function)(options)
    console = Console()
    console.print(title, soft_wrap=True)
    console.print(table)
    console.print(
        f"seed {options.seed}; {time.perf_counter() - started:.0f} s on {os.cpu_count()} CPU cores ({platform.machine()}), "
        f"numpy {np.__version__}, Python {platform.python_version()}",
        soft_wrap=True,
    )


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command and its options."""
    parser = Parser(prog="python -m training.bias.simulation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("coverage", "how often the intervals of AUROC contain the true value"),
        ("comparison", "how often equally good models are called different"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--simulations", type=int, default=2000, help="cohorts")
        command.add_argument("--patients", type=int, default=200, help="of each cohort")
    command = commands.add_parser("leak", help="how often the probe finds a source, and whether its intervals hold")
    command.add_argument("--simulations", type=int, default=300, help="cohorts")
    command.add_argument("--patients", type=int, default=200, help="of each cohort")
    command.add_argument("--strength", type=float, default=0.0, help="of the source in the features; 0 for none")
    command.add_argument("--permutations", type=int, default=199, help="of each probe")
    for name, text, cohorts in (
        ("small", "coverage of shares and AUROC by number of patients and true value", 1000),
        ("verdict", "how often the audit's questions are answered yes", 200),
        ("seeds", "coverage of differences of two methods by number of seeds and patients", 500),
    ):
        commands.add_parser(name, help=text).add_argument("--simulations", type=int, default=cohorts, help="cohorts")
    commands.add_parser("speed", help="time and memory of all metrics by source").add_argument(
        "--rows", type=int, default=100_000, help="films"
    )
    for command in commands.choices.values():
        if command not in (commands.choices["leak"], commands.choices["seeds"]):
            command.add_argument("--resamples", type=int, default=2000, help="of the bootstrap, and permutations")
        command.add_argument("--seed", type=seed_number, default=0, help="of the cohorts and the resampling")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(read_arguments(sys.argv[1:]))
