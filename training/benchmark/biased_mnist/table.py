"""The benchmark's table: mean and standard deviation over seeds, and how far each candidate is from the first."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from rich.table import Table
from scipy.stats import friedmanchisquare

from training.benchmark.biased_mnist.protocol import PUBLISHED, Protocol
from training.bias.numbers.uncertainty import seed_interval
from training.recipe.candidate import Candidate

# Name in a record, and heading; accuracies in per cent.
COLUMNS = (
    ("unbiased_accuracy", "unbiased"),
    ("conflicting_accuracy", "rho = 0"),
    ("biased_accuracy", "rho = 1"),
    ("leak", "colour leak"),
    ("unbiased_accuracy_last_epoch", "last epoch"),
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
    title = f"Biased MNIST, protocol {protocol.name}, rho {rho:g}"
    title += f", {_range(conflicting)} conflicting digits" if conflicting else ""
    paper = protocol.paper.get(rho)
    title += f"; papers: protocol full, rho {paper:g}" if paper and protocol.name != "full" else ""
    table = Table(title=title + "; per cent", title_justify="left")
    table.add_column("method", overflow="fold")
    for heading in (*(text for _, text in COLUMNS), "paper", "s", "seeds", f"minus {candidates[0].name} (95 %)"):
        table.add_column(heading, justify="right", no_wrap=True)
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


def agreement(records: list[dict[str, Any]], candidates: list[Candidate], protocol: Protocol, rho: float) -> str:
    """Whether seeds rank the candidates alike: Kendall's W, 0 for no agreement and 1 for one ranking, with its p.

    Kendall and Babington Smith, The problem of m rankings, 1939; W = chi2 / (seeds (candidates - 1)) of Friedman's test.
    Empty where fewer than three candidates share two seeds.
    """
    runs = [of_seeds(records, candidate, protocol.name, rho) for candidate in candidates]
    runs = [by_seed for by_seed in runs if by_seed]
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in runs))) if runs else []
    if len(runs) < 3 or len(seeds) < 2:
        return ""
    test = friedmanchisquare(*([by_seed[seed]["unbiased_accuracy"] for seed in seeds] for by_seed in runs))
    w = test.statistic / (len(seeds) * (len(runs) - 1))
    return f"rho {rho:g}: {len(seeds)} seeds rank {len(runs)} candidates with Kendall's W {w:.2f} (p {test.pvalue:.1g})"


def _range(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


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
