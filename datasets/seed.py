"""The seeds that commands take: those that every library behind them takes."""

import argparse

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
