"""Methods side by side with their differences to the first, in 80 columns whatever their number: a line pair for each."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Column, Table

NOTHING = "cannot conclude"
# Columns of a line, such as "119 patients", and bias_contrastive or sampler=balanced.
LONGEST_HEADING, LONGEST_METHOD = 13, 16


class Compared(NamedTuple):
    """One row: a number of some films, of each method.

    Attributes:
        heading: what is measured, and below it on how much.
        own: estimate, low and high of each method, by name; None or NaN where nothing can be concluded.
        against: of each method but the first: estimate, low and high of its difference to the first, p_holm, detectable
            and verdict.
    """

    heading: str
    own: dict[str, dict[str, Any]]
    against: dict[str, dict[str, Any]]


def difference_table(title: str, number: str, rows: Sequence[Compared]) -> Table:
    """The table.

    Args:
        number: heading of the methods' own numbers, such as AUROC.
    """
    right = [Column(name, justify="right", no_wrap=True) for name in (number, "difference")]
    lines = [line for row in rows for method in row.own for line in _named(method).splitlines()]
    width = min(max(map(len, lines), default=1), LONGEST_METHOD)
    names = [
        Column("", max_width=LONGEST_HEADING, overflow="fold"),
        Column("", min_width=width, max_width=width, overflow="fold"),
    ]
    columns = [*names, *right, Column("verdict", no_wrap=True)]
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for row in rows:
        heading = escape(row.heading)
        for method, own in row.own.items():
            found = row.against.get(method)
            cells = ["", ""] if found is None else [_span(found, "+.3f"), _judged(found)]
            table.add_row(heading, _named(method), _span(own, ".3f"), *cells)
            heading = ""
        table.add_row()
    return table


def _named(method: str) -> str:
    """Its settings on a line of their own."""
    return escape(method.replace(":", "\n", 1))


def said_of_differences(rows: Sequence[Compared]) -> str:
    """What the columns of the table mean, or why it has no verdict."""
    count = sum(_known(found["p_holm"]) for row in rows for found in row.against.values())
    if not count:
        return "No verdict: it takes ten patients of each class, and two or more --seeds."
    return (
        f"p is corrected for {count} comparison{'s' if count != 1 else ''} (Holm); ≥ is the smallest difference that the "
        "first of them would find with power 0.8."
    )


def _span(values: dict[str, Any], form: str) -> str:
    """`0.712` with `0.631 to 0.790` below it, or the estimate alone, or that there is too little to say."""
    if not _known(values["estimate"]):
        return "too few"
    if not _known(values["low"]):
        return f"{values['estimate']:{form}}"
    return f"{values['estimate']:{form}}\n{values['low']:{form}} to {values['high']:{form}}"


def _judged(found: dict[str, Any]) -> str:
    if not _known(found["p_holm"]):
        return NOTHING
    return f"{found['verdict']}\np {found['p_holm']:.3f}, ≥ {found['detectable']:.2f}"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
