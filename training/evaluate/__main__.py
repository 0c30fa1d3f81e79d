"""Audit checkpoints: `python -m training.evaluate RUN [RUN ...]` writes predictions, report.json, report.html, model cards.

Each checkpoint reads the films through its own preprocessing and is read at its own temperature and threshold; several are
compared on the same films. Scored are the run's own test and external films, another cohort with a metadata.csv, a folder
of DICOM files or the films of a DICOMweb archive: with --labels these are audited, without them described.
"""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from datasets.cohort.label_words import LabelWordsError, add_map_arguments, label_map
from datasets.files import require_new_file, require_writable
from datasets.film import dicomweb_folder
from datasets.film.admission import add_arguments, policy_of
from datasets.film.folder import Folder, open_folder
from datasets.film.words import WordsError
from datasets.seed import seed_number
from training.console.commandline import RESAMPLES, WORKERS, Parser, flag_name
from training.console.messages import mistakes_as_sentences


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace; exits with a sentence on a bad one."""
    parser = Parser(
        prog="python -m training.evaluate",
        description=__doc__,
        epilog="For research; not a medical device. Scores are model scores, not diagnoses.",
    )
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="run folder, or its model.safetensors")
    films = parser.add_mutually_exclusive_group()
    films.add_argument("--data-dir", type=Path, metavar="DIR", help="another cohort: a folder with metadata.csv")
    films.add_argument("--dicom-dir", metavar="DIR", help="a folder of DICOM files, or a URL that fsspec knows")
    films.add_argument("--dicomweb", metavar="URL", help="a DICOMweb archive, of which --query chooses the films")
    films.add_argument("--split", default="test,external", help="splits of the run's own films (default: %(default)s)")
    place = "RUN/audit, for several runs audits/ beside them; --dicom-dir and --dicomweb need it"
    add("--output", type=Path, metavar="DIR", help=f"where the results go (default: {place})")
    known = "audit films of which it can't be told whether RUN was trained on them; for who knows that it was not"
    add("--allow-training-films", action="store_true", help=known)
    crossed = "also group by this column, or by several crossed (source,sex); repeatable"
    add("--by", action="append", default=[], metavar="COLUMN", help=crossed)
    compared = "compare other groups of a column with this one, as source=nih; repeatable (default: all pairs)"
    add("--reference", action="append", default=[], metavar="COLUMN=GROUP", help=compared)
    add("--prevalence", type=prevalence, metavar="P", help="also predictive values where this share has the disease")
    add("--fail-on", metavar="CONDITIONS", help="exit with 1 when one holds: gap:sensitivity:source>0.1,...")
    add("--junit", type=Path, metavar="FILE", help="write the outcome of --fail-on as JUnit XML")
    add(
        "--pdf", action="store_true", help="also print report.html to report.pdf, where Chromium or Chrome is installed"
    )
    sites = "read films with the temperature and threshold of their site, from training.calibrate RUN"
    add("--site-calibration", action="store_true", help=sites)
    add("--shortcuts", action=argparse.BooleanOptionalAction, default=True, help="perturb the films too")
    sample = "films to perturb, drawn by patient within label and source, or all (default: %(default)s)"
    add("--shortcut-films", type=film_count, default="500", metavar="N|all", help=sample)
    add("--resamples", type=int, default=2000, help="of each bootstrap over patients (default: 2000)")
    add("--permutations", type=int, default=2000, help="of each permutation test (default: 2000)")
    add("--seed", type=seed_number, default=0, help="of all resampling (default: 0)")
    add("--device", default="auto", help="cuda, cpu or auto")
    key = "key of the hashes (default: the nearest above OUTPUT, else that of the first RUN, else a new one)"
    add("--hash-key", type=Path, metavar="FILE", help=key)
    add_map_arguments(parser)
    add_arguments(parser)
    dicomweb_folder.add_arguments(parser)
    add_folder_arguments(parser)
    options = parser.parse_strictly(arguments)
    options.by = [",".join(column.strip() for column in name.split(",")) for name in options.by]
    for name in options.by:
        if not all(name.split(",")):
            parser.error(f"--by {name}: a column, or several joined by commas, for example source,sex")
    for text in options.reference:
        if not all(text.partition("=")):
            parser.error(f"--reference {text}: write COLUMN=GROUP, for example source=nih")
    columns = [text.split("=", 1)[0] for text in options.reference]
    if twice := [name for number, name in enumerate(columns) if name in columns[:number]]:
        parser.error(f"--reference {twice[0]}=...: this column has two; one group is what the others are compared with")
    options.reference = dict(text.split("=", 1) for text in options.reference)
    given = "--dicom-dir" if options.dicom_dir is not None else "--dicomweb" if options.dicomweb is not None else ""
    if given and options.output is None:
        parser.error(f"{given} needs --output: a folder for the results, outside of the films")
    try:
        policy_of(vars(options))
        mapped = label_map(options.map, options.map_file) is not None
    except (WordsError, LabelWordsError) as error:
        parser.error(str(error))
    for names, whose, fits in (
        (FOLDER_ONLY, "--dicom-dir or --dicomweb", bool(given)),
        (ARCHIVE_ONLY, "--dicomweb", given == "--dicomweb"),
    ):
        named = [name for name in names if getattr(options, name) != parser.get_default(name)]
        if named and not fits:
            parser.error(f"{flag_name(named[0])} belongs to {whose}")
    if mapped and options.labels is None and options.data_dir is None:
        parser.error("--map is for labels: give it with --labels, or with --data-dir")
    if options.store and options.sr is None and options.saliency is None:
        parser.error("--store sends what --sr and --saliency write: give one of them a folder")
    for name in ("resamples", "permutations"):
        if getattr(options, name) not in RESAMPLES:
            parser.error(f"--{name} {getattr(options, name)}: {RESAMPLES.words}")
    for name in ("workers", "time_limit", "shard_files"):
        if not getattr(options, name) >= 1:
            parser.error(f"{flag_name(name)} {getattr(options, name):g}: must be 1 or more")
    if options.workers not in WORKERS:
        parser.error(f"--workers {options.workers}: {WORKERS.words}")
    if options.junit and options.fail_on is None:
        parser.error("--junit writes the outcome of --fail-on: give both")
    return options


def film_count(text: str) -> int | None:
    """A number of films, None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a number of films of 1 or more, or all")
    return int(text)


def prevalence(text: str) -> float:
    """A share between one in a million and all but one, beyond which odds can't be reckoned with."""
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not RAREST <= share <= 1 - RAREST:
        raise argparse.ArgumentTypeError(f"{text!r}: a share from {RAREST:f} to {1 - RAREST}, for example 0.02 for 2 %")
    return share


RAREST = 1e-6
JUNIT = b"<?xml version='1.0' encoding='utf-8'?>\n<testsuites"  # how the file of --junit begins
FOLDER_ONLY = (
    *("labels", "source_tag", "aggregate", "engine", "workers"),
    *("time_limit", "shards", "shard_files", "retry", "linkage", "sr", "saliency"),
)
ARCHIVE_ONLY = ("query", "header_file", "ca_file", "store")


def add_folder_arguments(parser: Parser) -> None:
    """Flags of --dicom-dir and --dicomweb."""
    promise = "Rows carry keyed hashes; no path, UID or name leaves the folder unless asked for below."
    add = parser.add_argument_group("folder of DICOM files, or archive", promise).add_argument
    add_file = partial(add, type=Path, metavar="FILE")
    add_file("--labels", help="CSV or Parquet: label, and sop_instance_uid, file or accession_number")
    source = "what a source is: a tag or a column of the labels (default: %(default)s)"
    add("--source-tag", default="institution", metavar="NAME", help=source)
    add("--aggregate", choices=("max", "mean"), help="also score studies and patients, by this of their films' scores")
    add("--engine", default="local", choices=("local", "ray"), help="ray: the cluster at RAY_ADDRESS (default: local)")
    add("--workers", type=int, default=os.cpu_count() or 2, help="decoding processes (default: one a core)")
    add("--time-limit", type=float, default=60.0, metavar="SECONDS", help="for reading one file (default: 60)")
    add("--shards", metavar="PLACE", help="finished work, from which a killed run goes on (default: OUTPUT/shards)")
    add("--shard-files", type=int, default=512, metavar="N", help="files that a kill can cost at most (default: 512)")
    add("--retry", action="store_true", help="read files again that could not be read, crashed or timed out before")
    add_file("--linkage", help="IDENTIFIES PATIENTS: write what each hash stands for, mode 0600")
    add_folder = partial(add, type=Path, metavar="DIR")
    add_folder("--sr", help="IDENTIFIES PATIENTS: write DICOM structured reports (unverified) of all films")
    add_folder("--saliency", help="IDENTIFIES PATIENTS: write Grad-CAM secondary captures of all films")
    sent = "send what --sr and --saliency write to the archive of --dicomweb, each object once"
    add("--store", action="store_true", help=sent)


def open_films(options: argparse.Namespace) -> Folder | None:
    """The folder or the archive that the options name, once it has answered; None for neither. Raises FolderError."""
    if options.dicomweb is None:
        return None if options.dicom_dir is None else open_folder(options.dicom_dir)
    modalities = policy_of(vars(options)).modalities
    files = (options.header_file, options.ca_file)
    return dicomweb_folder.folder_of(options.dicomweb, options.query, *files, modalities, options.time_limit)


def require_places(options: argparse.Namespace) -> None:
    """Raise PlaceError where results can't be written to one of the places named."""
    for name in ("output", "sr", "saliency"):
        if getattr(options, name) is not None:
            require_writable(getattr(options, name), flag_name(name))
    if options.shards and "://" not in options.shards:
        require_writable(Path(options.shards), "--shards")
    if options.junit is not None:
        require_new_file(options.junit, "--junit", JUNIT, "JUnit XML of an audit")
    if options.linkage is not None:
        require_new_file(options.linkage, "--linkage")


def main(arguments: Sequence[str]) -> None:
    """Evaluate, print the verdicts, write the results; exits with 1 where a condition of --fail-on holds."""
    options = read_arguments(arguments)
    with mistakes_as_sentences("interrupted; nothing was written"):
        require_places(options)
        options.folder = open_films(options)
    # Waiting threads of the models would spin on the cores that the decoding processes need. Torch reads this on import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Imported here, so that --help and mistakes answer at once.
    with mistakes_as_sentences("interrupted; nothing was written"):
        from training.evaluate.evaluation import run

    run(options)


if __name__ == "__main__":
    main(sys.argv[1:])
