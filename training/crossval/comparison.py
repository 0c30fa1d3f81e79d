"""AUROC on held-out films, by method, and how far the methods are apart."""

from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from training.bias.numbers.two_level import SeedDifference, auroc_difference_over_seeds, auroc_over_seeds, judged
from training.bias.report.plain import plain
from training.console.differences import Compared, difference_table, said_of_differences
from training.console.messages import SYNTHETIC

SHOWN = 10  # values that were not held out


def compare_held_out(scores: pd.DataFrame, methods: list[str], column: str = "source") -> list[dict[str, Any]]:
    """AUROC by held-out value and pooled, of each method and of its difference to the first, over patients and seeds.

    A pooled row counts only pairs of films of one fold: it depends on ranks within a fold alone, so that scores of
    different models, one a fold, need not share a scale. Another counts only pairs of one source too, where the folds are
    not sources themselves.

    Args:
        scores: a row a film: held_out (the fold's value), source, patient, is_positive, and a column `method:seed` for each
            training.
        column: what was held out, in words.
    """
    fold, source = (scores[name].to_numpy(str) for name in ("held_out", "source"))
    everything = np.ones(len(scores), bool)
    parts = [(name, fold == name, fold) for name in scores["held_out"].unique()]
    if len(parts) > 1:
        parts.append(
            (f"pooled within {column}s" if column == "source" else f"pooled within {column}", everything, fold)
        )
    if column != "source":
        within = np.char.add(np.char.add(fold, "\x1f"), source)
        parts.append((f"pooled within {column} and source", everything, within))
    rows, differences = list[dict[str, Any]](), list[SeedDifference]()
    for name, chosen, stratum in parts:
        films = scores[chosen]
        y, patient = films["is_positive"].to_numpy(bool), films["patient"].to_numpy()
        values = {m: films[[c for c in films if str(c).rpartition(":")[0] == m]].to_numpy(float) for m in methods}
        own = {m: plain(auroc_over_seeds(y, values[m], patient, stratum[chosen])) for m in methods}
        found = {
            m: auroc_difference_over_seeds(y, values[m], values[methods[0]], patient, stratum[chosen])
            for m in methods[1:]
        }
        differences += found.values()
        counts = {"films": len(films), "patients": len(set(patient))}
        against = {m: plain(gap.interval._asdict() | {"p": gap.p}) for m, gap in found.items()}
        rows.append({"part": name, **counts, "auroc": own, "against": against})
    judgements = iter(judged(differences))
    for row in rows:
        for method in row["against"]:
            row["against"][method] |= plain(next(judgements)._asdict())
    return rows


def show(record: dict[str, Any], console: Console) -> None:
    """Print the table of held-out films, then what was not held out and why."""
    seeds = len(record["seeds"])
    over = f"mean over {seeds} seeds; 95 % over patients and seeds" if seeds > 1 else "one seed; 95 % over patients"
    rows = [
        Compared(f"{row['part']}\n{row['patients']} patients", row["auroc"], row["against"]) for row in record["rows"]
    ]
    console.print(difference_table(f"AUROC, {record['leave_out']} never seen; {over}", "AUROC", rows))
    if len(record["methods"]) > 1:
        console.print(said_of_differences(rows), highlight=False)
    for name, why in list(record["not_left_out"].items())[:SHOWN]:
        console.print(f"not held out: {name} ({why})", highlight=False, markup=False)
    if len(record["not_left_out"]) > SHOWN:
        console.print(f"not held out: {len(record['not_left_out']) - SHOWN} more", highlight=False)
    for name, why in record["failed"].items():
        console.print(f"failed: {name} ({why})", style="red", highlight=False, markup=False)
    if record["synthetic"]:
        console.print(SYNTHETIC, style="bold black on yellow")
