"""The study's tables: each method beside ERM and the truth, over patients and seeds."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from datasets.sample import Split
from training.benchmark.planted.draw import TRUTH
from training.benchmark.planted.runs import ERM, PARTS, candidate_of, follows_of, leak_of
from training.bias.numbers.gap_closed import gap_closed
from training.bias.numbers.interval import NO_INTERVAL, Interval
from training.bias.numbers.two_level import (
    NOT_KNOWN,
    Judgement,
    SeedDifference,
    auroc_difference_over_seeds,
    auroc_over_seeds,
    difference_of_seeds,
    judged,
    share_difference_over_seeds,
    share_over_seeds,
)
from training.recipe.candidate import Candidate

TITLES = {"test": "AUROC on unbiased test films", "external": "AUROC on sources never seen"}
NOTE = (
    "Truth: ERM where the source tells nothing of the label. Gap closed: 0 % is ERM, 100 % the truth; empty where the two "
    "do not differ. confl.: accuracy on films whose label is not their source's own. leak: a linear probe reads the source "
    "from the features within a class. Below these two: minus {reference}. For research; not a medical device."
)


Runs = dict[int, dict[str, Any]]
"""Lines of one candidate at one rho, by seed."""


class Row(NamedTuple):
    """One method at one rho, over the seeds that it shares with the reference.

    Attributes:
        difference: to the reference in AUROC; all NaN for the reference itself, the truth, and ERM beside another reference.
        gap: share of the way from ERM to the truth, over the seeds that it shares with both.
        conflicting: accuracy on films whose label is not their source's own.
        leak: mean over seeds; NaN where it is not measured.
    """

    name: str
    seeds: int = 0
    auroc: Interval = NO_INTERVAL
    difference: SeedDifference = NOT_KNOWN
    gap: Interval = NO_INTERVAL
    conflicting: Interval = NO_INTERVAL
    conflicting_difference: SeedDifference = NOT_KNOWN
    leak: float = float("nan")
    leak_difference: SeedDifference = NOT_KNOWN


def candidates_in(lines: Iterable[dict[str, Any]]) -> list[Candidate]:
    """Those that a record has, in its order."""
    return list(dict.fromkeys(candidate_of(line) for line in lines if line["rho"] != TRUTH))


def rhos_in(lines: Iterable[dict[str, Any]]) -> list[float]:
    """The correlations that a record has, in its order, without the truth."""
    return list(dict.fromkeys(line["rho"] for line in lines if line["rho"] != TRUTH))


def rows_of(
    lines: list[dict[str, Any]],
    candidates: list[Candidate],
    rho: float,
    part: str = "test",
    reference: Candidate = ERM,
    attribute: str = "source",
) -> list[Row]:
    """ERM first, then the candidates that have a seed together with the reference, then the truth.

    Args:
        part: `test`, or `external`, where only pairs of films of one source count.
        reference: what differences are to.
        attribute: whose own label films follow or contradict, and which the leak is of.
    """
    erm, truth = _of(lines, ERM, rho, part), _of(lines, ERM, TRUTH, part)
    against = _of(lines, reference, rho, part)
    rows = [_row("erm", erm, {}, {}, {}, part, attribute)]
    for candidate in candidates:
        if candidate != ERM:
            ours = _of(lines, candidate, rho, part)
            compared = {} if candidate == reference else against
            rows.append(_row(candidate.name, ours, compared, erm, truth, part, attribute))
    rows.append(_row("truth", truth, {}, {}, {}, part, attribute))
    return [row for row in rows if row.seeds]


def judgements(tables: list[list[Row]]) -> list[list[Judgement]]:
    """Of each row, corrected over the rows of all tables."""
    found = iter(judged([row.difference for rows in tables for row in rows]))
    return [[next(found) for _ in rows] for rows in tables]


def table_of(rows: list[Row], found: list[Judgement], title: str, difference: str = "minus ERM") -> Table:
    """At most 80 columns wide; differences and shares with their intervals below."""
    right = ("AUROC", difference, "p", "gap closed", "confl.", "leak")
    table = Table(
        Column("method", overflow="fold", max_width=20), *(Column(name, justify="right", no_wrap=True) for name in right),
        title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for row, judgement in zip(rows, found, strict=True):
        p = "" if np.isnan(judgement.p_holm) else "<.001" if judgement.p_holm < 0.001 else f"{judgement.p_holm:.3f}"
        cells = [point(row.auroc.estimate), below(row.difference.interval, "+.3f"), p, _percent(row.gap)]
        cells += [
            _with_gain(row.conflicting.estimate, row.conflicting_difference),
            _with_gain(row.leak, row.leak_difference),
        ]
        style = "bold" if judgement.verdict != "cannot conclude" else ""
        name = f"{row.name} (rho {TRUTH})" if row.name == "truth" else row.name
        table.add_row(name, *cells, style=style)
    return table


def explanation(rows: list[Row], found: list[Judgement], line: dict[str, Any], part: str) -> str:
    """What the table's numbers are, in words."""
    films, patients = len(line[part]["patient"]), len(set(line[part]["patient"]))
    compared = [judgement for judgement in found if not np.isnan(judgement.p_holm)]
    seeds = _seeds(rows)
    where = "pairs of films of one source alone" if part == "external" else "all sources together"
    text = f"{films} films of {patients} patients, {where}, none of whom dominates; mean over {seeds}, with 95 % over "
    text += "patients and seeds. "
    if compared:
        least, most = (pick(judgement.detectable for judgement in compared) for pick in (min, max))
        span = f"{least:.3f}" if f"{least:.3f}" == f"{most:.3f}" else f"{least:.3f} to {most:.3f}"
        text += f"p by Holm; differences from {span} on would have been found (power 0.8). Bold: better or worse."
    return text


def show_tables(
    lines: list[dict[str, Any]],
    candidates: list[Candidate],
    rhos: list[float],
    console: Console,
    reference: Candidate = ERM,
) -> None:
    """Print a table for each rho, and for the external films where there are any; then what failed.

    Raises:
        ValueError: no run is finished, or none of the reference.
    """
    whole = [line for line in lines if "failed" not in line]
    if not whole:
        raise ValueError("every run has failed: " + "; ".join(sorted({line["failed"] for line in lines})))
    if reference not in candidates_in(whole):
        names = ", ".join(candidate.name for candidate in candidates_in(whole))
        raise ValueError(f"--reference {reference.name}: no run of it is finished; there are {names}")
    first = whole[0]
    parts = [part for part in PARTS if part in first]
    shown = [(rho, part, rows_of(lines, candidates, rho, part, reference)) for rho in rhos for part in parts]
    to = "ERM" if reference == ERM else reference.name
    negative, positive = first["targets"]
    owns = [first["own"], *first.get("others", {}).values()]
    own = ", ".join(f"{value} {label}" for of in owns for value, label in of.items())
    console.print(f"{positive} against {negative}; {first['design']}, each one's own label: {own}.", highlight=False)
    for (rho, part, rows), found in zip(shown, judgements([rows for *_, rows in shown]), strict=True):
        title = f"\n{TITLES[part]}, rho {rho:g}" + (f"; differences are to {to}" if reference != ERM else "")
        console.print(table_of(rows, found, title, "minus ERM" if reference == ERM else "difference"))
        console.print(explanation(rows, found, first, part), highlight=False)
    console.print(NOTE.format(reference=to), highlight=False)
    for line in lines:
        if "failed" in line:
            name = f"{candidate_of(line).name}, rho {line['rho']:g}, seed {line['seed']}"
            console.print(f"failed: {name}: {line['failed']}", style="yellow", markup=False)


def _seeds(rows: list[Row]) -> str:
    """`9 seeds (2 of lff, rubi)`: over how many a row is, and which rows have fewer."""
    names: dict[int, list[str]] = {}
    for row in sorted(rows, key=lambda row: -row.seeds):
        names.setdefault(row.seeds, []).append(row.name)
    most, *fewer = names
    told = "; ".join(f"{count} of {', '.join(names[count])}" for count in fewer)
    return f"{most} seed{'s' if most > 1 else ''}" + (f" ({told})" if told else "")


def _of(lines: list[dict[str, Any]], candidate: Candidate, rho: float, part: str) -> Runs:
    """Those of a candidate that are finished and have such films."""
    return {
        line["seed"]: line
        for line in lines
        if "failed" not in line and (candidate_of(line), line["rho"]) == (candidate, rho) and part in line
    }


def _row(name: str, ours: Runs, against: Runs, erm: Runs, truth: Runs, part: str, attribute: str) -> Row:
    """Without runs to set it against nothing is compared, and without ERM and the truth no gap is known."""
    seeds = sorted(ours.keys() & against.keys()) if against else sorted(ours)
    if not seeds:
        return Row(name)
    films = ours[seeds[0]][part]
    positive, follows = (np.array(list(films[column])).astype(int) for column in ("positive", follows_of(attribute)))
    patient, conflicting = np.array(films["patient"]), follows == 0
    stratum = np.array(films["source"]) if part == "external" else None

    def logits(runs: Runs, shared: list[int]) -> np.ndarray:
        return np.array([runs[seed][part]["logit"] for seed in shared]).T

    def right(runs: Runs) -> np.ndarray:
        return np.array([list(runs[seed][part]["right"]) for seed in seeds]).astype(int).T[conflicting]

    def leaks(runs: Runs) -> np.ndarray:
        known = part == str(Split.TEST)
        return np.array([runs[seed][leak_of(attribute)] if known else None for seed in seeds], dtype=float)

    where = patient[conflicting], positive[conflicting]
    row = Row(
        name,
        len(seeds),
        auroc_over_seeds(positive == 1, logits(ours, seeds), patient, stratum),
        conflicting=share_over_seeds(right(ours), *where),
        leak=float(leaks(ours).mean()),
    )
    if against:
        both = logits(ours, seeds), logits(against, seeds)
        row = row._replace(
            difference=auroc_difference_over_seeds(positive == 1, *both, patient, stratum),
            conflicting_difference=share_difference_over_seeds(right(ours), right(against), *where),
            leak_difference=difference_of_seeds(leaks(ours) - leaks(against)),
        )
    if shared := [seed for seed in seeds if seed in truth and seed in erm]:
        method, plain, best = (logits(runs, shared) for runs in (ours, erm, truth))
        row = row._replace(gap=gap_closed(positive == 1, method, plain, best, patient, stratum))
    return row


def point(value: float) -> str:
    """To three digits; empty where it is not known."""
    return "" if np.isnan(value) else f"{value:.3f}"


def _with_gain(value: float, difference: SeedDifference) -> str:
    """To two digits, with the difference to ERM below."""
    if np.isnan(value):
        return ""
    gain = difference.interval.estimate
    return f"{value:.2f}" + ("" if np.isnan(gain) else f"\n{gain:+.2f}")


def below(interval: Interval, form: str) -> str:
    """The estimate with its interval in the next line; empty where it is not known."""
    if np.isnan(interval.estimate):
        return ""
    text = f"{interval.estimate:{form}}"
    return text if np.isnan(interval.low) else f"{text}\n({interval.low:{form}} to {interval.high:{form}})"


def _percent(share: Interval) -> str:
    if np.isnan(share.estimate):
        return ""
    text = f"{100 * share.estimate:.0f} %"
    return text if np.isnan(share.low) else f"{text}\n({100 * share.low:.0f} to {100 * share.high:.0f})"
