"""The notices that every output carries, a user's mistake as one sentence in place of a traceback, a bar of progress."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.console.interruption import EXIT_SAVED, InterruptedTrainingError

RESEARCH_ONLY = "For research. Not a medical device; scores are model scores, not diagnoses."
SYNTHETIC = " SYNTHETIC images: these numbers say nothing about any patient or hospital. "
ERRORS = Console(stderr=True, emoji=False)  # a site may be called a:x:b


@contextmanager
def mistakes_as_sentences(interrupted: str) -> Iterator[None]:
    """End the program with the sentence of a user's mistake in place of a traceback: exit 2.

    A training that was told to stop and is saved exits with 75 (`EXIT_SAVED`), anything else that is interrupted with 130.
    """
    try:
        yield
    except (ValueError, OSError) as error:  # ours are all ValueErrors; timm's and the system's are sentences too
        ERRORS.print(f"error: {in_words(error)}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(2) from None
    except InterruptedTrainingError as stopped:
        ERRORS.print(str(stopped), markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(EXIT_SAVED) from None
    except KeyboardInterrupt:
        ERRORS.print(interrupted, markup=False, soft_wrap=True)
        raise SystemExit(130) from None


def in_words(error: Exception) -> str:
    """What an error says; of a file that the system refuses, without the error's number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a copy, then, the new file is refused
        return f"{error.filename2 if full and error.filename2 else error.filename} can't be written or read: {error.strerror}"
    return str(error)


def progress_bar() -> Progress:
    """How many of how many, and the time left; on stderr."""
    bar, count = BarColumn(30), MofNCompleteColumn()
    return Progress(TextColumn("{task.description}"), bar, count, TimeRemainingColumn(), console=ERRORS)
