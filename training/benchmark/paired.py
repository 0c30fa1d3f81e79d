"""Methods beside ERM over seeds: differences with intervals over patients and seeds."""

import json
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from rich.console import Console

from datasets.cohort.parquet_table import read_parquet
from datasets.files import write_text
from training.benchmark.compared import Row, over_patients, over_seeds
from training.bias.numbers.two_level import judged
from training.bias.report.plain import plain
from training.console.differences import Compared, difference_table, said_of_differences
from training.console.messages import SYNTHETIC
from training.loop.prepare import decode, draw
from training.recipe.candidate import Candidate
from training.run.checkpoint import load_checkpoint
from training.run.config import TrainConfig, parse, public_settings
from training.run.report import RunResult, machine

PAIRED_METRICS = (
    ("test", "auroc"), ("test", "conflicting_accuracy"), ("test", "worst_group_accuracy"), ("test", "leak"),
    ("external", "auroc"),
)  # fmt: skip
# A least value and a probe are no sums over patients: seeds alone judge these, also on one test set.
BY_SEEDS_ALONE = ("worst_group_accuracy", "leak")
ERM = Candidate("erm")


def paired(
    forwarded: Sequence[str],
    method: Sequence[str],
    seeds: Sequence[int],
    redraw: float | None,
    resplit: bool,
    record: Path | None,
    same_batches: bool = False,
) -> None:
    """Train ERM and every method with every seed; print the table, and record it.

    Args:
        forwarded: flags of training.train.
        method: candidates as they are written, see `training.recipe.candidate`.
        redraw: share of the training patients that each seed draws; None for 0.8, or for all with `resplit`.
        resplit: each seed has a split of its own (its own phantom cohort), so that no patient is common to all.
        same_batches: ERM trains on batches drawn as those of the methods, so that the difference is of the method alone.
    """
    console = Console()
    candidates = candidates_of(method)
    given = parse(forwarded, methods_of(candidates))
    plain_training = plain_twin(candidates, given, same_batches)
    share = redraw if redraw is not None else 1.0 if resplit else 0.8
    runs = list[list[RunResult]]()  # of each seed: ERM, then every method
    shared = cache(partial(decode, given, console))  # one pool of films for all seeds
    for number, seed in enumerate(seeds):
        config = given.with_settings(seed=seed, split_seed=seed if resplit else given.split_seed, redraw=share)
        console.print(f"[bold]seed {seed}[/bold]", highlight=False)
        shown = console if resplit or not number else Console(quiet=True)
        films = cache(partial(_drawn, config, None if resplit else shared, shown))
        runs.append([one.obtain(one.settings(config), films) for one in [plain_training, *candidates]])

    rows = [(one.name, row) for i, one in enumerate(candidates, 1) for row in _rows(runs, i, one.name, resplit)]
    judgements = judged([row.difference for _, row in rows], [row.metric == "leak" for _, row in rows])
    found = [
        {"method": name} | row.as_json() | plain(judgement._asdict())
        for (name, row), judgement in zip(rows, judgements, strict=True)
    ]
    names = [one.name for one in candidates]
    batches = f" on the same batches ({plain_training.settings(given).sampler})" if same_batches else ""
    _show(f"{', '.join(names)} against erm{batches} over {len(runs)} seeds", found, names, console)
    console.print(machine(), highlight=False)
    synthetic = runs[0][0].synthetic
    if synthetic:
        console.print(SYNTHETIC, style="bold black on yellow")

    values: dict[str, Any] = {"machine": machine(), "seeds": list(seeds), "redraw": share, "resplit": resplit}
    values |= {"same_batches": same_batches, "synthetic": synthetic}
    values["settings"] = {one.name: public_settings(one.settings(config)) for one in candidates}
    values |= {"rows": found, "runs": [{**run.as_json(), "folder": run.folder.name} for of in runs for run in of]}
    if record:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_text(record, json.dumps(values, indent=1, allow_nan=False) + "\n")
        console.print(f"recorded in {record}")


def candidates_of(method: Sequence[str]) -> list[Candidate]:
    """The methods that are set beside ERM; raises ValueError where plain ERM is one of them, or one is no method."""
    candidates = list(dict.fromkeys(map(Candidate.parse, method)))
    if ERM in candidates:
        raise ValueError("paired sets methods beside ERM: choose another --method")
    return candidates


def methods_of(candidates: Sequence[Candidate]) -> list[str]:
    """The methods whose flags the command takes."""
    return list(dict.fromkeys(["erm", *(one.trained_as for one in candidates)]))


def plain_twin(candidates: Sequence[Candidate], given: TrainConfig, same_batches: bool) -> Candidate:
    """What the methods are set beside; raises ValueError for settings out of range, or batches of several kinds."""
    samplers = sorted({one.settings(given).sampler for one in candidates})
    if not same_batches:
        return ERM
    if len(samplers) > 1:
        raise ValueError(
            f"--same-batches: the methods draw batches in different ways ({', '.join(samplers)}); give one --sampler"
        )
    return Candidate("erm", (("sampler", samplers[0]),))


def _rows(runs: Sequence[Sequence[RunResult]], method: int, name: str, resplit: bool) -> list[Row]:
    """What is compared of ERM, which is first among each seed's runs, and the method at that place."""
    pairs = [(of[0], of[method]) for of in runs]
    by_seed = [row for part, metric in PAIRED_METRICS if (row := over_seeds(pairs, name, part, metric)) is not None]
    if resplit:
        return by_seed
    tables = [
        [read_parquet(run.folder / "predictions.parquet") for run in both] for both in pairs
    ]  # one test set for all
    by_patient = over_patients(tables, load_checkpoint(pairs[0][0].folder).info.positive_name, name)
    return [*by_patient, *(row for row in by_seed if row.metric in BY_SEEDS_ALONE)]


def _drawn(config: TrainConfig, pool: Any, console: Console) -> Any:
    return draw(config, pool() if pool else decode(config, console), console)


def _show(title: str, rows: Sequence[dict[str, Any]], methods: Sequence[str], console: Console) -> None:
    compared = []
    for part, metric, over in dict.fromkeys((row["part"], row["metric"], row["over"]) for row in rows):
        of = {row["method"]: row for row in rows if (row["part"], row["metric"], row["over"]) == (part, metric, over)}
        first = next(iter(of.values()))
        heading = part if metric == "auroc" and over != "seeds" else f"{part} {metric}"
        below = f"{first['patients']} patients" if "patients" in first else "over seeds"
        if "in_favour" in first and len(methods) == 1:
            below += f", {first['in_favour']} of {len(first['by_seed']['erm'])} gain"
        own = {"erm": first["erm"]} | {name: row[name] for name, row in of.items()}
        against = {
            name: {key: row[key] for key in ("p_holm", "detectable", "verdict")} | row["difference"]
            for name, row in of.items()
        }
        compared.append(Compared(f"{heading.replace('_', ' ')}\n{below}", own, against))
    console.print(difference_table(title, "mean, 95 %", compared))
    console.print(said_of_differences(compared), highlight=False)
    console.print("Without a metric's name: AUROC. Intervals are over patients and seeds, unless they say over seeds.")
