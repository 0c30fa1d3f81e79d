"""Each source held out in turn: every fold trained with every method and seed, its held-out films scored."""

import argparse
import json
import re
from functools import cache, partial
from typing import Any

import pandas as pd
from rich.console import Console

from datasets.cohort.films import Cohort
from datasets.files import write_text
from datasets.film.identity import KEY_FILE, hash_key
from datasets.sample import Split
from training.bias.numbers.metrics import MINIMUM_PATIENTS
from training.console.messages import ERRORS, RESEARCH_ONLY, mistakes_as_sentences
from training.crossval.comparison import compare_sources, show
from training.loop.obtain import obtain
from training.loop.prepare import prepare
from training.run.config import parse, public_settings
from training.run.films import cohort_of, preprocessing_of, split_names
from training.run.report import machine, versions

SCHEMA_VERSION = 1


def run(options: argparse.Namespace) -> None:
    """Train every fold that is not there yet, then print the table and write crossval.json."""
    console = Console()
    with mistakes_as_sentences("interrupted; the same command continues from here"):
        scores, record = cross_validate(options, console)
    record["rows"] = compare_sources(scores, options.method)
    show(record, options.method, console)
    file = options.output / "crossval.json"
    write_text(file, json.dumps(record, indent=1, allow_nan=False) + "\n")
    console.print(f"written to {file}", markup=False, highlight=False)
    if record["failed"]:
        count, names = len(record["failed"]), ", ".join(record["failed"])
        total = count + scores["source"].nunique()
        ERRORS.print(
            f"error: {count} of {total} sources could not be held out: {names}; the table has the rest",
            style="red", highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
        raise SystemExit(1)


def cross_validate(options: argparse.Namespace, console: Console) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Train and score each fold.

    Returns:
        One row a held-out film: source, row, patient (hash), is_positive, and a column `method:seed` of scores each; and
        what crossval.json says beside its rows.
    """
    first = parse(options.forwarded, options.method)
    table = cohort_of(first, preprocessing_of(first))
    sources, skipped = choose_sources(table, split_names(options.sources))
    options.output.mkdir(parents=True, exist_ok=True)
    key_file = options.output / KEY_FILE
    hash_key(options.output)
    tables, failed, settings = [], {}, {}
    for source in sources:
        folder = options.output / f"without-{re.sub(r'[^A-Za-z0-9._-]+', '-', source)}"
        columns = {}
        try:
            fold = first.with_settings(
                external_sources=source, output=folder, hash_key=key_file, separate_copies=first.dataset == "covid"
            )
            films = cache(partial(prepare, fold, console))
            for seed in options.seeds:
                for method in options.method:
                    config = fold.with_settings(method=method, seed=seed)
                    console.print(f"[bold]without {source}[/bold]: {method}, seed {seed}", highlight=False)
                    run = obtain(config, films)
                    held_out = pd.read_parquet(run.folder / "predictions.parquet").query("split == 'external'")
                    columns[f"{method}:{seed}"] = held_out["score"].to_numpy()
                    # Without those that change from fold to fold.
                    settings[method] = public_settings(config, "external_sources", "seed", "paired")
        except ValueError as error:
            ERRORS.print(f"without {source}: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
            failed[source] = str(error)
            continue
        base = held_out[["source", "row", "patient"]].reset_index(drop=True)
        base["is_positive"] = (held_out["target"] == table.info.positive_name).to_numpy()
        tables.append(base.assign(**columns))
    if not tables:
        raise ValueError("no fold could be trained: " + "; ".join(f"{name}: {why}" for name, why in failed.items()))
    record = {
        "schema_version": SCHEMA_VERSION,
        "notice": RESEARCH_ONLY,
        "machine": machine(),
        "seeds": options.seeds,
        "methods": options.method,
        "synthetic": table.info.synthetic,
        "settings": settings,
        "not_left_out": skipped,
        "failed": failed,
        "versions": versions(),
    }
    return pd.concat(tables, ignore_index=True), record


def choose_sources(cohort: Cohort, names_asked_for: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Sources to hold out, and why for each of the others.

    Where none are asked for: those of at least ten patients in every class, for less says nothing about a held-out source.
    """
    table, info = cohort.table, cohort.info
    names = sorted(set(table["source"]))
    trained = set(table["source"][table["split"] == str(Split.TRAIN)])
    unknown = [name for name in names_asked_for if name not in names]
    if unknown:
        raise ValueError(f"--sources: no film comes from {unknown[0]!r}; sources are {', '.join(names)}")
    people = table.groupby(["source", "target_name"])["patient"].nunique().unstack(fill_value=0)
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
    if not chosen:
        reasons = "; ".join(f"{name}: {why}" for name, why in skipped.items())
        raise ValueError(f"no source has ten patients of every class: {reasons}")
    return chosen, skipped
