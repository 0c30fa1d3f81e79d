"""AUROC on held-out sources, by method, and how far the methods are apart."""

from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Column, Table

from training.bias.numbers.auroc import auroc_difference, auroc_interval, auroc_permutation_p
from training.bias.numbers.uncertainty import Interval
from training.bias.report.plain import plain
from training.console.messages import SYNTHETIC


def compare_sources(scores: pd.DataFrame, methods: list[str]) -> list[dict[str, Any]]:
    """AUROC by held-out source and pooled within sources, of each method and of its difference to the first.

    The pooled row counts only pairs of films of one source: it depends on ranks within a source alone, so that scores of
    different models, one a fold, need not share a scale.
    """
    parts = [(name, (scores["source"] == name).to_numpy()) for name in scores["source"].unique()]
    if len(parts) > 1:
        parts.append(("pooled within sources", np.ones(len(scores), bool)))
    rows: list[dict[str, Any]] = []
    for name, chosen in parts:
        films = scores[chosen]
        y, patient, stratum = (films[column].to_numpy() for column in ("is_positive", "patient", "source"))
        values = {m: films.filter(regex=f"^{m}:").to_numpy() for m in methods}
        alone = {m: plain(auroc_interval(y, values[m], patient, stratum=stratum)) for m in methods}
        against = {}
        for method in methods[1:]:
            both = y, values[method], values[methods[0]], patient
            gap, detectable = auroc_difference(*both, stratum=stratum)
            p = auroc_permutation_p(*both, stratum=stratum)
            against[method] = plain(gap._asdict() | {"p": p, "detectable": detectable, "verdict": verdict(gap, p)})
        counts = {"films": len(films), "patients": len(set(patient))}
        rows.append({"part": name, **counts, "auroc": alone, "against": against})
    return rows


def verdict(gap: Interval, p: float) -> str:
    """`better` or `worse` where interval and permutation agree, else `cannot conclude`."""
    if p < 0.05 and gap.low > 0:
        return "better"
    return "worse" if p < 0.05 and gap.high < 0 else "cannot conclude"


def show(record: dict[str, Any], methods: list[str], console: Console) -> None:
    """Print the table of held-out sources, then what was not held out and why."""
    many = f", mean over {len(record['seeds'])} seeds" if len(record["seeds"]) > 1 else ""
    headings = ["patients", *methods, *["difference", "p", "detectable", "verdict"] * (len(methods) - 1)]
    table = Table("held out", *(Column(heading, justify="right") for heading in headings), box=None, pad_edge=False)
    table.title = f"AUROC on sources never seen{many}; 95 % bootstrap over patients"
    table.title_justify = "left"
    for row in record["rows"]:
        cells = [span(row["auroc"][method], ".3f") for method in methods]
        for method in methods[1:]:
            gap = row["against"][method]
            numbers = ["", ""] if gap["p"] is None else [f"{gap['p']:.3f}", f"{gap['detectable']:.2f}"]
            cells += [span(gap, "+.3f"), *numbers, gap["verdict"]]
        table.add_row(row["part"], str(row["patients"]), *cells)
    console.print(table)
    for name, why in record["not_left_out"].items():
        console.print(f"not held out: {name} ({why})", highlight=False, markup=False)
    for name, why in record["failed"].items():
        console.print(f"failed: {name} ({why})", style="red", highlight=False, markup=False)
    if record["synthetic"]:
        console.print(SYNTHETIC, style="bold black on yellow")


def span(values: dict[str, float | None], form: str) -> str:
    """`0.71 (0.63 to 0.79)`, or that there is too little to say."""
    if values["estimate"] is None:
        return "cannot conclude"
    return f"{values['estimate']:{form}}\n({values['low']:{form}} to {values['high']:{form}})"
