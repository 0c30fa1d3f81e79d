"""Ctrl-C, `kill` and a scheduler's pre-emption: the training is saved, and the program ends with a code of its own.

The first SIGINT or SIGTERM is remembered, and the loop answers it where it has something whole to save; outside of the loop
there is nothing to save, and it ends the program at once with the same code. A second one, a moment later, kills. The
moment is there because schedulers and torchrun pass one signal on several times.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_SAVED = 75  # EX_TEMPFAIL of sysexits.h: the same command with --resume auto continues
SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO = 2.0  # seconds in which a signal counts as the first one's echo


class InterruptedTrainingError(KeyboardInterrupt):
    """A training that was told to stop, and whose state is saved; the message says where."""


class Interruption:
    """Catches the signals while its block runs, in the main thread; elsewhere it does nothing.

    A signal that the block came to its end without answering is passed on to whoever listened before.

    Attributes:
        asked: name of the signal that came; empty while there was none.
    """

    def __init__(self) -> None:
        self.asked, self.since, self.at_once = "", 0.0, False

    def __enter__(self) -> "Interruption":
        self.handlers = {}
        if threading.current_thread() is threading.main_thread():
            self.handlers = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        if self.handlers and self.asked and exception[0] is None:
            signal.raise_signal(signal.Signals[self.asked])

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Where nothing is half done, a signal raises InterruptedTrainingError at once, also one that came before."""
        self.at_once = True
        try:
            if self.asked:
                raise self._at_once()
            yield
        finally:
            self.at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            if time.monotonic() - self.since > ECHO:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        self.asked, self.since = signal.Signals(number).name, time.monotonic()
        if self.at_once:
            raise self._at_once()

    def _at_once(self) -> InterruptedTrainingError:
        return InterruptedTrainingError(
            f"stopped by {self.asked} outside of the training itself; the same command with --resume auto continues from "
            "the saved state, or begins"
        )


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """A signal ends the block with InterruptedTrainingError: for all that is not the loop, and has nothing to save."""
    with Interruption() as interruption, interruption.raising():
        yield


def ignore_signals(worker: int) -> None:
    """For the processes of a DataLoader, which a terminal or a scheduler signals too: they end when their parent says so."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
