"""Audit checkpoints: `python -m training.evaluate RUN [RUN ...]` writes predictions, report.json, report.html, model cards.

Each checkpoint reads the films through its own preprocessing and is read at its own temperature and threshold; several are
compared on the same films. Scored are the run's own test and external films, or another cohort with a metadata.csv.
"""

import argparse
import dataclasses
import json
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from training.commandline import Parser
from training.config import from_settings


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line as a namespace; exits with a sentence on a bad one."""
    parser = Parser(
        prog="python -m training.evaluate",
        description=__doc__,
        epilog="For research; not a medical device. Scores are model scores, not diagnoses.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder, or its model.safetensors")
    films = parser.add_mutually_exclusive_group()
    films.add_argument("--data-dir", type=Path, metavar="DIR", help="another cohort: a folder with metadata.csv")
    films.add_argument("--split", default="test,external", help="splits of the run's own films (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the results go (default: RUN/audit)")
    parser.add_argument(
        "--by", action="append", default=[], metavar="COLUMN", help="also group by this column; repeatable"
    )
    parser.add_argument(
        "--fail-on", metavar="CONDITIONS", help="exit with 1 when one holds: gap:sensitivity:source>0.1,..."
    )
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the outcome of --fail-on as JUnit XML")
    parser.add_argument(
        "--shortcuts", action=argparse.BooleanOptionalAction, default=True, help="perturb the films too"
    )
    parser.add_argument("--resamples", type=int, default=2000, help="of each bootstrap over patients (default: 2000)")
    parser.add_argument("--permutations", type=int, default=2000, help="of each permutation test (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of all resampling (default: 0)")
    parser.add_argument("--device", default="auto", help="cuda, cpu or auto")
    parser.add_argument(
        "--hash-key", type=Path, metavar="FILE", help="key of the hashes (default: that of the runs' folder)"
    )
    options = parser.parse_strictly(arguments)
    for name in ("resamples", "permutations"):
        if getattr(options, name) < 100:
            parser.error(f"--{name} {getattr(options, name)}: must be 100 or more")
    if options.junit and not options.fail_on:
        parser.error("--junit writes the outcome of --fail-on: give both")
    return options


if __name__ == "__main__":
    OPTIONS = read_arguments(sys.argv[1:])  # before the heavy imports, so that --help answers at once

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from datasets.cohort import Cohort, CohortError
from datasets.covid import FilmFolder, load_unseen
from datasets.identity import KEY_FILE, hash_key, keyed_hash
from datasets.sample import Split
from training.bias.gate import Outcome, check_conditions, parse_conditions, write_junit
from training.bias.interchange import faircare_layout, fmm_layout
from training.bias.page import write_page
from training.bias.report import BiasReport, Evidence, audit
from training.bias.shortcuts import SHORTCUTS
from training.checkpoint import write_aside
from training.cohorts import cohort_of, split_names
from training.config import TrainConfig
from training.measure import positive_name
from training.methods import METHODS
from training.model_card import write_card
from training.predict import Predictor, predictions_table, read_logits
from training.report import RESEARCH_ONLY, SYNTHETIC, versions
from training.score import Scored, score
from training.train import ERRORS, choose_device


class EvaluationError(ValueError):
    """An evaluation that can't be made; the message says why and what to change."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A checkpoint to evaluate, with the settings of its run where they are known."""

    folder: Path
    predictor: Predictor
    config: TrainConfig | None

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.folder.name


def main(options: argparse.Namespace) -> None:
    """Evaluate, print the verdicts, write the results; exits with 1 where a condition of --fail-on holds."""
    console = Console()
    try:
        conditions = parse_conditions(options.fail_on) if options.fail_on else []
        report, evidence, output = evaluate(options, console)
        write(report, evidence, output)
        write_cards(report, options.runs)
        outcomes = check_conditions(report, conditions)
        if options.junit:
            options.junit.parent.mkdir(parents=True, exist_ok=True)
            write_junit(outcomes, options.junit)
    except (ValueError, OSError) as error:
        ERRORS.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        ERRORS.print("interrupted; nothing was written")
        raise SystemExit(130) from None
    show(report, output, console)
    show_outcomes(outcomes, console)
    if any(outcome.failed for outcome in outcomes):
        raise SystemExit(1)


def evaluate(options: argparse.Namespace, console: Console) -> tuple[BiasReport, list[Evidence], Path]:
    """Score the films with every checkpoint and audit what came out.

    Raises:
        EvaluationError, CheckpointError, CohortError, PredictionsError: with a sentence for the user.
    """
    device = str(choose_device(options.device))
    subjects = [load_subject(run, device) for run in options.runs]
    names = [subject.name for subject in subjects]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise EvaluationError(f"two of the runs are called {min(twice)}: give each its own folder name")
    output = options.output or default_output(subjects)
    key = find_key(output, options.hash_key)
    console.print(f"[dim]{RESEARCH_ONLY}[/dim]")
    evidence: dict[str, Evidence] = {}
    for together in same_films(subjects, options.data_dir):
        cohort = films_of(together[0], options)
        for name in options.by:
            if name not in cohort.table:
                known = ", ".join(c for c in cohort.table.columns if c not in ("path", "patient_id", "patient", "row"))
                raise EvaluationError(f"--by {name}: the films have no such column; they have {known}")
        perturbations = {}
        if options.shortcuts and cohort.info.name != "biased-mnist":
            perturbations = {name: shortcut.apply for name, shortcut in SHORTCUTS.items()}
        masks = None
        if "mask" in cohort.table and options.data_dir is not None and (cohort.table["mask"] != "").all():
            masks = FilmFolder(options.data_dir, cohort.table["mask"].tolist())
        with progress_bar() as progress:
            advance = partial(progress.advance, progress.add_task("films", total=len(cohort.table)))
            predictors = [subject.predictor for subject in together]
            scored, unreadable = score(predictors, cohort, perturbations, masks, advance)
        if unreadable:
            console.print(f"{len(unreadable)} film(s) can't be read and are left out:", style="yellow")
            for position, reason in list(unreadable.items())[:5]:
                line = int(cohort.table["row"].iloc[position]) + 2
                console.print(f"  line {line} of metadata.csv: {reason}", highlight=False, markup=False)
            cohort = cohort.without(unreadable)
        for subject, found in zip(together, scored, strict=True):
            evidence[subject.name] = evidence_of(subject, cohort, found, key, tuple(options.by), output)
    ordered = [evidence[name] for name in names]
    about = {
        "notice": RESEARCH_ONLY,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "films": "another cohort" if options.data_dir else f"splits {options.split} of the runs' own films",
        "resamples": options.resamples,
        "permutations": options.permutations,
        "seed": options.seed,
        "synthetic": any(one.about["synthetic"] for one in ordered),
        "versions": versions(),
    }
    with console.status("measuring"):
        report = audit(ordered, about, options.by, options.resamples, options.permutations, options.seed)
    return report, ordered, output


def load_subject(run: Path, device: str) -> Subject:
    """Load a checkpoint and, where its folder holds them, the settings of its run."""
    predictor = Predictor.load(run, device)
    folder = run if run.is_dir() else run.parent
    file = folder / "config.yaml"
    return Subject(folder.resolve(), predictor, from_settings(file)[0] if file.is_file() else None)


def default_output(subjects: list[Subject]) -> Path:
    """`RUN/audit` for one run; for several a folder beside the first that names them all."""
    first = subjects[0].folder
    if len(subjects) == 1:
        return first / "audit"
    return first.parent / "audits" / "+".join(subject.name for subject in subjects)


def find_key(output: Path, override: Path | None) -> bytes:
    """The key of the nearest folder above the output that has one, else a new one there."""
    if override is not None:
        return hash_key(output, override)
    above = output.resolve()
    root = next((folder for folder in (above, *above.parents) if (folder / KEY_FILE).is_file()), output)
    return hash_key(root)


def same_films(subjects: list[Subject], data_dir: Path | None) -> list[list[Subject]]:
    """The runs in sets that read the very same films, so that these are decoded once for all of a set."""
    sets: dict[Any, list[Subject]] = {}
    for subject in subjects:
        info, config = subject.predictor.info, subject.config
        identity: Any = (info.name, info.targets)
        if data_dir is None:
            if config is None:
                raise EvaluationError(
                    f"{subject.folder} has no config.yaml, so its own films are not known: give --data-dir"
                )
            names = (
                "dataset",
                "data_dir",
                "classes",
                "external_sources",
                "rho",
                "films",
                "split_seed",
                "separate_copies",
            )
            identity = tuple(getattr(config, name) for name in names)
            if info.name == "biased-mnist":  # its digits come resized
                identity += (subject.predictor.checkpoint.preprocessing,)
        sets.setdefault(identity, []).append(subject)
    return list(sets.values())


def films_of(subject: Subject, options: argparse.Namespace) -> Cohort:
    """The films to score: the chosen splits of the run's own cohort, or the other cohort without films it trained on."""
    checkpoint, config = subject.predictor.checkpoint, subject.config
    if options.data_dir is not None:
        own = (
            config is not None
            and config.data_dir is not None
            and config.data_dir.resolve() == options.data_dir.resolve()
        )
        if not own:
            cohort = load_unseen(options.data_dir, checkpoint.preprocessing, checkpoint.info)
            return without_trained_on(cohort, subject)
    assert config is not None
    try:
        cohort = cohort_of(config, checkpoint.preprocessing)
    except CohortError as error:
        raise EvaluationError(
            f"the films of {subject.name} can't be loaded: {error}. --data-dir names another place"
        ) from None
    splits = split_names(options.split)
    unknown = [name for name in splits if name not in set(Split)]
    if unknown or not splits:
        raise EvaluationError(f"--split {options.split}: choose from {', '.join(Split)}, separated by commas")
    kept = np.flatnonzero(cohort.table["split"].isin(splits))
    if not len(kept):
        raise EvaluationError(f"{subject.name}: none of its films is in split {options.split}")
    return cohort.part(kept.tolist())


def without_trained_on(cohort: Cohort, subject: Subject) -> Cohort:
    """Leave out films that the run trained or was calibrated on, known by the hashes of path and patient in its folder."""
    own, config = subject.folder / "predictions.parquet", subject.config
    key_file = (config.hash_key if config else None) or subject.folder.parent / KEY_FILE
    if not own.is_file() or not key_file.is_file() or "patient_id" not in cohort.table:
        return cohort
    key, rows = hash_key(subject.folder.parent, key_file), pd.read_parquet(own)
    seen = rows[rows["split"].isin([Split.TRAIN, Split.VALIDATION])]
    pairs = set(zip(seen["file"], seen["patient"], strict=True))
    table = cohort.table
    reasons = {
        position: "the model was trained on it"
        for position, (path, patient) in enumerate(zip(table["path"], table["patient"], strict=True))
        if (keyed_hash(key, path), keyed_hash(key, patient)) in pairs
    }
    return cohort.without(reasons) if reasons else cohort


def evidence_of(
    subject: Subject, cohort: Cohort, found: Scored, key: bytes, by: tuple[str, ...], output: Path
) -> Evidence:
    """Predictions, features and what the run trained on, in the form that the audit reads."""
    checkpoint, info = subject.predictor.checkpoint, subject.predictor.info
    everything, temperature, threshold = np.arange(len(cohort.table)), checkpoint.temperature, checkpoint.threshold
    predictions = predictions_table(cohort, everything, found.logits, temperature, threshold, subject.name, key, by)
    perturbed = {}
    if info.positive is not None:
        perturbed = {
            name: read_logits(logits, info.positive, temperature, threshold).probability[:, info.positive]
            for name, logits in found.perturbed.items()
        }
    own = subject.folder / "predictions.parquet"
    training = None
    if own.is_file():
        rows = pd.read_parquet(own)
        training = rows[rows["split"] == str(Split.TRAIN)].reset_index(drop=True)
    settings = checkpoint.settings
    about = {
        "method": settings.get("method"),
        "model": checkpoint.model.name,
        "seed": settings.get("seed"),
        "training_used_source_labels": METHODS[settings["method"]].uses_bias
        if settings.get("method") in METHODS
        else None,
        "positive": positive_name(info),
        "classes": list(info.targets),
        "threshold": threshold,
        "temperature": temperature,
        "operating_point": settings.get("operating_point"),
        "synthetic": info.synthetic,
        "splits": sorted(set(cohort.table["split"])),
        "left_out": len(cohort.excluded),
    }
    return Evidence(subject.name, about, positive_name(info), predictions, found.features, perturbed, training)


def write(report: BiasReport, evidence: list[Evidence], output: Path) -> None:
    """Write all results; each file is whole or not there."""
    output.mkdir(parents=True, exist_ok=True)
    table = pd.concat([one.predictions for one in evidence], ignore_index=True)
    write_aside(output / "predictions.parquet", lambda file: table.to_parquet(file, index=False))
    for one in evidence:
        if one.positive is not None and one.predictions["target"].notna().any():
            for layout, name in ((faircare_layout, "faircare"), (fmm_layout, "fmm")):
                rows = layout(one.predictions, one.positive)
                write_aside(output / f"{one.name}.{name}.csv", partial(rows.to_csv, index=False))
    values = report.as_json()
    text = json.dumps(values, indent=1, allow_nan=False) + "\n"
    write_aside(output / "report.json", lambda file: file.write_text(text, encoding="utf-8"))
    write_aside(output / "report.html", lambda file: write_page(report, file))


def write_cards(report: BiasReport, runs: list[Path]) -> None:
    """Write MODEL_CARD.md into each run folder; one that can't be written to, or of no finished run, is said."""
    for run, path in zip(report.runs, runs, strict=True):
        sentences = [run.headline, *(f"{check.name}: {check.answer}. {check.evidence}" for check in run.checks)]
        try:
            write_card(path if path.is_dir() else path.parent, {"verdict": sentences})
        except (ValueError, OSError) as error:
            ERRORS.print(f"no model card for {run.name}: {error}", style="yellow", highlight=False, markup=False)


def progress_bar() -> Progress:
    """Films scored, on stderr."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeRemainingColumn(), console=ERRORS
    )


def show(report: BiasReport, output: Path, console: Console) -> None:
    """Print each checkpoint's verdict with its evidence, then the comparisons."""
    for run in report.runs:
        console.print(f"\n[bold]{run.name}[/bold]: {run.films} films of {run.patients} patients", highlight=False)
        console.print(run.headline, style="bold", markup=False, highlight=False)
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("question", "answer", "evidence"):
            table.add_column(heading, no_wrap=heading != "evidence")
        colour = {"found": "red", "not found": "green", "cannot conclude": "yellow"}
        for check in run.checks:
            table.add_row(check.name, f"[{colour[check.answer]}]{check.answer}[/]", check.evidence)
        console.print(table, highlight=False)
    for comparison in report.comparisons:
        console.print(f"\n[bold]{comparison.other}[/bold] against [bold]{comparison.reference}[/bold]", highlight=False)
        if comparison.problem:
            console.print(comparison.problem, style="yellow", markup=False)
            continue
        show_comparison(comparison.rows, console)
    if report.about["synthetic"]:
        console.print(SYNTHETIC, style="bold black on yellow")
    console.print(
        f"\nwritten to {output}: report.html, report.json, predictions.parquet", markup=False, highlight=False
    )


def show_comparison(rows: pd.DataFrame, console: Console) -> None:
    """Print the paired differences that could be measured."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("films", "metric", "reference", "this", "difference (95 %)", "p (Holm)", "detectable", "verdict"):
        table.add_column(heading, justify="left" if heading in ("films", "metric", "verdict") else "right")
    unknown = 0
    for _, row in rows.iterrows():
        if pd.isna(row["difference"]):
            unknown += 1
            continue
        span = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        numbers = [
            f"{row['reference']:.3f}",
            f"{row['other']:.3f}",
            span,
            f"{row['p_holm']:.3f}",
            f"{row['detectable']:.3f}",
        ]
        table.add_row(row["part"], row["metric"].replace("_", " "), *numbers, row["verdict"])
    console.print(table, highlight=False)
    if unknown:
        console.print(f"{unknown} more can't be concluded from (too few patients).", style="dim", highlight=False)


def show_outcomes(outcomes: list[Outcome], console: Console) -> None:
    """Print what became of each condition of --fail-on."""
    for outcome in outcomes:
        word, style = ("failed", "red") if outcome.failed else ("passed", "green")
        console.print(f"{word}: {outcome.condition} · {outcome.run}: {outcome.sentence}", style=style, markup=False)


if __name__ == "__main__":
    main(OPTIONS)
