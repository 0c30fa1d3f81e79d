"""`python -m training.benchmark biased-mnist`: tune every candidate with one budget, train it over seeds, print the table."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from training.benchmark.biased_mnist.candidates import Candidate
from training.benchmark.biased_mnist.execution import Place, run_all, settings_of
from training.benchmark.biased_mnist.protocol import PROTOCOLS, TRIALS, TUNING_SEED, Protocol
from training.benchmark.biased_mnist.records import Job, append_record, key_of, pending, read_records
from training.console.commandline import Parser
from training.methods import METHODS


def add_arguments(parser: Parser) -> None:
    """The options of the sub-command."""
    parser.add_argument(
        "--protocol", choices=tuple(PROTOCOLS), default="short", help="full: the papers'; short: fits two CPU cores"
    )
    parser.add_argument("--rho", type=float, nargs="+", help="correlations; default those of the protocol")
    parser.add_argument(
        "--method", nargs="+", default=list(METHODS), help="METHOD or METHOD:SETTING=VALUE,... (end:form=absolute)"
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of runs of each, from seed 0")
    parser.add_argument(
        "--trials", type=int, default=TRIALS, help=f"settings tried per method (seed {TUNING_SEED}); 1: defaults only"
    )
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST; default torchvision's copy in data/mnist")
    parser.add_argument(
        "--record",
        type=Path,
        help="JSON lines file, one line per finished run; default runs/biased_mnist_PROTOCOL.jsonl",
    )
    parser.add_argument("--jobs", type=int, default=1, help="trainings per device at the same time")
    parser.add_argument("--device", default="auto", help="auto takes every CUDA device, else the CPU")


def biased_mnist(options: argparse.Namespace) -> None:
    """Run what has no record yet, then print the tables."""
    from training.benchmark.biased_mnist.table import agreement, table_of  # brings scipy, which --help does without

    protocol = PROTOCOLS[options.protocol]
    for name in ("seeds", "trials", "jobs"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} {getattr(options, name)}: must be 1 or more")
    candidates = [Candidate.parse(text) for text in options.method]
    rhos = options.rho or protocol.rhos
    path = options.record or Path("runs") / f"biased_mnist_{protocol.name}.jsonl"
    if path.is_dir():
        raise ValueError(f"--record {path}: this is a folder; name a file in it")
    records = read_records(path)
    plan = Plan(protocol, candidates, rhos, range(options.seeds), options.trials, records)
    for job in plan.everything():
        settings_of(job)  # a setting that doesn't exist or is out of range shows before anything is trained
    console = Console()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
    with bar:
        note = f"the first of {plan.left} to come" if plan.left else ""
        task = bar.add_task("trainings", total=plan.total, completed=plan.total - plan.left, note=note)
        for record in run_all(plan.ready(), plan.after, Place(options.data_dir, options.jobs, options.device)):
            append_record(path, record)
            bar.update(task, completed=plan.total - plan.left, note=_note(record))
    for rho in rhos:
        console.print(table_of(plan.records, candidates, protocol, rho))
        console.print(agreement(plan.records, candidates, protocol, rho), highlight=False)
    for record in plan.records:
        if "failed" in record and record["stage"] == "run":
            console.print(_note(record), style="yellow", markup=False)
    console.print(
        "Mean ± standard deviation over seeds. The epoch was chosen by accuracy on validation digits of rho 0.1, as in "
        "the papers; 'last epoch' uses no such digits. rho = 0 and rho = 1: the test digits in another and in their own "
        f"colour. Colour leak: linear probe within each digit, 10 = none. Every run is in {path}. Synthetic images: these "
        "numbers say nothing about any patient or hospital.",
        highlight=False,
    )


class Plan:
    """Which jobs there are, and which can start: the runs of a candidate wait for its trials.

    Args:
        trials: settings tried of each candidate; 1 keeps its defaults, untried.
        records: of earlier commands; those of this one are added.
    """

    def __init__(
        self, protocol: Protocol, candidates: list[Candidate], rhos: Sequence[float], seeds: range, trials: int,
        records: list[dict[str, Any]],
    ) -> None:  # fmt: skip
        self.protocol, self.candidates, self.rhos, self.seeds = protocol, candidates, rhos, seeds
        self.trials, self.records = trials, records

    def everything(self) -> Iterator[Job]:
        """Every trial, and the first run of each candidate as its defaults have it."""
        for rho in self.rhos:
            for candidate in self.candidates:
                yield from self._trials(candidate, rho)
                yield Job(self.protocol.name, candidate, rho, 0, "run")

    @property
    def total(self) -> int:
        """Number of trials and runs, finished ones included."""
        trials = sum(len(self._trials(candidate, rho)) for candidate in self.candidates for rho in self.rhos)
        return trials + len(self.candidates) * len(self.rhos) * len(self.seeds)

    @property
    def left(self) -> int:
        """Number of those without a record."""
        left = 0
        for rho in self.rhos:
            for candidate in self.candidates:
                open_trials = pending(self._trials(candidate, rho), self.records)
                left += len(open_trials) + len(self.seeds) if open_trials else len(self._runs(candidate, rho))
        return left

    def ready(self) -> list[Job]:
        """What can start before anything else has finished: trials first, for runs wait for them."""
        trials, runs = [], []
        for rho in self.rhos:
            for candidate in self.candidates:
                open_trials = pending(self._trials(candidate, rho), self.records)
                trials += open_trials
                runs += [] if open_trials else self._runs(candidate, rho)
        return trials + runs

    def after(self, job: Job, record: dict[str, Any]) -> list[Job]:
        """The runs of a candidate, once its last trial is done."""
        self.records.append(record)
        if job.stage != "trial" or pending(self._trials(job.candidate, job.rho), self.records):
            return []
        return self._runs(job.candidate, job.rho)

    def _trials(self, candidate: Candidate, rho: float) -> list[Job]:
        settings = candidate.trials()[: self.trials]
        if len(settings) < 2:  # nothing to choose between
            return []
        return [Job(self.protocol.name, candidate, rho, TUNING_SEED, "trial", chosen) for chosen in settings]

    def _runs(self, candidate: Candidate, rho: float) -> list[Job]:
        chosen = self._best(candidate, rho)
        return pending(
            [Job(self.protocol.name, candidate, rho, seed, "run", chosen) for seed in self.seeds], self.records
        )

    def _best(self, candidate: Candidate, rho: float) -> dict[str, float]:
        """The hyper-parameters of the trial that validation digits of rho 0.1 liked most."""
        keys = {job.key for job in self._trials(candidate, rho)}
        tried = [record for record in self.records if record["stage"] == "trial" and key_of(record) in keys]
        best = max(tried, key=lambda record: record.get("validation_accuracy") or -1.0, default=None)
        return dict(best["chosen"]) if best else {}


def _note(record: dict[str, Any]) -> str:
    name = record["method"] + (f":{record['variant']}" if record["variant"] else "")
    split = "validation" if record["stage"] == "trial" else "unbiased"
    outcome = record.get("failed") or f"{split} {100 * record[f'{split}_accuracy']:.1f} %"
    return f"{name} {record['stage']} rho {record['rho']:g} seed {record['seed']}: {outcome}, {record['seconds']:.0f} s"
