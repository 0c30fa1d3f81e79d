"""What tells the runs of the benchmark from one another, in its record."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from training.methods import METHODS
from training.recipe.candidate import Candidate
from training.run.record import read_lines


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        seed: of the digits drawn, their colours, the split, the initial weights and the order.
        stage: `trial` of the tuning, or `run` of the table.
        chosen: the hyper-parameters, where they are not the defaults.
    """

    protocol: str
    candidate: Candidate
    rho: float
    seed: int
    stage: str
    chosen: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What tells the job from any other."""
        return key_of(self.line())

    def line(self) -> dict[str, Any]:
        """The part of its record that says what was trained; `form` is EnD's, null for other methods."""
        defaults = {field.name: field.default for field in fields(METHODS[self.candidate.method].parameters)}
        form = dict(self.candidate.fixed).get("form", defaults.get("form"))
        return {
            "protocol": self.protocol, "stage": self.stage, "method": self.candidate.method,
            "variant": self.candidate.variant, "form": form, "rho": self.rho, "seed": self.seed, "chosen": self.chosen,
        }  # fmt: skip


def key_of(record: dict[str, Any]) -> str:
    """`Job.key` of the job that a record is of."""
    chosen = json.dumps(record["chosen"], sort_keys=True)
    return f"{record['protocol']} {name_of(record)} {record['rho']} {record['seed']} {record['stage']} {chosen}"


def name_of(record: dict[str, Any]) -> str:
    """`Candidate.name` of the job that a record is of."""
    return f"{record['method']}:{record['variant']}" if record["variant"] else str(record["method"])


def read_records(path: Path) -> list[dict[str, Any]]:
    """The finished runs, see `read_lines`."""
    return read_lines(path, key_of)


def pending(jobs: Iterable[Job], records: Iterable[dict[str, Any]]) -> list[Job]:
    """The jobs that have no record yet, each once."""
    recorded = {key_of(record) for record in records}
    return list({job.key: job for job in jobs if job.key not in recorded}.values())
