"""A method beside ERM over seeds: differences with intervals over patients and seeds."""

import json
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from rich.console import Console

from datasets.cohort.parquet_table import read_parquet
from datasets.files import write_text
from training.benchmark.compared import over_patients, over_seeds
from training.bias.numbers.two_level import judged
from training.bias.report.plain import plain
from training.console.differences import Compared, difference_table, said_of_differences
from training.console.messages import SYNTHETIC
from training.loop.obtain import obtain
from training.loop.prepare import decode, draw
from training.run.checkpoint import load_checkpoint
from training.run.config import TrainConfig, parse, public_settings
from training.run.report import RunResult, machine

PAIRED_METRICS = (
    ("test", "auroc"), ("test", "conflicting_accuracy"), ("test", "worst_group_accuracy"), ("test", "leak"),
    ("external", "auroc"),
)  # fmt: skip
# A least value and a probe are no sums over patients: seeds alone judge these, also on one test set.
BY_SEEDS_ALONE = ("worst_group_accuracy", "leak")


def paired(
    forwarded: Sequence[str],
    seeds: Sequence[int],
    redraw: float | None,
    resplit: bool,
    record: Path | None,
    same_batches: bool = False,
) -> None:
    """Train both methods with every seed; print the table, and record it.

    Args:
        forwarded: flags of training.train.
        redraw: share of the training patients that each seed draws; None for 0.8, or for all with `resplit`.
        resplit: each seed has a split of its own (its own phantom cohort), so that no patient is common to all.
        same_batches: ERM trains on batches drawn as those of the method, so that the difference is of the method alone.
    """
    console = Console()
    given = parse(forwarded)
    if given.method == "erm":
        raise ValueError("paired sets a method beside ERM: choose another --method")
    share = redraw if redraw is not None else 1.0 if resplit else 0.8
    runs = list[tuple[RunResult, RunResult]]()
    shared = cache(partial(decode, given, console))  # one pool of films for all seeds
    for number, seed in enumerate(seeds):
        config = given.with_settings(seed=seed, split_seed=seed if resplit else given.split_seed, redraw=share)
        console.print(f"[bold]seed {seed}[/bold]", highlight=False)
        shown = console if resplit or not number else Console(quiet=True)
        films = cache(partial(_drawn, config, None if resplit else shared, shown))
        plain_training = config.with_settings(method="erm", **({"sampler": config.sampler} if same_batches else {}))
        runs.append((obtain(plain_training, films), obtain(config, films)))

    by_seed = [row for part, name in PAIRED_METRICS if (row := over_seeds(runs, config.method, part, name)) is not None]
    rows = by_seed
    if not resplit:  # one test set for all seeds
        tables = [[read_parquet(run.folder / "predictions.parquet") for run in both] for both in runs]
        by_patient = over_patients(tables, load_checkpoint(runs[0][0].folder).info.positive_name, config.method)
        rows = [*by_patient, *(row for row in by_seed if row.metric in BY_SEEDS_ALONE)]
    judgements = judged([row.difference for row in rows], [row.metric == "leak" for row in rows])
    found = [row.as_json() | plain(judgement._asdict()) for row, judgement in zip(rows, judgements, strict=True)]
    batches = f" on the same batches ({config.sampler})" if same_batches else ""
    _show(f"{config.method} against erm{batches} over {len(runs)} seeds", found, config.method, console)
    console.print(machine(), highlight=False)
    synthetic = runs[0][0].synthetic
    if synthetic:
        console.print(SYNTHETIC, style="bold black on yellow")

    values: dict[str, Any] = {"machine": machine(), "seeds": list(seeds), "redraw": share, "resplit": resplit}
    values |= {"same_batches": same_batches}
    values |= {"synthetic": synthetic, "settings": public_settings(config), "rows": found}
    values["runs"] = [{**run.as_json(), "folder": run.folder.name} for both in runs for run in both]
    if record:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_text(record, json.dumps(values, indent=1, allow_nan=False) + "\n")
        console.print(f"recorded in {record}")


def _drawn(config: TrainConfig, pool: Any, console: Console) -> Any:
    return draw(config, pool() if pool else decode(config, console), console)


def _show(title: str, rows: list[dict[str, Any]], method: str, console: Console) -> None:
    compared = []
    for row in rows:
        heading = (
            row["part"] if row["metric"] == "auroc" and row["over"] != "seeds" else f"{row['part']} {row['metric']}"
        )
        seeds = len(row.get("by_seed", {}).get("erm", ()))
        below = (
            f"{row['patients']} patients" if "patients" in row else f"over seeds, {row['in_favour']} of {seeds} gain"
        )
        own = {name: row[name] for name in ("erm", method)}
        against = {name: row[name] for name in ("p_holm", "detectable", "verdict")} | row["difference"]
        compared.append(Compared(f"{heading.replace('_', ' ')}\n{below}", own, {method: against}))
    console.print(difference_table(title, "mean, 95 %", compared))
    console.print(said_of_differences(compared), highlight=False)
    console.print("Without a metric's name: AUROC. Intervals are over patients and seeds, unless they say over seeds.")
