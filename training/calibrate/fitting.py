"""Films through the checkpoint, a temperature and a threshold for each site, and what these change."""

import argparse
import os
import shlex
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sklearn.metrics import roc_auc_score

from datasets.cohort.label_words import label_map
from datasets.cohort.pixel_checks import PixelCheck
from datasets.files import require_writable
from datasets.film.admission import FLAGS as ADMISSION_FLAGS
from datasets.film.admission import as_flags, policy_of
from datasets.film.identity import hash_key, key_id
from datasets.listed import listed
from datasets.prepare.cohort import prepare_alone
from datasets.prepare.report import report
from datasets.prepare.request import Request
from datasets.sample import Split
from training.bias.numbers.calibration import at_its_bound, parse_operating_point
from training.bias.numbers.site_calibration import SiteFit, changes, cross_fitted, fit_site, read_again
from training.bias.report.plain import plain
from training.console.messages import ERRORS, RESEARCH_ONLY, SYNTHETIC
from training.console.site_table import site_table
from training.console.stages import Stages
from training.run.archive import COHORTS
from training.run.checkpoint import Calibration
from training.run.site_calibration import NAME, SiteCalibrationError, read_site_calibration, write_site_calibration
from training.scoring.films import films_of
from training.scoring.predict import predictions_table
from training.scoring.score import score
from training.scoring.subjects import EvaluationError, Subject, load_subjects, run_key

CALIBRATION = "calibration"


def calibrate(options: argparse.Namespace) -> None:
    """Fit, write, print; mistakes are raised with a sentence for the user."""
    console = Console(emoji=False)
    (subject,) = load_subjects([options.run], options.device)
    checkpoint, info = subject.predictor.checkpoint, subject.predictor.info
    if checkpoint.threshold is None or info.positive is None or len(info.targets) != 2:
        raise EvaluationError(f"{subject.name} has {len(info.targets)} classes: thresholds of sites are for two")
    point = options.operating_point
    if point is None:
        point = checkpoint.settings.get("operating_point") or "youden"
    parse_operating_point(point)
    require_writable(subject.folder, "RUN")
    console.print(f"[dim]{RESEARCH_ONLY}[/dim]")
    films = _scored(subject, options, console)
    names = info.targets[1 - info.positive], info.targets[info.positive]

    fits, again = dict[str, SiteFit](), []
    own = checkpoint.temperature, checkpoint.threshold
    with Stages() as stages:
        sites = {str(name): table for name, table in films.groupby("source", sort=True)}
        advance = stages.begin("fitting sites", len(sites))
        for name, table in sites.items():
            given = (
                table["logit"].to_numpy(float), (table["target"] == names[1]).to_numpy(), table["patient"].to_numpy(),
            )  # fmt: skip
            fits[name] = fit_site(*given, own, point, options.resamples, options.seed)
            temperature, threshold = cross_fitted(*given, point, options.seed) if fits[name].own else own
            again.append(read_again(table, temperature, threshold, names))
            advance(1)
    after = pd.concat(again).loc[films.index]
    own_films = films["source"].map(lambda name: fits[str(name)].own).to_numpy(bool)
    console.print(_fits_table(fits, point, own))
    for name, fit in fits.items():
        if fit.own and at_its_bound(fit.temperature.estimate):
            auroc = roc_auc_score(sites[name]["target"] == names[1], sites[name]["logit"])
            said = (
                f"{name}: the temperature ended at the bound of its range: scores there are no probabilities. How films "
                f"are ranked (AUROC {auroc:.2f}) and the threshold don't depend on it."
            )
            console.print(said, style="yellow", highlight=False, markup=False)
    if info.synthetic:
        console.print(SYNTHETIC, style="bold black on yellow")
    if not own_films.any():
        raise EvaluationError("nothing was written: no site has ten patients of both classes, so the model's own stays")
    title = "\nWhat it changes at sites with their own, each film read with what other patients gave"
    found = changes(films[own_films], after[own_films], names[1], max(options.resamples, 1000), options.seed)
    console.print(site_table(title, found))
    console.print(
        "Verdicts after Holm's correction for all rows. Calibration error and Brier score: lower is better. A threshold "
        "moves sensitivity against specificity: neither alone says that a site is better off."
    )
    file = write_site_calibration(
        subject.folder,
        {
            "column": options.by, "operating_point": point, "films": len(films), "key": key_id(_key(subject)),
            "model": {"temperature": own[0], "threshold": own[1]}, "sites": {name: plain(fit) for name, fit in fits.items()},
            "out_of_sample": plain(found), "patients": sorted(set(films["patient"])),
        },
    )  # fmt: skip
    console.print(f"written to {file}", markup=False, highlight=False, soft_wrap=True)
    line = f"python -m training.evaluate {shlex.quote(str(options.run))} --site-calibration"
    console.print(f"Audit other films with it: {line}", markup=False, highlight=False, soft_wrap=True)


def require_all_sites(folder: Path, sources: set[str]) -> None:
    """Refuse films that lack a site with a calibration of its own, which the new file would no longer have."""
    if not (folder / NAME).is_file():
        return
    try:
        gone = sorted(set(read_site_calibration(folder).sites) - sources)
    except SiteCalibrationError:  # of another checkpoint, or no such file: nothing is lost
        return
    if gone:
        raise EvaluationError(
            f"{folder / NAME} has sites that these films lack ({listed(gone, 5)}) and would lose them: give the films of all "
            "sites together, or remove this file"
        )


def _scored(subject: Subject, options: argparse.Namespace, console: Console) -> pd.DataFrame:
    """Predictions of the labelled films, as the model's own calibration makes them."""
    folder = _prepared(subject, options) if options.dicom_dir is not None else options.data_dir
    policy, words = policy_of(vars(options)), label_map(options.map, options.map_file)
    words = None if options.dicom_dir is not None else words  # they are read already
    cohort = films_of([subject], folder, options.split, options.allow_training_films, policy, words)
    require_all_sites(subject.folder, set(cohort.table["source"]))
    for note in cohort.notes:
        console.print(note, style="yellow", markup=False, highlight=False)
    own_films = folder is None or subject.trained_in(
        folder
    )  # else splits are another's, and training films are left out
    if own_films and (cohort.table["split"] == str(Split.TRAIN)).any():
        said = f"{subject.name} was trained on films of split train: what is fitted on them holds for no other film."
        console.print(said, style="yellow", markup=False, highlight=False)
    alike = PixelCheck()
    with Stages() as stages:
        (scored,), unreadable = score(
            [subject.predictor],
            cohort,
            advance=stages.begin("scoring films", len(cohort.table)),
            seen=lambda position, film: alike.look(position, film.pixels),
        )
    if copied := alike.across_patients(cohort):
        console.print(copied, style="yellow", markup=False, highlight=False)
    if unreadable:
        console.print(f"{len(unreadable)} film(s) can't be read and are left out", style="yellow")
        cohort = cohort.without(unreadable)
    own: Calibration = subject.predictor.checkpoint.calibration
    return predictions_table(cohort, scored.logits, own, subject.name, _key(subject))


def _prepared(subject: Subject, options: argparse.Namespace) -> Path:
    """The cohort of a folder of DICOM films, its institutions named by the key that names those of the run's own films."""
    place = f"{options.dicom_dir.resolve().name}-{CALIBRATION}"  # a training's cohort of this folder stays as it is
    out = options.data_dir or subject.folder.parent / COHORTS / place
    key = run_key(subject)
    request = Request(
        "dicom", options.dicom_dir, out, policy_of(vars(options)), options.labels,
        label_map(options.map, options.map_file), source_tag=options.source_tag, workers=os.cpu_count() or 1,
        hash_key=key if key.is_file() else None,
    )  # fmt: skip
    prepared, copies = prepare_alone(request, ERRORS)
    flags = as_flags({name: getattr(options, name) for name in ADMISSION_FLAGS})
    report(request, prepared, copies, flags, then="")
    return Path(out)


def _key(subject: Subject) -> bytes:
    file = run_key(subject)
    return hash_key(subject.folder.parent, file if file.is_file() else None)


def _fits_table(fits: dict[str, SiteFit], point: str, own: tuple[float, float]) -> Table:
    title = f"Calibration by site ({point}); the model's own: temperature {own[0]:.2f}, threshold {own[1]:.3f}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("site", overflow="fold")
    for name in ("patients with", "without"):
        table.add_column(name, justify="right")
    table.add_column("temperature", no_wrap=True)
    table.add_column("threshold", no_wrap=True)
    for name, fit in fits.items():
        counts = f"{fit.positives:.0f}", f"{fit.negatives:.0f}"
        cells = (
            [f"{value:.2f}" for value in (fit.temperature, fit.threshold)] if fit.own else ["the model's", "too few"]
        )
        table.add_row(escape(name), *counts, *cells)
    return table
