"""A pickle that would run code, for tests that plant it where something is loaded."""

from pathlib import Path
from typing import Any


class Planted:
    """Unpickling this leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))
