"""The batch evaluation of a folder of DICOM files, from its options to tables and a report.

folder -> shards (scored by every checkpoint, kept) -> files.parquet, predictions.parquet/.csv -> audit, or description
"""

import argparse
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from datasets.cohort.external import require_groups
from datasets.cohort.label_table import Labels, matches_nothing, no_line_has, read_labels
from datasets.cohort.label_words import label_map
from datasets.cohort.parquet_table import read_parquet, write_parquet
from datasets.cohort.source_names import with_one_spelling
from datasets.film.admission import policy_of
from datasets.film.folder import Entry
from datasets.film.identity import key_id, keyed_hash
from datasets.film.linkage import write_linkage
from datasets.sample import Split
from training.bias.evidence import MAY_BE_TRAINED_ON, Evidence
from training.bias.questions.shortcuts import SHORTCUTS, sample_by_patient
from training.bias.report.audit import audit, columns_of, describe
from training.bias.report.gate import Condition
from training.bias.report.plain import plain
from training.bias.report.values import BiasReport
from training.console.commandline import too_many_workers
from training.console.messages import ERRORS, RESEARCH_ONLY, progress_bar
from training.folder.aggregate import UNITS, aggregate, summary
from training.folder.dicom_objects import write_objects
from training.folder.engines import ENGINES
from training.folder.merge import NAMED, SOURCES, Merge, Survey, sampled_scores, survey
from training.folder.overview import TWO_LABELS, not_understood, show_files
from training.folder.refusals import check_names, check_options
from training.folder.shard import FolderJob, Shard, shards_of
from training.folder.store import ShardStore
from training.run.index import remove_audit
from training.run.reference import NAME as REFERENCE
from training.scoring.by_site import changes_by_site
from training.scoring.films import key_of_training, or_allowed
from training.scoring.subjects import (
    EvaluationError,
    Subject,
    about_of,
    about_report,
    find_key,
    load_subjects,
    notes_of,
    run_key,
)


def evaluate_folder(
    options: argparse.Namespace, console: Console, conditions: Sequence[Condition] = ()
) -> tuple[BiasReport, list[Evidence]]:
    """Score `options.folder`, write its tables into `options.output`, and audit or describe the films.

    Mistakes are raised with a sentence for the user.
    """
    said = too_many_workers(options.workers)
    if said and options.dicomweb is None:  # processes that wait for an archive need no core
        console.print(said, style="yellow", highlight=False, markup=False)
    subjects = load_subjects(options.runs, options.device, options.site_calibration)
    folder, output = options.folder, options.output
    check_options(options, subjects, folder)
    key = find_key(output, options.hash_key, subjects)
    trained, unknown = trained_on(subjects, key, options.allow_training_films, options.labels is not None)
    infos = [subject.predictor.info for subject in subjects]
    words = label_map(options.map, options.map_file)
    labels = read_labels(options.labels, key, infos, words) if options.labels is not None else None
    check_names(options, labels, infos, conditions)
    if labels is not None and labels.mapped_to_nothing:
        told = f"labels that are mapped to nothing, their lines left out: {labels.mapped_to_nothing}"
        console.print(told, style="yellow", markup=False, highlight=False)
    if labels is not None and (told := no_line_has(labels)):
        console.print(told, style="yellow", markup=False, highlight=False)
    output.mkdir(parents=True, exist_ok=True)
    for name in ("files.parquet", "predictions.parquet", "predictions.csv"):  # drafts of a run that was killed
        for draft in output.glob(f".{name}.*"):
            draft.unlink()

    perturbing = labels is not None and options.shortcuts
    job = FolderJob(
        folder,
        tuple(run.resolve() for run in options.runs),
        key,
        policy_of(vars(options)),
        tuple(SHORTCUTS) if perturbing and options.shortcut_films is None else (),
        options.workers,
        options.time_limit,
        str(subjects[0].predictor.device),
        options.shard_files,
    )
    store = ShardStore(str(options.shards or output / "shards"))
    console.print(f"[dim]{RESEARCH_ONLY}[/dim]")
    sources = [own_sources(subject, key) for subject in subjects]
    spelled = spell_alike(labels, options.source_tag, columns_of(options.by), frozenset().union(*sources))
    shards = score_shards(job, store, options.engine, options.retry)
    surveyed = survey(store, shards, labels, trained, frozenset().union(*sources))
    show_files(surveyed, console)
    if options.fail_on and not surveyed.labelled:
        raise EvaluationError("--fail-on: no scored film has a label, so that nothing is measured that could fail")
    for name in columns_of(options.by):
        if labels is not None and name in labels.table:  # now that films tell whose a line is
            films = surveyed.files[surveyed.files["label"] >= 0].reset_index(drop=True)
            require_groups(
                "--by", name, labels.table[name].iloc[films["label"]].reset_index(drop=True), films["patient"]
            )
    for note in spelled:  # now that no column names patients
        console.print(note, style="yellow", markup=False, highlight=False)
    if labels is not None and not surveyed.labelled:
        raise EvaluationError(matches_nothing(labels, "a scored film, so nothing can be audited"))
    scored = surveyed.files[surveyed.files["status"] == "scored"]
    if len(scored) and not surveyed.files["audited"].any():
        raise EvaluationError("all scored films are of patients that a run was trained on: none is left to audit")
    also = tuple(columns_of(options.by))
    merge = Merge(job, store, shards, surveyed, subjects, labels, options.source_tag, also, tuple(sources))
    if len(scored):
        remove_audit(output)  # an earlier report would be taken for that of the tables which come now
    merge.write_files(output / "files.parquet")
    merge.write_predictions(output / "predictions.parquet")
    if options.linkage is not None:
        write_linkage(options.linkage, folder, key, set(scored["file"]))
        linked = f"identifies patients: {options.linkage} says what each hash stands for"
        console.print(linked, markup=False, highlight=False)
    if scored.empty:
        raise EvaluationError(f"no file of the folder could be scored; {output / 'files.parquet'} says why for each")
    if options.sr is not None or options.saliency is not None:
        write_objects(options, job, subjects, console)
    about = about_folder(options, subjects, surveyed, spelled)
    if options.aggregate:
        about["aggregated"] = aggregate_units(options, subjects, surveyed, output)
    evidence = [evidence_of_folder(merge, number, unknown) for number in range(len(subjects))]
    for note in dict.fromkeys(note for run in evidence for note in run.notes):
        console.print(note, style="yellow", markup=False, highlight=False)
    if found := changes_by_site(evidence, subjects):
        about["site_calibration"] = plain(found)
    kept = set(shards)
    if perturbing and surveyed.labelled and options.shortcut_films is not None:
        evidence, sampled = perturb_sample(merge, evidence, options)
        kept |= set(sampled)
    if options.shards is None:
        store.keep_only(kept)
    with console.status("measuring"):
        if surveyed.labelled:
            report = audit(
                evidence, about, options.by, options.resamples, options.permutations, options.seed,
                reference=options.reference, prevalence=options.prevalence,
            )  # fmt: skip
        else:
            report = describe(evidence, about, options.resamples, options.permutations, options.seed)
    return report, evidence


def spell_alike(labels: Labels | None, source: str, by: Sequence[str], known: Collection[str]) -> list[str]:
    """Give each value of these columns of the labels one spelling, in place: that of a training source, or the commonest.

    Returns:
        sentences on what was changed.
    """
    notes = list[str]()
    if labels is None:
        return notes
    for name in dict.fromkeys((source, *by)):
        if name in labels.table and name not in SOURCES:
            wins, kind = (sorted(known), "Source") if name == source else ((), name.capitalize())
            labels.table[name], told = with_one_spelling(labels.table[name].fillna(""), wins, kind)
            notes += told
    return notes


def perturb_sample(
    merge: Merge, evidence: list[Evidence], options: argparse.Namespace
) -> tuple[list[Evidence], list[str]]:
    """Read and perturb a sample of the audited films; the evidence with their scores, and the names of their shards.

    Which films tell is known only when all are scored and matched with their labels.
    """
    films = evidence[0].predictions
    target, source, patient = (films[name].astype(str).to_numpy() for name in ("target", "source", "patient"))
    at = sample_by_patient(target, source, patient, options.shortcut_films, options.seed)
    job = replace(merge.job, perturbations=tuple(SHORTCUTS))
    shards = score_shards(job, merge.store, options.engine, options.retry, set(films["file"].iloc[at]))
    scores = sampled_scores(job, merge.store, shards, merge.subjects, films)
    return [replace(run, perturbed=perturbed) for run, perturbed in zip(evidence, scores, strict=True)], shards


def score_shards(
    job: FolderJob, store: ShardStore, engine: str, retry: bool = False, files: set[str] | None = None
) -> list[str]:
    """Score the shards that the store lacks; returns the names of all, in the folder's order.

    Args:
        engine: a key of `ENGINES`.
        files: hashes of the files to score; None for all.
        retry: also score those again with files that failed for a reason that may have passed.
    """
    names: list[str] = []

    def entries() -> Iterator[Entry]:
        return (entry for entry in job.folder.entries() if files is None or keyed_hash(job.key, entry.name) in files)

    with ERRORS.status("listing the folder"):
        total = sum(1 for _ in entries())
    with progress_bar() as progress:
        task = progress.add_task("files" if files is None else "files, perturbed", total=total)
        advance = partial(progress.advance, task)

        def missing() -> Iterator[Shard]:
            for shard in shards_of(job, entries()):
                names.append(shard.name)
                if store.has(shard) and not (retry and store.may_pass(shard)):
                    advance(len(shard.entries))
                else:
                    yield shard

        ENGINES[engine](job, store, missing(), advance)
    return names


def trained_on(subjects: list[Subject], key: bytes, allowed: bool, labelled: bool) -> tuple[set[str], dict[str, str]]:
    """Hashes of the patients that any of the runs was trained or calibrated on.

    Args:
        key: of the hashes of the folder's films.
        allowed: go on where these patients can't be told.
        labelled: whether anything is audited; without labels nothing is that training films could flatter.

    Returns:
        The hashes, and a note by the name of each run whose patients can't be told.
    """
    patients, unknown = set[str](), dict[str, str]()
    for subject in subjects:
        if subject.sites is not None:
            if subject.sites.key != key_id(key):
                raise EvaluationError(
                    f"the results have hashes by another key than the site calibration of {subject.name}, whose key is "
                    f"--hash-key {run_key(subject)}"
                )
            patients |= subject.sites.patients
        try:
            own, table = key_of_training(subject)
            if key_id(own) != key_id(key):
                raise EvaluationError(
                    f"the results have hashes by another key than {subject.name}, whose key is --hash-key {run_key(subject)}"
                )
            patients |= set(table["patient"])
        except EvaluationError as error:
            why = str(error)
            unknown[subject.name] = or_allowed(subject, why, allowed) if labelled else f"{MAY_BE_TRAINED_ON}: {why}."
    return patients, unknown


def own_sources(subject: Subject, key: bytes) -> frozenset[str]:
    """Sources of the films that a run was trained on, as they are called in this folder too; none under another key."""
    try:
        own, table = key_of_training(subject)
    except EvaluationError:
        return frozenset()
    seen = table["source"][table["split"] == str(Split.TRAIN)]
    return frozenset(seen.dropna().astype(str)) if key_id(own) == key_id(key) else frozenset()


def evidence_of_folder(merge: Merge, number: int, unknown: dict[str, str]) -> Evidence:
    """What one checkpoint's audit is made of; `unknown` are the notes of `trained_on`."""
    subject = merge.subjects[number]
    films = merge.audited(number)
    reference = subject.reference
    training = subject.predictions((Split.TRAIN,))
    if training is not None and not merge.survey.labelled:
        training = training.drop(columns="source")  # sources have other names there: all of them would look new
    left_out = int((merge.survey.files["status"] != "scored").sum())
    notes = [*notes_of(subject, set(films.predictions["source"]))]
    own = merge.trained_on[number]
    named = merge.source in NAMED and any(name.startswith(f"{merge.source} ") for name in own)
    if named and not films.predictions["source"].isin(own).any():
        notes.append(
            f"No {merge.source} of these films is one that {subject.name} was trained on. If one should be, its cohort may "
            "have been prepared by an earlier version, which named them otherwise: prepare and train again."
        )
    if reference is None:
        notes.append(f"{subject.name} holds no {REFERENCE}: films unlike its training films can't be told.")
    return Evidence(
        subject.name,
        about_of(subject, sorted(set(films.predictions["split"])), left_out),
        subject.predictor.info.positive_name,
        films.predictions,
        films.features,
        films.perturbed,
        training,
        subject.predictions((Split.VALIDATION,)),
        reference.distances(films.features) if reference is not None else None,
        reference.limit if reference is not None else None,
        (*([unknown[subject.name]] if subject.name in unknown else []), *notes),
    )


def about_folder(
    options: argparse.Namespace, subjects: list[Subject], surveyed: Survey, spelled: Sequence[str] = ()
) -> dict[str, Any]:
    """What the report says of the whole; nothing in it identifies anyone.

    Args:
        spelled: which values of the labels' columns were taken for one.
    """
    notes = list(spelled)
    if surveyed.without_patient:
        notes.append(f"{surveyed.without_patient} films name no patient: each of their studies counts as one.")
    if surveyed.trained:
        notes.append(f"{surveyed.trained} films are of patients that a run was trained on, and are not audited.")
    if surveyed.copied:
        notes.append(
            f"{surveyed.copied} films have exactly the pixels of another patient's film: there are fewer patients than are "
            "counted, and every interval is too narrow. Films that were made anonymous twice are such copies."
        )
    scored, audited = surveyed.files[surveyed.files["status"] == "scored"], int(surveyed.files["audited"].sum())
    if audited + surveyed.trained < (int((scored["label"] >= 0).sum()) or len(scored)):
        notes.append(f"The report is made of {audited} films of patients drawn by their hashes; the tables have all.")
    notes += [f"{count} lines of the labels go with {what}." for what, count in surveyed.unmatched.items() if count]
    if surveyed.contradicted:
        notes.append(f"{surveyed.contradicted} {TWO_LABELS}.")
    notes += not_understood(surveyed)
    files = {"counts": plain(surveyed.counts), "facts": surveyed.facts, "notes": notes}
    about = about_report(options, subjects, "a folder of DICOM files")
    return about | {"source": options.source_tag, "files": files}


def aggregate_units(
    options: argparse.Namespace, subjects: list[Subject], surveyed: Survey, output: Path
) -> list[dict[str, Any]]:
    """Write studies.parquet and patients.parquet; returns how well each run tells those that are audited apart."""
    audited = set(surveyed.files["patient"][surveyed.files["audited"]])
    columns = ["run", "file", "study", "patient", "target", "score"]
    predictions = read_parquet(output / "predictions.parquet", columns=columns)
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
            write_parquet(table, output / f"{name}.parquet")
    return rows
