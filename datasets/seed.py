"""The seeds that commands take: those that every library behind them takes."""

import argparse
from typing import Any

LARGEST = 2**32 - 1  # scikit-learn's
WORDS = f"a whole number from 0 to {LARGEST}"


def seed_number(text: str) -> int:
    """A seed on the command line, as argparse's `type`."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= LARGEST:
        raise argparse.ArgumentTypeError(f"{text}: {WORDS}")
    return value


class DifferentSeeds(argparse.Action):
    """Seeds in a row, each once: a second run of one would be the first again."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, flag: str | None = None) -> None:
        """Keep them, or exit with a sentence."""
        if twice := [seed for number, seed in enumerate(values) if seed in values[:number]]:
            parser.error(f"{flag}: {twice[0]} stands there twice")
        setattr(namespace, self.dest, values)
