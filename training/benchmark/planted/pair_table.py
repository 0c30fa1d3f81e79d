"""Does taking out one shortcut open the other? Each method's use of each planted attribute, beside ERM's."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from training.benchmark.planted.runs import ERM, candidate_of
from training.benchmark.planted.table import Row, below, point, rows_of
from training.bias.numbers.two_level import Judgement, judged
from training.recipe.candidate import HEAD, Candidate
from training.run.biases import parse_biases, reads_bias


class Use(NamedTuple):
    """How one method uses one attribute: its row by that attribute, and whether its training was told not to use it."""

    attribute: str
    row: Row
    taken_out: bool


def uses_of(
    lines: list[dict[str, Any]], candidates: list[Candidate], rho: float, reference: Candidate = ERM
) -> list[Use]:
    """Of each row of the study's table, one for each attribute that is planted."""
    told = {candidate_of(line).name: told_of(line) for line in lines}
    names = ["source", *next(line for line in lines if "others" in line)["others"]]
    by = {name: rows_of(lines, candidates, rho, reference=reference, attribute=name) for name in names}
    return [
        Use(name, row, name in told.get(row.name, ()))  # the truth is no candidate
        for rows in zip(*by.values(), strict=True)
        for name, row in zip(by, rows, strict=True)
    ]


def told_of(line: Mapping[str, Any]) -> list[str]:
    """The attributes that a line's training reads, in its method or for its batches; a head weighs groups of source."""
    settings = line["settings"]
    if line["method"] == HEAD:
        return ["source"]
    return [name for name, weight in parse_biases(settings["bias"]).items() if weight and reads_bias(settings)]


def judgements_of(uses: list[Use]) -> list[Judgement]:
    """Of the conflicting accuracy of each, minus ERM's; corrected over all."""
    return judged([use.row.conflicting_difference for use in uses])


def pair_table(uses: list[Use], rho: float, difference: str = "minus ERM") -> Table:
    """At most 80 columns wide; an attribute that the training was told not to use is marked."""
    right = ("confl.", difference, "leak", difference)
    table = Table(
        Column("method", overflow="fold", max_width=20), Column("uses of", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in right),
        title=f"\nEach shortcut by itself, rho {rho:g}", title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    last = ""
    for attribute, row, taken_out in uses:
        table.add_row(
            row.name if row.name != last else "", attribute + (" *" if taken_out else ""),
            point(row.conflicting.estimate), below(row.conflicting_difference.interval, "+.3f"),
            point(row.leak), below(row.leak_difference.interval, "+.3f"),
        )  # fmt: skip
        last = row.name
    return table


def opened(uses: list[Use], found: list[Judgement], to: str = "ERM") -> str:
    """For each method that took one attribute out and not the other: what became of the other, in a sentence."""
    told = dict[str, bool]()
    for use in uses:
        told[use.row.name] = told.get(use.row.name, False) or use.taken_out
    sentences = []
    for use, judgement in zip(uses, found, strict=True):
        if use.taken_out or not told[use.row.name]:
            continue
        words = {"worse": "it opened it", "better": "it took that out too"}.get(judgement.verdict, "cannot conclude")
        gap = use.row.conflicting_difference.interval
        span = "" if np.isnan(gap.low) else f" ({gap.low:+.3f} to {gap.high:+.3f})"
        detectable = "" if np.isnan(judgement.detectable) else f"; {judgement.detectable:.3f} would have been found"
        sentences.append(
            f"{use.row.name} was not told of the {use.attribute}: conflicting accuracy by {use.attribute} "
            f"{gap.estimate:+.3f}{span} against {to}, {words}{detectable}."
        )
    return " ".join(sentences)


def show_pairs(
    lines: list[dict[str, Any]],
    candidates: list[Candidate],
    rhos: list[float],
    console: Console,
    reference: Candidate = ERM,
) -> None:
    """Print the table of each shortcut, and whether taking out one opened the other; nothing where one is planted."""
    for rho in rhos if any("others" in line for line in lines) else ():
        uses, to = uses_of(lines, candidates, rho, reference), "ERM" if reference == ERM else reference.name
        console.print(pair_table(uses, rho, "minus ERM" if reference == ERM else "difference"))
        text = (
            "* taken out: the method's terms or groups are of it. confl.: accuracy on films whose label is not the own one "
            "of their hospital (source) or device, whatever the other is. Verdicts by Holm over all rows. "
        )
        console.print(text + opened(uses, judgements_of(uses), to), highlight=False, markup=False)
