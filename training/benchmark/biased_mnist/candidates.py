"""What is compared: a method with some settings fixed, and the hyper-parameters that it is tried with.

A candidate is written `METHOD[:SETTING=VALUE[,SETTING=VALUE]]`: `end:form=absolute`, `end:unit_norm=false`. Settings are
those of the method or of the run. Every candidate has the same budget: its defaults, and seven points spread over the ranges
that its method names (Halton's sequence, scrambled; Owen 2017), on a logarithmic scale where a range is above 0.
"""

import dataclasses
import math
import zlib
from dataclasses import dataclass
from typing import Any

import yaml

from training.benchmark.biased_mnist.protocol import TRIALS
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

    def trials(self) -> list[dict[str, float]]:
        """Hyper-parameters to try, the defaults (an empty mapping) first; those alone where the method has no range."""
        from scipy.stats import qmc  # half a second that --help does without

        ranges = {
            field.name: field.metadata["search"]
            for field in dataclasses.fields(METHODS[self.method].parameters)
            if field.metadata["search"] and field.name not in dict(self.fixed)
        }
        if not ranges:
            return [{}]
        seed = zlib.crc32(self.method.encode())  # forms of one method are tried with the same points
        points = qmc.Halton(len(ranges), seed=seed).random(TRIALS - 1)
        return [{}, *({name: _place(u, *ranges[name]) for name, u in zip(ranges, row, strict=True)} for row in points)]


def _place(share: float, low: float, high: float) -> float:
    """The value at this share of the way from low to high, to three digits."""
    value = low * (high / low) ** share if low > 0 else low + share * (high - low)
    return float(f"{value:.3g}") if math.isfinite(value) else value
