"""The batch evaluation of a folder of DICOM files, from its options to tables and a report.

folder -> shards (scored by every checkpoint, kept) -> files.parquet, predictions.parquet/.csv -> audit, or description
"""

import argparse
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from datasets.files import write_aside
from datasets.film.facts import MODALITIES, VIEWS
from datasets.film.folder import Folder, LocalFolder, open_folder
from datasets.film.identity import hash_key, key_id
from datasets.film.policy import DicomPolicy
from datasets.sample import Split
from training.bias.evidence import Evidence
from training.bias.questions.shortcuts import SHORTCUTS
from training.bias.report.audit import audit, describe
from training.bias.report.plain import plain
from training.bias.report.values import BiasReport
from training.console.messages import ERRORS, RESEARCH_ONLY, progress_bar
from training.folder.aggregate import UNITS, aggregate, summary
from training.folder.dicom_derived import require_highdicom
from training.folder.engines import ENGINES
from training.folder.labels import Labels, read_labels
from training.folder.merge import Merge, Survey, source_names, survey
from training.folder.patient_files import scored_films, write_linkage, write_saliency, write_structured_reports
from training.folder.shard import FolderJob, Shard, shards_of
from training.folder.store import ShardStore
from training.run.reference import load_reference
from training.scoring.subjects import EvaluationError, Subject, about_of, about_report, find_key, load_subjects, run_key

VIEWS_KNOWN = {*VIEWS.values(), "OTHER", "UNKNOWN"}


def evaluate_folder(options: argparse.Namespace, console: Console) -> tuple[BiasReport, list[Evidence]]:
    """Score a folder, write its tables into `options.output`, and audit or describe the films.

    Mistakes are raised with a sentence for the user.
    """
    subjects = load_subjects(options.runs, options.device)
    folder, output = open_folder(str(options.dicom_dir)), options.output
    check_options(options, subjects, folder)
    key = find_key(output, options.hash_key)
    infos = [subject.predictor.info for subject in subjects]
    labels = read_labels(options.labels, key, infos) if options.labels is not None else None
    check_names(options, labels)
    output.mkdir(parents=True, exist_ok=True)
    for name in ("files.parquet", "predictions.parquet", "predictions.csv"):  # drafts of a run that was killed
        for draft in output.glob(f".{name}.*"):
            draft.unlink()

    job = FolderJob(
        folder,
        tuple(run.resolve() for run in options.runs),
        key,
        policy_of(options),
        tuple(SHORTCUTS) if labels is not None and options.shortcuts else (),
        options.workers,
        options.time_limit,
        str(subjects[0].predictor.device),
        options.shard_files,
    )
    store = ShardStore(str(options.shards or output / "shards"))
    console.print(f"[dim]{RESEARCH_ONLY}[/dim]")
    shards = score_shards(job, store, options.engine, options.retry)
    if options.shards is None:
        store.keep_only(set(shards))
    trained = trained_on(subjects, key)
    surveyed = survey(store, shards, labels, trained)
    show_files(surveyed, console)
    if options.fail_on and not surveyed.labelled:
        raise EvaluationError("--fail-on: no scored film has a label, so that nothing is measured that could fail")
    merge = Merge(job, store, shards, surveyed, subjects, labels, options.source_tag, tuple(options.by))
    merge.write_files(output / "files.parquet")
    merge.write_predictions(output / "predictions.parquet")
    scored = surveyed.files[surveyed.files["status"] == "scored"]
    if options.linkage is not None:
        write_linkage(options.linkage, job, set(scored["file"]))
        linked = f"identifies patients: {options.linkage} says what each hash stands for"
        console.print(linked, markup=False, highlight=False)
    if scored.empty:
        raise EvaluationError(f"no file of the folder could be scored; {output / 'files.parquet'} says why for each")
    if options.sr is not None or options.saliency is not None:
        write_patient_files(options, job, subjects, console)
    if not surveyed.files["audited"].any():
        raise EvaluationError("all scored films are of patients that a run was trained on: none is left to audit")
    about = about_folder(options, subjects, surveyed)
    if options.aggregate:
        about["aggregated"] = aggregate_units(options, subjects, surveyed, output)
    evidence = [evidence_of_folder(merge, number) for number in range(len(subjects))]
    with console.status("measuring"):
        if surveyed.labelled:
            report = audit(
                evidence, about, options.by, options.resamples, options.permutations, options.seed, options.reference
            )
        else:
            report = describe(evidence, about, options.resamples, options.permutations, options.seed)
    return report, evidence


def check_options(options: argparse.Namespace, subjects: list[Subject], folder: Folder) -> None:
    """Refuse what can't be done with a sentence for the user, before any file is read."""
    objects = options.sr is not None or options.saliency is not None  # of DICOM
    for subject in subjects:
        if subject.predictor.info.name == "biased-mnist":
            raise EvaluationError(f"{subject.name} is a model of digits: it can't score chest radiographs")
        if objects and subject.predictor.info.positive is None:
            raise EvaluationError(f"{subject.name} has no positive class, so there is no score for --sr and --saliency")
    shards = Path(options.shards) if options.shards and "://" not in options.shards else None
    for place in (options.output, options.sr, options.saliency, options.linkage, shards):
        if isinstance(folder, LocalFolder) and place is not None and place.resolve().is_relative_to(folder.root):
            raise EvaluationError(f"{place} lies in the folder that is read: write the results elsewhere")
    if objects:
        require_highdicom()
    if options.fail_on and options.labels is None:
        raise EvaluationError("--fail-on needs --labels: without them nothing is measured that could fail")


def check_names(options: argparse.Namespace, labels: Labels | None) -> None:
    """Refuse a source or a grouping that no film has, with the names there are."""
    known = source_names(labels)
    for flag, name in [("--source-tag", options.source_tag), *(("--by", name) for name in options.by)]:
        if name not in known:
            names = ", ".join(known)
            raise EvaluationError(f"{flag} {name}: nothing of that name is kept of a film; choose from {names}")
    if options.by and labels is None:
        raise EvaluationError("--by groups what is measured against labels: give --labels")


def policy_of(options: argparse.Namespace) -> DicomPolicy:
    """What is admitted; raises EvaluationError for a view or modality that no film can have."""
    views, modalities = (
        tuple(name.strip().upper() for name in text.split(",") if name.strip())
        for text in (options.views, options.modalities)
    )
    for flag, names, known in (("--views", views, VIEWS_KNOWN), ("--modalities", modalities, MODALITIES)):
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise EvaluationError(f"{flag} {','.join(unknown)}: choose from {', '.join(sorted(known))}")
    parts = ("CHEST", "UNKNOWN") if options.body_part == "chest" else ("CHEST", "UNKNOWN", "OTHER")
    return DicomPolicy(
        modalities=modalities, views=views, body_parts=parts, for_processing=options.presentation == "any"
    )


def score_shards(job: FolderJob, store: ShardStore, engine: str, retry: bool = False) -> list[str]:
    """Score the shards that the store lacks; returns the names of all, in the folder's order.

    Args:
        engine: a key of `ENGINES`.
        retry: also score those again with files that failed for a reason that may have passed.
    """
    names: list[str] = []
    with ERRORS.status("listing the folder"):
        total = sum(1 for _ in job.folder.entries())
    with progress_bar() as progress:
        task = progress.add_task("files", total=total)
        advance = partial(progress.advance, task)

        def missing() -> Iterator[Shard]:
            for shard in shards_of(job, job.folder.entries()):
                names.append(shard.name)
                if store.has(shard) and not (retry and store.may_pass(shard)):
                    advance(len(shard.entries))
                else:
                    yield shard

        ENGINES[engine](job, store, missing(), advance)
    return names


def trained_on(subjects: list[Subject], key: bytes) -> set[str]:
    """Hashes of the patients that any of the runs was trained or calibrated on, as far as they are known under this key."""
    patients: set[str] = set()
    for subject in subjects:
        file = run_key(subject)
        table = subject.predictions((Split.TRAIN, Split.VALIDATION))
        if table is not None and file.is_file() and key_id(hash_key(subject.folder.parent, file)) == key_id(key):
            patients |= set(table["patient"])
    return patients


def evidence_of_folder(merge: Merge, number: int) -> Evidence:
    """What one checkpoint's audit is made of."""
    subject = merge.subjects[number]
    films = merge.audited(number)
    reference = load_reference(subject.folder)
    training = subject.predictions((Split.TRAIN,))
    if training is not None and not merge.survey.labelled:
        training = training.drop(columns="source")  # sources have other names there: all of them would look new
    left_out = int((merge.survey.files["status"] != "scored").sum())
    return Evidence(
        subject.name,
        about_of(subject, [str(Split.EXTERNAL)], left_out),
        subject.predictor.info.positive_name,
        films.predictions,
        films.features,
        films.perturbed,
        training,
        subject.predictions((Split.VALIDATION,)),
        reference.distances(films.features) if reference is not None else None,
        reference.limit if reference is not None else None,
    )


def about_folder(options: argparse.Namespace, subjects: list[Subject], surveyed: Survey) -> dict[str, Any]:
    """What the report says of the whole; nothing in it identifies anyone."""
    notes = []
    if surveyed.without_patient:
        notes.append(f"{surveyed.without_patient} films name no patient: each of their studies counts as one.")
    if surveyed.trained:
        notes.append(f"{surveyed.trained} films are of patients that a run was trained on, and are not audited.")
    scored, audited = surveyed.files[surveyed.files["status"] == "scored"], int(surveyed.files["audited"].sum())
    if audited + surveyed.trained < (int((scored["label"] >= 0).sum()) or len(scored)):
        notes.append(f"The report is made of {audited} films of patients drawn by their hashes; the tables have all.")
    notes += [f"{count} lines of the labels go with {what}." for what, count in surveyed.unmatched.items() if count]
    files = {"counts": plain(surveyed.counts), "facts": surveyed.facts, "notes": notes}
    about = about_report(options, subjects, "a folder of DICOM files")
    return about | {"source": options.source_tag, "files": files}


def aggregate_units(
    options: argparse.Namespace, subjects: list[Subject], surveyed: Survey, output: Path
) -> list[dict[str, Any]]:
    """Write studies.parquet and patients.parquet; returns how well each run tells those that are audited apart."""
    audited = set(surveyed.files["patient"][surveyed.files["audited"]])
    columns = ["run", "file", "study", "patient", "target", "score"]
    predictions = pd.read_parquet(output / "predictions.parquet", columns=columns)
    rows = []
    for unit in UNITS:
        parts = []
        for subject in subjects:
            info, checkpoint = subject.predictor.info, subject.predictor.checkpoint
            if info.positive is None:
                continue
            positive = info.targets[info.positive]
            negative = info.targets[1 - info.positive] if len(info.targets) == 2 else f"not {positive}"
            scored = predictions[predictions["run"] == subject.name]
            threshold = {subject.name: checkpoint.threshold if checkpoint.threshold is not None else 0.5}
            units = aggregate(scored, unit, options.aggregate, positive, negative, threshold)
            parts.append(units)
            measured = summary(units[units["patient"].isin(audited)], positive, options.resamples, options.seed)
            rows += [{"unit": unit, "how": options.aggregate} | record for record in plain(measured)]
        if parts:
            table, name = pd.concat(parts, ignore_index=True), {"study": "studies", "patient": "patients"}[unit]
            write_aside(output / f"{name}.parquet", partial(table.to_parquet, index=False))
    return rows


def write_patient_files(options: argparse.Namespace, job: FolderJob, subjects: list[Subject], console: Console) -> None:
    """Write structured reports and saliency images where they were asked for, and say how many."""
    table = pd.read_parquet(options.output / "predictions.parquet", columns=["run", "file", "score", "prediction"])
    films, made = int((table["run"] == subjects[0].name).sum()), datetime.now()
    for place, what in ((options.sr, "structured reports"), (options.saliency, "saliency images")):
        if place is None:
            continue
        with progress_bar() as progress:
            advance = partial(progress.advance, progress.add_task(what, total=films))
            scored = scored_films(job, subjects, table)
            if place is options.sr:
                outcome = write_structured_reports(place, job, scored, made, advance)
            else:
                outcome = write_saliency(place, job, subjects, scored, made, advance)
        written = outcome.pop("written", 0) + outcome.pop("kept", 0)
        console.print(f"identifies patients: {written:,} {what} in {place}", markup=False, highlight=False)
        for reason, count in outcome.most_common():
            console.print(f"  {count:,} not written: {reason}", style="yellow", markup=False, highlight=False)


def show_files(surveyed: Survey, console: Console) -> None:
    """Print what became of the files; the counts add up."""
    by_status = surveyed.files["status"].value_counts()
    parts = ", ".join(f"{by_status.get(status, 0):,} {status}" for status in ("scored", "skipped", "failed"))
    console.print(f"[bold]{len(surveyed.files):,} files[/bold]: {parts}", highlight=False)
    others = surveyed.counts[surveyed.counts["status"] != "scored"].sort_values("files", ascending=False)
    if len(others):
        table = Table(box=None, show_header=False, pad_edge=True)
        table.add_column(justify="right")
        for _, row in others.iterrows():
            table.add_row(f"{row['files']:,}", row["status"], row["reason"])
        console.print(table, highlight=False)
    without = int(((surveyed.files["status"] == "scored") & (surveyed.files["label"] < 0)).sum())
    inverted = "scored films look inverted (air bright): look at some of them, files.parquet names them"
    warnings = {f"lines of the labels go with {what}": count for what, count in surveyed.unmatched.items()} | {
        "scored films have no label": without if surveyed.unmatched else 0,
        inverted: surveyed.facts["looks_inverted"].get("True", 0),
        "films are of patients that a run was trained on: not audited": surveyed.trained,
    }
    for what, count in warnings.items():
        if count:
            console.print(f"{count:,} {what}", style="yellow", highlight=False)
