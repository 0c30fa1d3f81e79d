"""`python -m training.benchmark biased-mnist`: tune every candidate with one budget, train it over seeds, print the table."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from training.benchmark.biased_mnist.execution import run_all, settings_of
from training.benchmark.biased_mnist.protocol import PROTOCOLS, TRIALS, TUNING_SEED, Protocol
from training.benchmark.biased_mnist.records import Job, key_of, name_of, pending, read_records
from training.benchmark.biased_mnist.trials import settings_to_try
from training.console.commandline import Parser
from training.methods import METHODS
from training.recipe.candidate import Candidate
from training.run.record import append_line


def add_arguments(parser: Parser) -> None:
    """The options of the sub-command."""
    add = parser.add_argument
    add("--protocol", choices=tuple(PROTOCOLS), default="short", help="full: the papers'; short: fits two CPU cores")
    add("--rho", type=float, nargs="+", help="correlations; default those of the protocol")
    help = "METHOD or METHOD:SETTING=VALUE,... (end:form=absolute)"
    add("--method", nargs="+", default=list(METHODS), help=help)
    add("--seeds", type=int, default=5, help="number of runs of each, from seed 0")
    help = f"settings tried per method (seed {TUNING_SEED}); 1: defaults only"
    add("--trials", type=int, default=TRIALS, help=help)
    add("--data-dir", type=Path, help="folder of MNIST; default torchvision's copy in data/mnist")
    help = "JSON lines file, one line per finished run; default runs/biased_mnist_PROTOCOL.jsonl"
    add("--record", type=Path, help=help)
    add("--jobs", type=int, default=1, help="trainings per device at the same time")
    add("--device", default="auto", help="auto takes every CUDA device, else the CPU")


def biased_mnist(
    protocol: str, rho: list[float] | None, method: list[str], seeds: int, trials: int, data_dir: Path | None,
    record: Path | None, jobs: int, device: str,
) -> None:  # fmt: skip
    """Run what has no record yet, then print the tables; see `add_arguments`."""
    from training.benchmark.biased_mnist.table import agreement, table_of  # brings scipy, which --help does without

    for name, number in (("seeds", seeds), ("trials", trials), ("jobs", jobs)):
        if number < 1:
            raise ValueError(f"--{name} {number}: must be 1 or more")
    recipe, candidates = PROTOCOLS[protocol], [Candidate.parse(text) for text in method]
    rhos = rho or list(recipe.paper)
    path = record or Path("runs") / f"biased_mnist_{protocol}.jsonl"
    plan = Plan(recipe, candidates, rhos, range(seeds), trials, read_records(path))
    for job in plan.everything():
        settings_of(job)  # a setting that doesn't exist or is out of range shows before anything is trained
    console = Console()
    description, note_column = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
    columns = (description, BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(), note_column)
    with Progress(*columns, console=Console(stderr=True)) as bar:
        note = f"the first of {plan.left} to come" if plan.left else ""
        task = bar.add_task("trainings", total=plan.total, completed=plan.total - plan.left, note=note)
        for line in run_all(plan.ready(), plan.after, data_dir, jobs, device):
            append_line(path, line)
            bar.update(task, completed=plan.total - plan.left, note=_note(line))
    for correlation in rhos:
        console.print(table_of(plan.records, candidates, recipe, correlation))
        console.print(agreement(plan.records, candidates, recipe, correlation), highlight=False)
    for line in plan.records:
        if "failed" in line and line["stage"] == "run":
            console.print(_note(line), style="yellow", markup=False)
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
        self.protocol, self.cells, self.seeds = protocol, [(c, rho) for rho, c in product(rhos, candidates)], seeds
        self.trials, self.records = trials, records

    def everything(self) -> Iterator[Job]:
        """Every trial, and the first run of each candidate as its defaults have it."""
        for cell in self.cells:
            yield from self._trials(*cell)
            yield Job(self.protocol.name, *cell, 0, "run")

    @property
    def total(self) -> int:
        """Number of trials and runs, finished ones included."""
        return sum(len(self._trials(*cell)) + len(self.seeds) for cell in self.cells)

    @property
    def left(self) -> int:
        """Number of those without a record."""
        left = 0
        for cell in self.cells:
            trials = self._open_trials(*cell)
            left += len(trials) + len(self.seeds) if trials else len(self._runs(*cell))
        return left

    def ready(self) -> list[Job]:
        """What can start before anything else has finished: trials first, for runs wait for them."""
        trials = [self._open_trials(*cell) for cell in self.cells]
        runs = [self._runs(*cell) for cell, open_ in zip(self.cells, trials, strict=True) if not open_]
        return [job for jobs in (*trials, *runs) for job in jobs]

    def after(self, job: Job, record: dict[str, Any]) -> list[Job]:
        """The runs of a candidate, once its last trial is done."""
        self.records.append(record)
        if job.stage != "trial" or self._open_trials(job.candidate, job.rho):
            return []
        return self._runs(job.candidate, job.rho)

    def _open_trials(self, candidate: Candidate, rho: float) -> list[Job]:
        return pending(self._trials(candidate, rho), self.records)

    def _trials(self, candidate: Candidate, rho: float) -> list[Job]:
        settings = settings_to_try(candidate)[: self.trials]
        if len(settings) < 2:  # nothing to choose between
            return []
        return [Job(self.protocol.name, candidate, rho, TUNING_SEED, "trial", chosen) for chosen in settings]

    def _runs(self, candidate: Candidate, rho: float) -> list[Job]:
        chosen, name = self._best(candidate, rho), self.protocol.name
        return pending((Job(name, candidate, rho, seed, "run", chosen) for seed in self.seeds), self.records)

    def _best(self, candidate: Candidate, rho: float) -> dict[str, float]:
        """The hyper-parameters of the trial that validation digits of rho 0.1 liked most."""
        keys = {job.key for job in self._trials(candidate, rho)}
        tried = [record for record in self.records if record["stage"] == "trial" and key_of(record) in keys]
        best = max(tried, key=lambda record: record.get("validation_accuracy") or -1.0, default=None)
        return dict(best["chosen"]) if best else {}


def _note(record: dict[str, Any]) -> str:
    split = "validation" if record["stage"] == "trial" else "unbiased"
    outcome = record.get("failed") or f"{split} {100 * record[f'{split}_accuracy']:.1f} %"
    job = f"{name_of(record)} {record['stage']} rho {record['rho']:g} seed {record['seed']}"
    return f"{job}: {outcome}, {record['seconds']:.0f} s"
