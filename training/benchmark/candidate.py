"""What is compared: a method with some settings fixed.

A candidate is written `METHOD[:SETTING=VALUE[,SETTING=VALUE]]`: `end:form=absolute`, `erm:sampler=balanced`. Settings are
those of the method or of the run.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from training.console.commandline import fields_of, is_number
from training.methods import METHODS
from training.run.config import TrainConfig


@dataclass(frozen=True)
class Candidate:
    """A method, with the settings (of the method or the run) that make it another than the method's plain form."""

    method: str
    fixed: tuple[tuple[str, Any], ...] = ()

    @property
    def variant(self) -> str:
        """The settings as they are written, empty for the plain method."""
        return ",".join(f"{name}={yaml.safe_dump(value).splitlines()[0]}" for name, value in self.fixed)

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{self.method}:{self.variant}" if self.fixed else self.method

    @classmethod
    def parse(cls, text: str) -> "Candidate":
        """Read the written form; raises ValueError for no such method or setting, or a value of another type."""
        method, _, rest = text.partition(":")
        if method not in METHODS:
            raise ValueError(f"--method {text}: there is no method {method}; choose from {', '.join(METHODS)}")
        kinds = fields_of(TrainConfig) | fields_of(METHODS[method].parameters)
        fixed = []
        for part in filter(None, rest.split(",")):
            name, equals, value = part.partition("=")
            name = name.strip().replace("-", "_")
            if not equals or name not in kinds:
                raise ValueError(f"--method {text}: {part} is no SETTING=VALUE of {method} or of a run")
            read = yaml.safe_load(value)
            if kinds[name] is float and is_number(read):
                read = float(read)
            if not isinstance(read, kinds[name]):
                raise ValueError(f"--method {text}: {name} must be of type {kinds[name].__name__}")
            fixed.append((name, read))
        return cls(method, tuple(fixed))
