"""The benchmark's table: mean and standard deviation over seeds, and how far each candidate is from the first."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from rich.table import Table

from training.bias.uncertainty import seed_interval
from training.biased_mnist.candidates import Candidate
from training.biased_mnist.protocol import PUBLISHED, Protocol

# Name in a record, and heading; accuracies in per cent.
COLUMNS = (
    ("unbiased_accuracy", "unbiased, %"),
    ("conflicting_accuracy", "rho = 0, %"),
    ("biased_accuracy", "rho = 1, %"),
    ("leak", "colour leak, %"),
    ("unbiased_accuracy_last_epoch", "unbiased, last epoch"),
)


def of_seeds(
    records: Iterable[dict[str, Any]], candidate: Candidate, protocol: str, rho: float
) -> dict[int, dict[str, Any]]:
    """The records of a candidate's runs (not of its trials), by seed."""
    return {
        record["seed"]: record
        for record in records
        if (record["method"], record["variant"]) == (candidate.method, candidate.variant)
        and (record["protocol"], record["rho"], record["stage"]) == (protocol, rho, "run")
        and "failed" not in record
    }


def table_of(records: list[dict[str, Any]], candidates: list[Candidate], protocol: Protocol, rho: float) -> Table:
    """One correlation; the last column is the mean difference to the first candidate over the seeds that both have."""
    first = of_seeds(records, candidates[0], protocol.name, rho)
    conflicting = {record["conflicting_digits"] for record in first.values()}
    paper = protocol.paper.get(rho)
    title = f"Biased MNIST, protocol {protocol.name}, rho {rho:g}"
    title += f", {', '.join(map(str, sorted(conflicting)))} conflicting digits" if conflicting else ""
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    beside = "" if protocol.name == "full" else " (full)"
    for heading in (*(text for _, text in COLUMNS), f"paper at {paper:g}{beside}" if paper else "paper"):
        table.add_column(heading, justify="right")
    for heading in ("s a run", "seeds", f"unbiased, minus {candidates[0].name} (95 %)"):
        table.add_column(heading, justify="right")
    for candidate in candidates:
        runs = of_seeds(records, candidate, protocol.name, rho)
        if not runs:
            continue
        cells = [mean_and_sd([run[name] for run in runs.values()]) for name, _ in COLUMNS]
        published = PUBLISHED.get(candidate.method, ("", {}))[1].get(paper or 0.0)
        cells.append(f"{published:.1f}" if published is not None and not candidate.fixed else "")
        cells += [f"{np.median([run['seconds'] for run in runs.values()]):.0f}", str(len(runs))]
        table.add_row(candidate.name, *cells, difference(runs, first) if candidate != candidates[0] else "")
    return table


def mean_and_sd(values: list[float]) -> str:
    """In per cent; the deviation is left out for a single value."""
    mean = f"{100 * np.mean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} ± {100 * np.std(values, ddof=1):.1f}"


def difference(runs: dict[int, dict[str, Any]], reference: dict[int, dict[str, Any]]) -> str:
    """Mean paired difference in points of unbiased accuracy, with Student's interval over the seeds that both have."""
    shared = sorted(runs.keys() & reference.keys())
    if not shared:
        return ""
    gaps = np.array([runs[seed]["unbiased_accuracy"] - reference[seed]["unbiased_accuracy"] for seed in shared])
    interval = seed_interval(100 * gaps)
    if len(shared) < 2:
        return f"{interval.estimate:+.1f}"
    return f"{interval.estimate:+.1f} ({interval.low:+.1f} to {interval.high:+.1f})"
