"""Leave one source out: `python -m training.crossval --dataset covid --leave-out source --method erm --method end`.

Each source of both classes is held out in turn, the rest trains, and the held-out films are scored: the question that a
random split can't answer, whether a model works at a hospital that it never saw. Patients and near-copies of films never
lie on both sides. Finished runs are kept, so a second call goes on where the first one stopped.
"""

import argparse
import json
import re
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

from datasets.files import write_text
from training.console.commandline import Parser
from training.methods import METHODS
from training.run.config import parse

LEFT_OUT = ("source",)


def read_arguments(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's own options, and the flags that go to training.train."""
    parser = Parser(
        prog="python -m training.crossval",
        description=__doc__,
        epilog="Flags not listed here go to training.train. For research; not a medical device.",
    )
    parser.add_argument("--leave-out", choices=LEFT_OUT, default="source", help="what is held out in turn")
    parser.add_argument("--sources", help="hold out only these, separated by commas")
    parser.add_argument(
        "--method", action="append", choices=tuple(METHODS), help="repeat to compare, the first is the reference"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="training seeds")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/crossval"), help="folder of the runs and crossval.json"
    )
    options, rest = parser.parse_known_args(arguments)
    options.method = list(dict.fromkeys(options.method or ["erm", "end"]))
    return options, rest


if __name__ == "__main__":
    OPTIONS = read_arguments(sys.argv[1:])  # before the heavy imports, so that --help answers at once

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from datasets.cohort.films import Cohort
from datasets.film.identity import KEY_FILE, hash_key
from datasets.sample import Split
from training.bias.numbers.auroc import auroc_difference, auroc_interval, auroc_permutation_p
from training.bias.numbers.metrics import MINIMUM_PATIENTS
from training.bias.numbers.uncertainty import Interval
from training.console.messages import ERRORS, RESEARCH_ONLY, SYNTHETIC, mistakes_as_sentences
from training.loop.fit import obtain, prepare
from training.run.config import LOCAL_SETTINGS, TrainConfig, as_settings
from training.run.films import cohort_of, preprocessing_of, split_names
from training.run.report import json_numbers, machine, versions

SCHEMA_VERSION = 1


def main(options: argparse.Namespace, rest: list[str]) -> None:
    """Train every fold that is not there yet, then print the table and write crossval.json."""
    console = Console()
    with mistakes_as_sentences("interrupted; the same command goes on from here"):
        scores, record = cross_validate(options, rest, console)
    record["rows"] = compare_sources(scores, options.method)
    show(record, options.method, console)
    file = options.output / "crossval.json"
    write_text(file, json.dumps(record, indent=1, allow_nan=False) + "\n")
    console.print(f"written to {file}", markup=False, highlight=False)


def cross_validate(
    options: argparse.Namespace, rest: list[str], console: Console
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Train and score each fold.

    Returns:
        One row a held-out film: source, row, patient (hash), is_positive, and a column `method:seed` of scores each; and
        what crossval.json says beside its rows.

    Raises:
        ValueError: the cohort or the settings can't be used, or no source can be held out.
    """
    first = parse(rest, options.method)
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
                    held = pd.read_parquet(run.folder / "predictions.parquet").query("split == 'external'")
                    columns[f"{method}:{seed}"] = held["score"].to_numpy()
                    settings[method] = public_settings(config)
        except ValueError as error:
            ERRORS.print(f"without {source}: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
            failed[source] = str(error)
            continue
        positive = held["target"] == table.info.positive_name
        base = {"source": held["source"], "row": held["row"], "patient": held["patient"], "is_positive": positive}
        tables.append(pd.concat([pd.DataFrame(base).reset_index(drop=True), pd.DataFrame(columns)], axis=1))
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


def choose_sources(cohort: Cohort, wanted: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Sources to hold out, and why for each of the others.

    Without `wanted`: sources of at least ten patients in every class, for less says nothing about a held-out source.

    Raises:
        ValueError: an unknown source is wanted, or none qualifies.
    """
    table, info = cohort.table, cohort.info
    names = sorted(set(table["source"]))
    trained = set(table["source"][table["split"] == str(Split.TRAIN)])
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise ValueError(f"--sources: no film comes from {unknown[0]!r}; sources are {', '.join(names)}")
    people = table.groupby(["source", "target_name"])["patient"].nunique().unstack(fill_value=0)
    people = people.reindex(columns=list(info.targets), fill_value=0)
    skipped = {}
    for name in names:
        scarce = people.columns[people.loc[name] < MINIMUM_PATIENTS]
        if wanted and name not in wanted:
            skipped[name] = "not asked for"
        elif not wanted and name not in trained:
            skipped[name] = "it is not in training anyway"
        elif not wanted and len(scarce):
            skipped[name] = (
                f"{people.loc[name, scarce[0]]} patients of class {scarce[0]}, {MINIMUM_PATIENTS} are needed"
            )
    chosen = [name for name in names if name not in skipped]
    if not chosen:
        raise ValueError(
            "no source has ten patients of every class: " + "; ".join(f"{n}: {w}" for n, w in skipped.items())
        )
    return chosen, skipped


def compare_sources(scores: pd.DataFrame, methods: list[str]) -> list[dict[str, Any]]:
    """AUROC by held-out source and pooled within sources, of each method and of its difference to the first.

    The pooled row counts only pairs of films of one source: it depends on ranks within a source alone, so that scores of
    different models, one a fold, need not share a scale.
    """
    parts = [(name, (scores["source"] == name).to_numpy()) for name in scores["source"].unique()]
    if len(parts) > 1:
        parts.append(("pooled within sources", np.ones(len(scores), bool)))
    rows = []
    for name, chosen in parts:
        films = scores[chosen]
        y, patient, stratum = (films[column].to_numpy() for column in ("is_positive", "patient", "source"))
        values = {m: films.filter(regex=f"^{m}:").to_numpy() for m in methods}
        row: dict[str, Any] = {
            "part": name,
            "films": len(films),
            "patients": len(set(patient)),
            "auroc": {},
            "against": {},
        }
        for method in methods:
            interval = auroc_interval(y, values[method], patient, stratum=stratum)
            row["auroc"][method] = json_numbers(interval._asdict())
            if method != methods[0]:
                gap, detectable = auroc_difference(y, values[method], values[methods[0]], patient, stratum=stratum)
                p = auroc_permutation_p(y, values[method], values[methods[0]], patient, stratum=stratum)
                row["against"][method] = json_numbers({**gap._asdict(), "p": p, "detectable": detectable}) | {
                    "verdict": verdict(gap, p)
                }
        rows.append(row)
    return rows


def verdict(gap: Interval, p: float) -> str:
    """`better` or `worse` where interval and permutation agree, else `cannot conclude`."""
    if p < 0.05 and gap.low > 0:
        return "better"
    return "worse" if p < 0.05 and gap.high < 0 else "cannot conclude"


def public_settings(config: TrainConfig) -> dict[str, Any]:
    """Settings without paths of this machine, and without those that change from fold to fold."""
    hidden = (*LOCAL_SETTINGS, "external_sources", "seed", "paired")
    return {name: value for name, value in as_settings(config).items() if name not in hidden}


def show(record: dict[str, Any], methods: list[str], console: Console) -> None:
    """Print the table of held-out sources, then what was not held out and why."""
    many = f", mean over {len(record['seeds'])} seeds" if len(record["seeds"]) > 1 else ""
    table = Table(
        title=f"AUROC on sources never seen{many}; 95 % bootstrap over patients",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("held out")
    table.add_column("patients", justify="right")
    for method in methods:
        table.add_column(method, justify="right")
    for _ in methods[1:]:
        for heading in ("difference", "p", "detectable", "verdict"):
            table.add_column(heading, justify="right")
    for row in record["rows"]:
        cells = [span(row["auroc"][method], ".3f") for method in methods]
        for method in methods[1:]:
            gap = row["against"][method]
            known = gap["p"] is not None
            cells += [span(gap, "+.3f"), *([f"{gap['p']:.3f}", f"{gap['detectable']:.2f}"] if known else ["", ""])]
            cells.append(gap["verdict"])
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


if __name__ == "__main__":
    main(*OPTIONS)
