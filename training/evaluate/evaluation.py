"""What `training.evaluate` does: films through checkpoints, the audit of what came out, its files."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from datasets.cohort.films import Cohort
from datasets.cohort.label_words import label_map
from datasets.cohort.parquet_table import write_parquet
from datasets.cohort.pixel_checks import PixelCheck
from datasets.files import require_writable, write_aside, write_text, written_together
from datasets.film.admission import policy_of
from datasets.film.radiograph import Radiograph
from datasets.listed import listed, split_names
from datasets.sample import DatasetInfo
from training.bias.evidence import UNSEEN, Evidence
from training.bias.questions.shortcuts import SHORTCUTS
from training.bias.report.audit import audit, columns_of, step_count, verdict_of
from training.bias.report.first_screen import first_screen
from training.bias.report.gate import (
    Condition,
    check_conditions,
    parse_conditions,
    require_measurable,
    write_junit,
)
from training.bias.report.interchange import faircare_layout, fmm_layout
from training.bias.report.page import write_page
from training.bias.report.plain import plain
from training.bias.report.soundness import require_references
from training.bias.report.values import BiasReport
from training.cards.model_card import write_card
from training.console.messages import ERRORS, RESEARCH_ONLY, in_words, mistakes_as_sentences
from training.console.stages import Stages
from training.evaluate.pdf import PdfError, print_page
from training.evaluate.terminal import show, show_outcomes
from training.run.checkpoint_header import NAME as CHECKPOINT
from training.run.index import audit_folder, remove_audit
from training.scoring.by_site import changes_by_site, without_calibrated_on
from training.scoring.films import as_seen_by, films_of, same_films, with_fitted_told, with_note
from training.scoring.lung_masks import lung_masks, unusable_note
from training.scoring.score import score
from training.scoring.subjects import (
    EvaluationError,
    Subject,
    about_report,
    evidence_of,
    find_key,
    load_subjects,
    require_group_columns,
)


def run(options: argparse.Namespace) -> None:
    """Evaluate, print the verdicts, write the results; exits with 1 where a condition of --fail-on holds."""
    console = Console(emoji=False)
    kept = "the same command goes on from here" if options.folder is not None else "nothing was written"
    with mistakes_as_sentences(f"interrupted; {kept}"):
        if options.output is not None and (options.output / CHECKPOINT).is_file():
            raise EvaluationError(
                f"--output {options.output} is the folder of a run, whose own files would be replaced: name another, such as "
                f"{options.output / 'audit'}"
            )
        conditions = parse_conditions(options.fail_on) if options.fail_on is not None else []
        if options.folder is not None:
            from training.folder.evaluation import evaluate_folder  # pydicom and its codecs are for folders alone

            report, evidence = evaluate_folder(options, console, conditions)
            output = options.output
            with written_together(output) as place:
                write_report(report, evidence, place)
        else:
            report, evidence, output = evaluate(options, console, conditions)
            table = pd.concat([run.predictions for run in evidence], ignore_index=True)
            with written_together(output) as place:
                write_parquet(table, place / "predictions.parquet")
                write_report(report, evidence, place)
                remove_audit(output)
        write_cards(report, evidence, options.runs)
        outcomes = check_conditions(report, conditions)
        if options.junit:
            options.junit.parent.mkdir(parents=True, exist_ok=True)
            write_junit(outcomes, options.junit)
    files = ["report.html", "report.json", "predictions.parquet"]
    if options.pdf:
        try:
            print_page(output / "report.html", output / "report.pdf")
            files.insert(1, "report.pdf")
        except PdfError as error:
            ERRORS.print(f"no report.pdf: {error}", style="yellow", highlight=False, markup=False)
    show(report, output, files, console)
    show_outcomes(outcomes, console)
    if any(outcome.failed for outcome in outcomes):
        raise SystemExit(1)


def evaluate(
    options: argparse.Namespace, console: Console, conditions: Sequence[Condition] = ()
) -> tuple[BiasReport, list[Evidence], Path]:
    """Score the films with every checkpoint and audit what came out; mistakes are raised with a sentence for the user."""
    subjects = load_subjects(options.runs, options.device, options.site_calibration)
    output = options.output or audit_folder([subject.folder for subject in subjects])
    require_writable(output, "--output")
    key = find_key(output, options.hash_key, subjects)
    console.print(f"[dim]{RESEARCH_ONLY}[/dim]")
    evidence: dict[str, Evidence] = {}
    told = set[str]()
    infos = [subject.predictor.info for subject in subjects]
    named = [attribute.name for info in infos for attribute in info.named]
    columns = tuple(dict.fromkeys([*columns_of(options.by), *named]))
    sets = same_films(subjects, options.data_dir)
    for together, cohort in zip(sets, [checked_films(of, options, conditions, infos) for of in sets], strict=True):
        root = options.data_dir or (together[0].config.data_dir if together[0].config else None)
        perturbations = SHORTCUTS if is_perturbed(options, cohort) else {}
        lungs = lung_masks(cohort, root)
        chosen = lungs.sample(cohort.table, options.shortcut_films, options.seed)
        if perturbations and lungs.note:
            first = f" The first that is not there: {lungs.missing}" if lungs.missing else ""
            console.print(lungs.note + first, style="yellow", markup=False, highlight=False)
            cohort, told = with_note(cohort, lungs.note), told | {lungs.note}
        predictors = [subject.predictor for subject in together]
        inverted: list[int] = []
        unmasked: dict[int, str] = {}
        alike = PixelCheck()

        def seen(position: int, film: Radiograph, inverted: list[int] = inverted, alike: PixelCheck = alike) -> None:
            alike.look(position, film.pixels)
            if film.facts.get("looks_inverted"):
                inverted.append(position)

        with Stages() as stages:
            advance = stages.begin("scoring films", len(cohort.table))
            scored, unreadable = score(
                predictors, cohort, perturbations, lungs.films, advance, chosen, seen, unmasked.__setitem__
            )
        if unmasked:
            cohort = with_note(cohort, unusable_note(cohort, unmasked))
        if cohort.info.name == "covid":
            notes = (*cohort.notes, *cohort.text_notes(), *cohort.inversion_notes(inverted, len(cohort.table)))
            notes += tuple(filter(None, [alike.across_patients(cohort)]))
            marked = cohort.table.assign(looks_inverted=np.isin(np.arange(len(cohort.table)), inverted))
            cohort = dataclasses.replace(cohort, table=marked, notes=notes)
        if unreadable:
            console.print(f"{len(unreadable)} film(s) can't be read and are left out:", style="yellow")
            for position, reason in list(unreadable.items())[:5]:
                line = int(cohort.table["row"].iloc[position]) + 2
                console.print(f"  line {line} of metadata.csv: {reason}", highlight=False, markup=False)
            if len(unreadable) > 5:
                console.print(f"  and {len(unreadable) - 5} more", highlight=False)
            cohort = cohort.without(unreadable)
        for subject, outputs in zip(together, scored, strict=True):
            elsewhere = options.data_dir is not None and not subject.trained_in(options.data_dir)
            seen_as = as_seen_by(cohort, subject) if elsewhere else cohort
            evidence[subject.name] = evidence_of(
                subject, seen_as, outputs, key, tuple(c for c in columns if c in seen_as.table)
            )
    ordered = [evidence[subject.name] for subject in subjects]
    for note in dict.fromkeys(note for run in ordered for note in run.notes if note not in told):
        console.print(note, style="yellow", markup=False, highlight=False)
    films = "another cohort" if options.data_dir else f"splits {options.split} of the runs' own films"
    about = about_report(options, subjects, films)
    if found := changes_by_site(ordered, subjects):
        about["site_calibration"] = plain(found)
    return measured(options, ordered, about), ordered, output


def checked_films(
    together: list[Subject],
    options: argparse.Namespace,
    conditions: Sequence[Condition],
    infos: Sequence[DatasetInfo],
) -> Cohort:
    """The films of runs that are judged on the same, not scored yet; refuses what they could not answer to.

    Args:
        infos: what all runs were trained on, these and those that are judged on other films.
    """
    policy, words = policy_of(vars(options)), label_map(options.map, options.map_file)
    cohort = films_of(together, options.data_dir, options.split, options.allow_training_films, policy, words)
    cohort = with_fitted_told(cohort)
    for subject in together:
        cohort = without_calibrated_on(cohort, subject)
    require_group_columns(cohort, columns_of(options.by), "--by")
    require_references(options.reference, [cohort.table])
    elsewhere = options.data_dir is not None and not all(one.trained_in(options.data_dir) for one in together)
    splits = UNSEEN if elsewhere else split_names(options.split)
    require_measurable(conditions, infos, cohort.table.columns, options.by, splits, is_perturbed(options, cohort))
    return cohort


def is_perturbed(options: argparse.Namespace, cohort: Cohort) -> bool:
    """Whether the audit scores films with parts taken away as well."""
    return bool(options.shortcuts) and cohort.info.name != "biased-mnist"


def measured(options: argparse.Namespace, evidence: list[Evidence], about: dict[str, Any]) -> BiasReport:
    """The audit, with its steps shown."""
    steps = step_count(len(evidence))
    with Stages() as stages:
        advance, begun = stages.begin("measuring", steps), 0

        def tell(step: str) -> None:
            nonlocal begun
            advance(min(begun, 1), step)
            begun += 1

        report = audit(
            evidence, about, options.by, options.resamples, options.permutations, options.seed,
            tell=tell, reference=options.reference, prevalence=options.prevalence,
        )  # fmt: skip
        advance(steps - begun + 1)  # a comparison that can't be made has one step less
    return report


def write_report(report: BiasReport, evidence: list[Evidence], output: Path) -> None:
    """Write report.json and report.html, and the labelled predictions in the layouts of other tools."""
    write_text(output / "report.json", json.dumps(report.as_json(), indent=1, allow_nan=False) + "\n")
    write_aside(output / "report.html", lambda file: write_page(report, file))
    for run in evidence:
        if run.positive is not None and run.predictions["target"].notna().any():
            for layout, name in ((faircare_layout, "faircare"), (fmm_layout, "fmm")):
                try:
                    rows = layout(run.predictions, run.positive)
                except ValueError as error:  # no film has or is called the positive class
                    ERRORS.print(f"no {run.name}.{name}.csv: {error}", style="yellow", highlight=False, markup=False)
                    continue
                write_aside(output / f"{run.name}.{name}.csv", partial(rows.to_csv, index=False))


def write_cards(report: BiasReport, evidence: list[Evidence], runs: list[Path]) -> None:
    """Write MODEL_CARD.md into each run folder; one that can't be written to, or of no finished run, is said."""
    for run, of, path in zip(report.runs, evidence, runs, strict=False):  # none where no film has a label
        if of.warning:
            said = f"no model card for {run.name}: {of.warning[0].lower()}{of.warning[1:]}"
            ERRORS.print(said, style="yellow", highlight=False, markup=False)
            continue
        sources = listed(sorted(of.predictions["source"].dropna().astype(str).unique()), 5)
        films = f"{report.about['films']}: {run.films} films of {run.patients} patients ({sources})"
        try:
            write_card(path if path.is_dir() else path.parent, first_screen(verdict_of((run,))), films)
        except (ValueError, OSError) as error:
            ERRORS.print(
                f"no model card for {run.name}: {in_words(error)}", style="yellow", highlight=False, markup=False
            )
