"""Each value of a column held out in turn: every fold trained with every method and seed, its held-out films scored."""

import argparse
import json
import re
from functools import cache, partial
from typing import Any

import pandas as pd
from rich.console import Console

from datasets.cohort.external import values_of
from datasets.cohort.films import Cohort
from datasets.files import write_text
from datasets.film.identity import KEY_FILE, hash_key
from datasets.sample import Split
from training.bias.numbers.metrics import MINIMUM_PATIENTS
from training.console.messages import ERRORS, RESEARCH_ONLY, mistakes_as_sentences
from training.crossval.comparison import compare_held_out, show
from training.loop.obtain import obtain
from training.loop.prepare import decode, draw
from training.run.config import TrainConfig, parse, public_settings
from training.run.films import cohort_of, preprocessing_of, quoted, split_names
from training.run.report import machine, versions

SCHEMA_VERSION = 2
SHOWN = 5  # reasons in a message


def run(options: argparse.Namespace) -> None:
    """Train every fold that is not there yet, then print the table and write crossval.json."""
    console = Console()
    with mistakes_as_sentences("interrupted; the same command continues from here"):
        scores, record = cross_validate(options, console)
    record["rows"] = compare_held_out(scores, options.method, options.leave_out)
    show(record, console)
    file = options.output / "crossval.json"
    write_text(file, json.dumps(record, indent=1, allow_nan=False) + "\n")
    console.print(f"written to {file}", markup=False, highlight=False)
    if record["failed"]:
        count, names = len(record["failed"]), ", ".join(record["failed"])
        total = count + scores["held_out"].nunique()
        what = "sources" if options.leave_out == "source" else f"values of {options.leave_out}"
        ERRORS.print(
            f"error: {count} of {total} {what} could not be held out: {names}; the table has the rest",
            style="red", highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
        raise SystemExit(1)


def cross_validate(options: argparse.Namespace, console: Console) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Train and score each fold.

    Returns:
        One row a held-out film: held_out (the fold's value), source, row, patient (hash), is_positive, and a column
        `method:seed` of scores each; and what crossval.json says beside its rows.
    """
    first = parse(options.forwarded, options.method).with_settings(redraw=options.redraw)
    column = options.leave_out
    table = cohort_of(first, preprocessing_of(first))
    names, skipped = choose_values(table, column, split_names(options.values))
    options.output.mkdir(parents=True, exist_ok=True)
    key_file = options.output / KEY_FILE
    hash_key(options.output)
    tables, failed, settings = [], {}, {}
    for name in names:
        label = name if column == "source" else f"{column} {name}"
        folder = options.output / f"without-{re.sub(r'[^A-Za-z0-9._-]+', '-', label)}"
        columns = {}
        try:
            fold = first.with_settings(
                external_sources=quoted(name), external_column=column, output=folder, hash_key=key_file,
                separate_copies=first.dataset == "covid",
            )  # fmt: skip
            films = cache(partial(_decoded, fold, name, console))
            for seed in options.seeds:
                shown = console if seed == options.seeds[0] else Console(quiet=True)
                drawn = cache(partial(_drawn, fold.with_settings(seed=seed), films, shown))
                for method in options.method:
                    config = fold.with_settings(method=method, seed=seed)
                    console.print(f"[bold]without {label}[/bold]: {method}, seed {seed}", highlight=False)
                    run = obtain(config, drawn)
                    held_out = pd.read_parquet(run.folder / "predictions.parquet").query("split == 'external'")
                    columns[f"{method}:{seed}"] = held_out["score"].to_numpy()
                    # Without those that change from fold to fold.
                    settings[method] = public_settings(config, "external_sources", "seed", "paired")
        except ValueError as error:
            ERRORS.print(f"without {label}: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
            failed[name] = str(error)
            continue
        base = held_out[["source", "row", "patient"]].reset_index(drop=True).assign(held_out=name)
        base["is_positive"] = (held_out["target"] == table.info.positive_name).to_numpy()
        tables.append(base.assign(**columns))
    if not tables:
        raise ValueError("no fold could be trained: " + "; ".join(f"{name}: {why}" for name, why in failed.items()))
    record = {
        "schema_version": SCHEMA_VERSION,
        "notice": RESEARCH_ONLY,
        "machine": machine(),
        "leave_out": column,
        "seeds": options.seeds,
        "redraw": options.redraw,
        "methods": options.method,
        "synthetic": table.info.synthetic,
        "settings": settings,
        "not_left_out": skipped,
        "failed": failed,
        "versions": versions(),
    }
    return pd.concat(tables, ignore_index=True), record


def choose_values(cohort: Cohort, column: str, names_asked_for: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Values of a column to hold out, and why for each of the others.

    Where none are asked for: those of at least ten patients in every class, for less says nothing about what is held out.
    Films of unknown value are never held out, and no fold trains on them.
    """
    info = cohort.info
    table = cohort.table.assign(value=values_of(cohort.table, column))
    unknown, table = int((table["value"] == "").sum()), table[table["value"] != ""]
    names = sorted(set(table["value"]))
    trained = set(table["value"][table["split"] == str(Split.TRAIN)])
    missing = [name for name in names_asked_for if name not in names]
    if missing:
        comes, there = ("comes from", "sources") if column == "source" else (f"has {column}", "there")
        raise ValueError(f"--values: no film {comes} {missing[0]!r}; {there} are {', '.join(names)}")
    people = table.groupby(["value", "target_name"])["patient"].nunique().unstack(fill_value=0)
    people = people.reindex(columns=list(info.targets), fill_value=0)
    skipped = {}
    for name in names:
        scarce = people.columns[people.loc[name] < MINIMUM_PATIENTS]
        if names_asked_for and name not in names_asked_for:
            skipped[name] = "not asked for"
        elif not names_asked_for and name not in trained:
            skipped[name] = "it is not in training anyway"
        elif not names_asked_for and len(scarce):
            count = people.loc[name, scarce[0]]
            skipped[name] = f"{count} patients of class {scarce[0]}, {MINIMUM_PATIENTS} are needed"
    chosen = [name for name in names if name not in skipped]
    if unknown:
        skipped[f"films of unknown {column}"] = f"{unknown}, which no fold trains on either"
    if not chosen:
        reasons = [f"{name}: {why}" for name, why in skipped.items()]
        more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
        what = "source" if column == "source" else f"value of {column}"
        raise ValueError(f"no {what} has ten patients of every class: {'; '.join(reasons[:SHOWN])}{more}")
    return chosen, skipped


def _decoded(fold: TrainConfig, name: str, console: Console) -> Cohort:
    """All films of a fold; raises ValueError where others are external than those of the value held out."""
    cohort = decode(fold, console)
    external = cohort.table.iloc[cohort.positions(Split.EXTERNAL)]
    if set(values_of(external, fold.external_column)) != {name}:
        raise ValueError(
            "metadata.csv has a split column, which decides what is held out: leave that column out of a copy to hold out "
            f"each {fold.external_column} in turn"
        )
    return cohort


def _drawn(config: TrainConfig, films: Any, console: Console) -> Cohort:
    return draw(config, films(), console)
