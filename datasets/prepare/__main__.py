"""A hospital's DICOM films, or a public data set as it lies on disk, become a cohort that can be trained on.

python -m datasets.prepare dicom films --labels labels.csv --out data/cohort
python -m datasets.prepare cohen data/covid-chestxray-dataset --out data/cohort
python -m datasets.prepare nih data/ChestX-ray14 --out data/cohort

Each adds to what is there: the folder --out holds one metadata.csv of all data sets put there. Given again for
a data set, the command replaces its rows.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets.cohort.label_words import LabelWordsError, add_map_arguments, label_map
from datasets.film import dicomweb_folder
from datasets.film.admission import add_arguments, as_flags, policy_of
from datasets.film.words import WordsError
from datasets.help_text import HelpFormatter, SentenceParser
from datasets.prepare.layouts import LAYOUTS
from datasets.prepare.request import PNG16, Request

SECONDS = 60.0  # for an answer of an archive
RESEARCH_ONLY = "For research. Not a medical device."


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the data set that the command line names, and say what became of it."""
    folders = "\n".join(f"  {name:9} {layout.title}: {layout.expects}" for name, layout in LAYOUTS.items())
    parser = SentenceParser(
        prog="python -m datasets.prepare",
        description=f"{(__doc__ or '').strip()}\n\n{RESEARCH_ONLY}",
        epilog=f"what SRC must hold:\n{folders}\n\ndocs/data.md says where they come from and what becomes of their labels.",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("dataset", choices=LAYOUTS, help="which data set SRC is")
    parser.add_argument(
        "src", type=Path, metavar="SRC", help="its folder, as it lies on disk; is not changed but by --dicomweb"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the cohort; may hold others already"
    )
    add = parser.add_argument
    tag = "source of DICOM films: institution (dicom's default), station, manufacturer, model, detector, a column of --labels"
    add("--source-tag", metavar="NAME", help=tag)
    pixels = (
        "png16: films as 16-bit PNG files of their greys, which name nobody and are smaller than uncompressed DICOM"
    )
    add("--pixels", choices=("as-is", "png16"), default="as-is", help=pixels)
    add("--copy", action="store_true", help="copy films, also where a hard link would do")
    add(
        "--no-copies",
        action="store_true",
        help="don't look for near-copies, which decodes every film (some 20 ms each)",
    )
    workers = "threads that decode (default: all cores)"
    add("--workers", type=int, default=os.cpu_count() or 1, help=workers)
    labelled = parser.add_argument_group("dicom, which has no labels of its own")
    table = "CSV or Parquet: label, and sop_instance_uid, file or accession_number, as training.evaluate takes it"
    labelled.add_argument("--labels", type=Path, metavar="FILE", help=table)
    add_map_arguments(labelled)
    classes = "labels that are classes of their own, separated by commas; training takes them too"
    labelled.add_argument("--classes", default="", metavar="NAMES", help=classes)
    key = "key of the hashes of patients, files and institutions (default: .hash-key in --out)"
    labelled.add_argument("--hash-key", type=Path, metavar="FILE", help=key)
    linkage = "IDENTIFIES PATIENTS: write what each hash stands for, mode 0600"
    labelled.add_argument("--linkage", type=Path, metavar="FILE", help=linkage)
    add_arguments(parser)
    archive = "fetch the films of this DICOMweb archive into SRC first, those that are not there yet"
    labelled.add_argument("--dicomweb", metavar="URL", help=archive)
    dicomweb_folder.add_arguments(parser)
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error("--workers must be 1 or more")
    if LAYOUTS[options.dataset].labelled and options.labels is None:
        parser.error(f"{options.dataset} has no labels of its own: name them with --labels FILE")
    given = [
        name
        for name in ("labels", "map", "map_file", "hash_key", "linkage", "dicomweb")
        if getattr(options, name) is not None
    ]
    if given and not LAYOUTS[options.dataset].labelled:
        parser.error(f"--{given[0].replace('_', '-')} belongs to dicom; {options.dataset} has labels of its own")
    if options.pixels == PNG16 and not LAYOUTS[options.dataset].headers:
        parser.error(f"--pixels png16 is for DICOM films; {options.dataset} has none")

    try:
        request = Request(
            options.dataset, options.src, options.out, policy_of(vars(options)), options.labels,
            words=label_map(options.map, options.map_file),
            classes=tuple(dict.fromkeys(name.strip().lower() for name in options.classes.split(",") if name.strip())),
            source_tag=options.source_tag, copy=options.copy, pixels=options.pixels, workers=options.workers,
            copies=not options.no_copies, hash_key=options.hash_key, linkage=options.linkage,
        )  # fmt: skip
    except (WordsError, LabelWordsError) as error:
        parser.error(str(error))
    if len(request.classes) == 1:
        parser.error(f"--classes {options.classes}: name two or more, separated by commas")
    asked = [name for name in ("query", "header_file", "ca_file") if getattr(options, name)]
    if asked and options.dicomweb is None:
        parser.error(f"--{asked[0].replace('_', '-')} belongs to --dicomweb")
    try:
        if options.dicomweb is not None:
            _fetch(options, request)
        _run(request, as_flags(vars(options)))
    except KeyboardInterrupt:  # also while torch is being imported
        sys.stderr.write("stopped; the same command goes on\n")
        raise SystemExit(130) from None


def _fetch(options: argparse.Namespace, request: Request) -> None:
    """Fetch the films of the archive into SRC; a user's mistake, or an archive that is lost, exits with 2."""
    from rich.console import Console

    from datasets.prepare.cohort import require_labels
    from datasets.prepare.fetch import fetch

    errors = Console(stderr=True, emoji=False)
    try:
        require_labels(request)
        modalities = request.policy.modalities
        given = (options.query, options.header_file, options.ca_file)
        films = dicomweb_folder.folder_of(options.dicomweb, *given, modalities, SECONDS)
        with errors.status("fetching films") as shown:
            found = fetch(films, request.src, lambda count: shown.update(f"fetching films: {count:,}"))
    except (ValueError, OSError) as error:
        errors.print(f"error: {_sentence(error)}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
    errors.print(f"{found}: {request.src}", markup=False, highlight=False, soft_wrap=True)


def _run(request: Request, flags: str) -> None:
    """Prepare, look for copies, and report; a user's mistake exits with 2.

    `flags` are those of the policy, for the next command.
    """
    from rich.console import Console

    from datasets.prepare.cohort import prepare_alone
    from datasets.prepare.report import report

    errors = Console(stderr=True, emoji=False)
    try:
        prepared, copies = prepare_alone(request, errors)
    except (ValueError, OSError) as error:
        errors.print(f"error: {_sentence(error)}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
    report(request, prepared, copies, flags)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} can't be written or read: {error.strerror}"
    return str(error)


if __name__ == "__main__":
    main()
