"""Each value of a column held out in turn: every fold trained with every method and seed, its held-out films scored."""

import argparse
import json
import re
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from datasets.cohort.external import values_of
from datasets.cohort.films import Cohort
from datasets.files import write_text
from datasets.film.identity import KEY_FILE, hash_key
from datasets.listed import listed, named, quoted, split_names
from datasets.sample import Split
from training.bias.numbers.metrics import MINIMUM_PATIENTS
from training.console.messages import ERRORS, RESEARCH_ONLY, mistakes_as_sentences
from training.crossval.comparison import compare_held_out, show
from training.crossval.lines import Job, candidate_of, key_of, line_of, require_same, scores_of, seeds_in, whole_key_of
from training.loop.prepare import decode, draw
from training.recipe.candidate import Candidate
from training.run.config import TrainConfig, parse
from training.run.films import cohort_of, preprocessing_of
from training.run.record import append_line, read_lines
from training.run.report import versions

SCHEMA_VERSION = 2
SHOWN = 5  # reasons in a message


def run(options: argparse.Namespace) -> None:
    """Train every fold that is not there yet, then print the table and write crossval.json."""
    console = Console(emoji=False)
    path = options.record or options.output / "record.jsonl"
    with mistakes_as_sentences("interrupted; the same command continues from here"):
        lines = read_lines(path, whole_key_of)
        if options.show:
            if not lines:
                raise ValueError(f"--record {path} holds no finished run")
            skipped, failed = dict[str, str](), dict[str, str]()
        else:
            lines, skipped, failed = cross_validate(options, lines, path, console)
        scores = scores_of(lines)
    columns = list(dict.fromkeys(line["column"] for line in lines))
    record = {
        "schema_version": SCHEMA_VERSION,
        "notice": RESEARCH_ONLY,
        "machine": lines[-1]["machine"],
        "leave_out": columns[0],
        "seeds": seeds_in(scores),
        "redraw": lines[0]["settings"]["redraw"],
        "methods": list(dict.fromkeys(candidate_of(line).name for line in lines)),
        "synthetic": any(line["synthetic"] for line in lines),
        "settings": {candidate_of(line).name: line["settings"] for line in lines},
        "not_left_out": skipped,
        "failed": failed,
        "versions": versions(),
    }
    record["rows"] = compare_held_out(scores, record["methods"], record["leave_out"])
    show(record, console)
    if options.show:
        return
    file = options.output / "crossval.json"
    write_text(file, json.dumps(record, indent=1, allow_nan=False) + "\n")
    console.print(f"written to {file}, every run to {path}", markup=False, highlight=False)
    if failed:
        count, names = len(failed), ", ".join(failed)
        total = count + scores["held_out"].nunique()
        what = "sources" if options.leave_out == "source" else f"values of {options.leave_out}"
        ERRORS.print(
            f"error: {count} of {total} {what} could not be held out: {names}; the table has the rest",
            style="red", highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
        raise SystemExit(1)


def cross_validate(
    options: argparse.Namespace, recorded: list[dict[str, Any]], record: Path, console: Console
) -> tuple[list[dict[str, Any]], dict[str, str], dict[str, str]]:
    """Train and score each fold that has no line in the record yet.

    Returns:
        The lines of what was asked for, of the record and new; why values were not held out, and why some failed.
    """
    candidates = [Candidate.parse(text) for text in options.method]
    first = parse(options.forwarded, list(dict.fromkeys(candidate.trained_as for candidate in candidates)))
    first = first.with_settings(redraw=options.redraw)
    for candidate in candidates:
        candidate.settings(first)  # a setting that doesn't exist or is out of range shows before any film is read
    column = options.leave_out
    table = cohort_of(first, preprocessing_of(first))
    names, skipped = choose_values(table, column, split_names(options.values))
    jobs = [Job(column, name, candidate, seed) for name, seed, candidate in product(names, options.seeds, candidates)]
    require_same(recorded, jobs, first, table)
    options.output.mkdir(parents=True, exist_ok=True)
    key_file = options.output / KEY_FILE
    hash_key(options.output)
    lines, failed = list(recorded), {}
    for name in names:
        label = name if column == "source" else f"{column} {name}"
        folder = options.output / f"without-{re.sub(r'[^A-Za-z0-9._-]+', '-', label)}"
        finished = {key_of(line) for line in lines}
        try:
            fold = first.with_settings(
                external_sources=quoted(name), external_column=column, output=folder, hash_key=key_file,
                separate_copies=first.dataset == "covid",
            )  # fmt: skip
            films = cache(partial(_decoded, fold, name, console))
            for seed in options.seeds:
                shown = console if seed == options.seeds[0] else Console(quiet=True)
                drawn = cache(partial(_drawn, fold.with_settings(seed=seed), films, shown))
                for job in (job for job in jobs if (job.value, job.seed) == (name, seed) and job.key not in finished):
                    console.print(f"[bold]without {label}[/bold]: {job.candidate.name}, seed {seed}", highlight=False)
                    config = job.candidate.settings(fold.with_settings(seed=seed))
                    line = line_of(job, config, drawn, table)
                    append_line(record, line)
                    lines.append(line)
        except ValueError as error:
            ERRORS.print(f"without {label}: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
            failed[name] = str(error)
    asked = {job.key for job in jobs if job.value not in failed}
    lines = [line for line in lines if key_of(line) in asked]
    if not lines:
        raise ValueError("no fold could be trained: " + "; ".join(f"{name}: {why}" for name, why in failed.items()))
    return lines, skipped, failed


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
        raise ValueError(f"--values: no film {comes} {missing[0]!r}; {there} are {named(names)}")
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
        reasons = listed([f"{name}: {why}" for name, why in skipped.items()], SHOWN, "; ", "; and ")
        what = "source" if column == "source" else f"value of {column}"
        raise ValueError(f"no {what} has ten patients of every class: {reasons}")
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
