"""What is compared: a method, or the recipe that needs no run to start from, with some settings fixed.

A candidate is written `METHOD[:SETTING=VALUE[,SETTING=VALUE]]`: `end:form=absolute`, `erm:sampler=balanced`. Settings are
those of the method or of the run. A part without `=` goes on with the value before it: `end:bias=source,view:0.5,beta=2`.
`head` is a head on the frozen layers of published weights (`training.recipe.head`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from datasets.film.identity import hash_key
from training.console.commandline import fields_of, is_number
from training.methods import METHODS
from training.run.config import TrainConfig

if TYPE_CHECKING:
    from datasets.cohort.films import Cohort
    from training.run.report import RunResult

HEAD = "head"


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
        if method not in METHODS and method != HEAD:
            raise ValueError(f"--method {text}: there is no method {method}; choose from {', '.join([*METHODS, HEAD])}")
        kinds = fields_of(TrainConfig) | (fields_of(METHODS[method].parameters) if method in METHODS else {})
        fixed, parts = [], list[str]()
        for part in filter(None, rest.split(",")):
            if "=" in part or not parts:
                parts.append(part)
            else:
                parts[-1] += f",{part}"
        for part in parts:
            name, equals, value = part.partition("=")
            name = name.strip().replace("-", "_")
            if not equals or name not in kinds:
                raise ValueError(f"--method {text}: {part} is no SETTING=VALUE of {method} or of a run")
            try:
                read = yaml.safe_load(value)
            except (yaml.YAMLError, RecursionError):
                raise ValueError(f"--method {text}: {value} is no value of {name}") from None
            if kinds[name] is float and is_number(read):
                read = float(read)
            if not isinstance(read, kinds[name]):
                raise ValueError(f"--method {text}: {name} must be of type {kinds[name].__name__}")
            fixed.append((name, read))
        return cls(method, tuple(fixed))

    @property
    def trained_as(self) -> str:
        """The method whose settings it has: a head's are those of plain training."""
        return "erm" if self.method == HEAD else self.method

    def settings(self, given: TrainConfig) -> TrainConfig:
        """The settings of its run; raises ValueError for one that doesn't exist or is out of range."""
        config = given.with_settings(**dict(self.fixed) | {"method": self.trained_as})
        if self.method == HEAD and not (config.pretrained or config.weights):
            raise ValueError("head is fitted to the layers of published weights: give --weights or --pretrained")
        return config

    def obtain(self, config: TrainConfig, cohort: "Callable[[], Cohort]") -> "RunResult":
        """Its finished run: a training is found or resumed where it was begun, a head is fitted anew.

        Args:
            config: of its run, as `settings` makes it.
            cohort: loads the films; called only when something is to be done.
        """
        # Imported when something is done, so that the commands' own mistakes are told at once.
        from training.loop.obtain import conclude, obtain
        from training.recipe.head import fit_new_head, freeze, settings_of_head

        if self.method != HEAD:
            return obtain(config, cohort)
        config = settings_of_head(config, None)
        frozen = freeze(config, None, None)
        films = cohort()
        config.output.mkdir(parents=True, exist_ok=True)
        hash_key(config.output, config.hash_key)
        run = fit_new_head(frozen, films, config, None)
        conclude([run])
        return run
