"""What a sweep found: its best settings, how much they differ, and how much that is luck.

As EnD's authors sum theirs up (results.py beside the paper's code): the three best settings on validation, then mean and
population standard deviation of what they reach on test. How much the same setting differs from seed to seed is another
question and stands apart, with the sample's standard deviation. Nothing here was chosen on test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from training.bias.report.plain import plain
from training.console.messages import SYNTHETIC
from training.sweep.space import DIRECTIONS

TOP = 3
BEST, OTHERS = f"best {TOP}", "other trials"
SHOWN = 10
Rows = Sequence[dict[str, float]]
SHOWN_OF_TEST = ("accuracy", "auroc", "leak")  # what a terminal is wide enough for


@dataclass(frozen=True)
class Outcome:
    """A trial that came to an end, numbered from 0.

    Attributes:
        parameters: what was searched, with the values of this trial.
        seeds: for each seed what `measures` returns.
        values: of the objectives on validation, means over the seeds.
    """

    number: int
    parameters: dict[str, Any]
    seeds: list[dict[str, Any]]
    values: dict[str, float]

    def on_test(self) -> dict[str, float]:
        """Means over the seeds on test; undefined is NaN."""
        runs = [_test(seed) for seed in self.seeds]
        return {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}

    def as_json(self) -> dict[str, Any]:
        """Plain values; undefined metrics are None."""
        trial = {"trial": self.number, "parameters": self.parameters, "validation": self.values}
        return trial | {"test": plain(self.on_test()), "seeds": self.seeds}


def ranked(outcomes: Sequence[Outcome], objectives: Sequence[str]) -> list[Outcome]:
    """Best first by the first objective."""
    return sorted(outcomes, key=lambda o: (-_gains(o, objectives)[0], o.number))


def pareto_front(outcomes: Sequence[Outcome], objectives: Sequence[str]) -> set[int]:
    """Numbers of the trials that no other beats in one objective without losing in another."""
    gains = {outcome.number: _gains(outcome, objectives) for outcome in outcomes}
    return {
        number
        for number, values in gains.items()
        if not any((other >= values).all() and (other > values).any() for other in gains.values())
    }


def summarise(outcomes: Sequence[Outcome], objectives: Sequence[str]) -> dict[str, Any]:
    """What summary.json says of the finished trials.

    `trials`, best first, with validation and test; `front`, numbers of trials, for several objectives; `top`, mean and
    population sd over the three best settings; `over_seeds`, mean and sample sd over the seeds of the best one, where there
    are several.
    """
    order = ranked(outcomes, objectives)
    best = order[:TOP]
    top = _spread([o.number for o in best], [o.values for o in best], [o.on_test() for o in best], 0)
    summary: dict[str, Any] = {"trials": [o.as_json() for o in order], "top": top}
    if len(objectives) > 1:
        summary["front"] = [o.number for o in order if o.number in pareto_front(outcomes, objectives)]
    if order and len(order[0].seeds) > 1:
        runs = order[0].seeds
        numbers, validation = [run["seed"] for run in runs], [run["validation"] for run in runs]
        summary["over_seeds"] = _spread(numbers, validation, list(map(_test, runs)), 1)
    return summary


def as_frame(outcomes: Sequence[Outcome], objectives: Sequence[str]) -> pd.DataFrame:
    """A row a finished trial, as the drawings take them."""
    order = ranked(outcomes, objectives)
    front = pareto_front(outcomes, objectives)
    top = {o.number for o in order[:TOP]}
    rows = []
    for outcome in sorted(outcomes, key=lambda o: o.number in top):  # the best are drawn over the rest
        kind = BEST if outcome.number in top else OTHERS
        place = {"trial": outcome.number, "kind": kind, "front": outcome.number in front}
        rows.append(place | outcome.parameters | outcome.values)
    return pd.DataFrame(rows)


def show(console: Console, summary: Mapping[str, Any], objectives: Sequence[str]) -> None:
    """Print the best trials, the front, and both spreads."""
    trials = summary["trials"]
    names = list(trials[0]["parameters"])
    test_metrics = [name for name in SHOWN_OF_TEST if any(trial["test"].get(name) is not None for trial in trials)]
    front = summary.get("front", [])
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    early = f"; {summary['ended_early']} ended early" if summary["ended_early"] else ""
    chosen = f"by {_heading(objectives[0])} on validation{early}"
    table.title = f"Best {min(SHOWN, len(trials))} of {len(trials)} trials {chosen}"
    table.add_column("trial", justify="right")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right", style="cyan", no_wrap=True)
    for name in objectives:
        table.add_column(f"{_heading(name)}\nvalid.", justify="right", style="bold", no_wrap=True)
    for name in test_metrics:
        table.add_column(f"{_heading(name)}\ntest", justify="right", no_wrap=True)
    for trial in trials[:SHOWN]:
        number = f"{'* ' if trial['trial'] in front else ''}{trial['trial']}"
        searched = [f"{v:.3g}" if isinstance(v, (int, float)) else str(v) for v in trial["parameters"].values()]
        cells = [f"{trial['validation'][name]:.4f}" for name in objectives]
        cells += ["" if trial["test"].get(name) is None else f"{trial['test'][name]:.4f}" for name in test_metrics]
        table.add_row(number, *searched, *cells)
    console.print(table)
    for trial in trials:
        if trial["parameters"] == summary["defaults"]:
            scores = ", ".join(f"{_heading(name)} {value:.4f}" for name, value in trial["validation"].items())
            console.print(f"trial {trial['trial']} has the defaults: validation {scores}", highlight=False)
    if front:
        aims = ", ".join(map(_heading, objectives))
        console.print(f"* on the Pareto front of {aims}", highlight=False, soft_wrap=True)
    top, seeds = summary["top"], summary.get("over_seeds")
    count = len(top["of"])
    words = f"best {count} settings (mean ± sd of the {count})" if count > 1 else "best setting"
    console.print(f"[bold]{words}[/bold]: {_spans(top, test_metrics)}", highlight=False, soft_wrap=True)
    if seeds:
        words = f"trial {trials[0]['trial']} over {len(seeds['of'])} seeds (mean ± sample sd)"
        console.print(f"[bold]{words}[/bold]: {_spans(seeds, test_metrics)}", highlight=False, soft_wrap=True)
    if summary["synthetic"]:
        console.print(SYNTHETIC, style="bold black on yellow")


def _test(seed: dict[str, Any]) -> dict[str, float]:
    return {name: np.nan if value is None else value for name, value in seed["test"].items()}


def _gains(outcome: Outcome, objectives: Sequence[str]) -> np.ndarray:
    """The objectives, higher is better."""
    return np.array([outcome.values[n] if DIRECTIONS[n] == "maximize" else -outcome.values[n] for n in objectives])


def _spread(of: Sequence[int], validation: Rows, test: Rows, freedom: int) -> dict[str, Any]:
    spread: dict[str, Any] = {"of": list(of)}
    for split, rows in (("validation", validation), ("test", test)):
        spread[split] = {}
        for name in rows[0] if rows else ():
            values = [row[name] for row in rows]
            spread[split][name] = plain({"mean": np.mean(values), "sd": np.std(values, ddof=freedom)})
    return spread


def _spans(spread: Mapping[str, Any], metrics: Sequence[str]) -> str:
    parts = []
    for split, names in (("validation", tuple(spread["validation"])), ("test", tuple(metrics))):
        known = {name: v for name in names if (v := spread[split].get(name)) and v["mean"] is not None}
        spans = ", ".join(f"{_heading(name)} {v['mean']:.4f} ± {v['sd']:.4f}" for name, v in known.items())
        parts.append(f"{split} {spans}")
    return "; ".join(parts)


def _heading(name: str) -> str:
    names = {"auroc": "AUROC", "worst_group_accuracy": "worst group", "conflicting_accuracy": "conflicting"}
    return names.get(name, name)
