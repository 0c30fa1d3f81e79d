"""A method beside ERM over seeds: differences with intervals, over seeds and over patients."""

import json
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Column, Table

from training.bias.numbers.auroc import auroc_difference, auroc_interval
from training.bias.numbers.uncertainty import seed_interval
from training.bias.report.plain import plain
from training.loop.obtain import obtain
from training.loop.prepare import prepare
from training.run.checkpoint import load_checkpoint
from training.run.config import parse, public_settings
from training.run.report import RunResult, machine

PAIRED_METRICS = (
    ("test", "auroc"), ("test", "conflicting_accuracy"), ("test", "worst_group_accuracy"), ("test", "leak"),
    ("external", "auroc"),
)  # fmt: skip


def paired(forwarded: Sequence[str], seeds: Sequence[int], resplit: bool, record: Path | None) -> None:
    """Train both methods with every seed, each with a split of its own to `resplit`; print the table, and record it.

    Args:
        forwarded: flags of training.train.
    """
    console = Console()
    runs: list[tuple[RunResult, RunResult]] = []
    given = parse(forwarded)
    if given.method == "erm":
        raise ValueError("paired sets a method beside ERM: choose another --method")
    for seed in seeds:
        config = given.with_settings(seed=seed, split_seed=seed if resplit else given.split_seed)
        films = cache(partial(prepare, config, console))
        console.print(f"[bold]seed {seed}[/bold]", highlight=False)
        erm = obtain(config.with_settings(method="erm"), films)
        runs.append((erm, obtain(config, films)))

    table = _table("", "erm", config.method, "difference", "95 % over seeds", "seeds in favour")
    table.title = f"{config.method} against erm over {len(runs)} seeds; {machine()}"
    rows = []
    for part, name in PAIRED_METRICS:
        pair = np.array([[run.metrics[part].get(name, np.nan) for run in both] for both in runs])
        pair = pair[~np.isnan(pair).any(axis=1)]
        if not len(pair):
            continue
        gaps = pair[:, 1] - pair[:, 0]
        interval = seed_interval(gaps)
        favour = int(((gaps < 0) if name == "leak" else (gaps > 0)).sum())
        spread = pair.std(axis=0, ddof=1) if len(pair) > 1 else np.full(2, np.nan)
        cells = [f"{mean:.3f} ± {sd:.3f}" for mean, sd in zip(pair.mean(0), spread, strict=True)]
        span = f"{interval.low:+.3f} to {interval.high:+.3f}"
        heading = f"{part} {name.replace('_', ' ')}"
        table.add_row(heading, *cells, f"{interval.estimate:+.3f}", span, f"{favour} of {len(pair)}")
        row = {"split": part, "metric": name, "erm": pair[:, 0].tolist(), config.method: pair[:, 1].tolist()}
        rows.append(row | {"difference": plain(interval), "in_favour": favour})
    console.print(table)
    synthetic = runs[0][0].synthetic
    if synthetic:
        console.print("SYNTHETIC images: these numbers say nothing about any patient or hospital.")

    values: dict[str, Any] = {"machine": machine(), "seeds": list(seeds), "resplit": resplit}
    values |= {"synthetic": synthetic, "settings": public_settings(config), "rows": rows}
    if not resplit:  # one test set for all seeds: patients can be resampled
        tables = [[pd.read_parquet(run.folder / "predictions.parquet") for run in both] for both in runs]
        positive = load_checkpoint(runs[0][0].folder).info.positive_name
        values["patients"] = _by_patient(tables, positive, config.method, console)
    values["runs"] = [{**run.as_json(), "folder": run.folder.name} for both in runs for run in both]
    if record:
        record.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        console.print(f"recorded in {record}")


def _table(*headings: str) -> Table:
    return Table(*(Column(heading, justify="right") for heading in headings), title_justify="left")


def _by_patient(
    pairs: list[list[pd.DataFrame]], positive: str | None, method: str, console: Console
) -> list[dict[str, Any]]:
    """AUROC with patient intervals, averaged over seeds, over each part and within each source of both classes."""
    first = pairs[0][0]
    if positive is None:
        return []
    parts = [(f"{split}, all sources", first["split"] == split) for split in ("test", "external")]
    for (split, source), rows in first.groupby(["split", "source"]):
        if split in ("test", "external") and rows["target"].nunique() > 1:
            parts.append((f"{split}, within {source}", (first["split"] == split) & (first["source"] == source)))
    table = _table("", "films", "patients", "erm", method, "difference", "detectable", "verdict")
    table.title = "AUROC, mean over seeds, 95 % bootstrap over patients"
    comparisons = []
    for name, chosen in parts:
        if not chosen.any():
            continue
        films = first[chosen]
        is_positive, patient = (films["target"] == positive).to_numpy(), films["patient"].to_numpy()
        erm, ours = (np.stack([both[i]["score"][chosen].to_numpy() for both in pairs], axis=1) for i in (0, 1))
        alone = [auroc_interval(is_positive, scores, patient) for scores in (erm, ours)]
        gap, detectable = auroc_difference(is_positive, ours, erm, patient)
        verdict = "better" if gap.low > 0 else "worse" if gap.high < 0 else "cannot conclude"
        counts = {"films": len(films), "patients": len(set(patient))}
        numbers = {"erm": alone[0], method: alone[1], "difference": gap, "detectable": detectable}
        comparisons.append({"part": name, **counts, **plain(numbers), "verdict": verdict})
        spans = [f"{interval:.3f}" for interval in alone]
        smallest = f"{detectable:.2f}" if np.isfinite(detectable) else ""
        table.add_row(name, *map(str, counts.values()), *spans, f"{gap:+.3f}", smallest, verdict)
    console.print(table)
    return comparisons
