"""The stages of a long command: a bar for each on a terminal; elsewhere lines, for a log or the app that started it."""

import re
import time
from collections.abc import Callable

from rich.progress import Progress

from training.console.messages import ERRORS, progress_bar

EVERY = 2.0  # seconds between two lines of one stage, at least
LINE = re.compile(r"^progress: (?P<stage>.+)$", re.MULTILINE)


class Stages:
    """Shows how far each stage is, and the time it has left; use as a context manager."""

    def __init__(self) -> None:
        """Bars on stderr where that is a terminal."""
        self._bars: Progress | None = progress_bar() if ERRORS.is_terminal else None

    def __enter__(self) -> "Stages":
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def begin(self, name: str, total: int) -> Callable[..., None]:
        """Start a stage of so many steps; the result is called with the steps done since, and what the next one is."""
        began, shown, done = time.monotonic(), 0.0, 0
        task = self._bars.add_task(name, total=total) if self._bars is not None else None

        def advance(steps: int = 1, what: str = "") -> None:
            nonlocal shown, done
            done += steps
            title = f"{name}: {what}" if what else name
            if self._bars is not None and task is not None:
                self._bars.update(task, advance=steps, description=title)
            elif (now := time.monotonic()) - shown >= EVERY or done >= total:
                shown = now
                left = (now - began) / done * (total - done) if done else None
                rest = f", about {left:.0f} s left" if left else ""
                ERRORS.print(
                    f"progress: {title} {done:,} of {total:,}{rest}", markup=False, highlight=False, soft_wrap=True
                )

        advance(0)
        return advance


def last_stage(text: str) -> str:
    """What the last line of progress in a command's stderr says; empty without any."""
    lines = LINE.findall(text)
    return lines[-1] if lines else ""
