"""A training on a hospital's archive: the flags that say where its films and labels are, and where its cohort goes."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.console.commandline import Parser

COHORTS = "cohorts"  # in --output: a folder each, named after that of the films, unless --data-dir names another


@dataclass(frozen=True)
class Archive:
    """A folder of DICOM films and a table of labels, as `datasets.prepare dicom` takes them."""

    films: Path
    labels: Path
    source_tag: str | None = None
    pixels: str = "as-is"


def add_archive_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to `--help`."""
    add = parser.add_argument_group("films of an archive, made into a cohort first (docs/data.md)").add_argument
    cohort = f"folder of DICOM films; their cohort goes to --data-dir (default: OUTPUT/{COHORTS}/SRC)"
    add("--dicom-dir", type=Path, metavar="SRC", help=cohort)
    add("--labels", type=Path, metavar="FILE", help="its labels: label, and sop_instance_uid, file or accession_number")
    tag = "what a source is: institution (default), station, manufacturer, model, detector or a column of the labels"
    add("--source-tag", metavar="NAME", help=tag)
    pixels = "png16: films as PNG files without headers (default: as-is)"
    add("--pixels", choices=("as-is", "png16"), default="as-is", help=pixels)


def split_archive(arguments: Sequence[str]) -> tuple[Archive | None, list[str]]:
    """The archive that a command line names, and the other arguments, with the cohort's folder as `--data-dir`.

    Exits with a sentence where a flag lacks those that it needs.
    """
    usage = "%(prog)s --dicom-dir SRC --labels FILE [settings]"
    parser = Parser(add_help=False, prog="python -m training.train", usage=usage)
    add_archive_arguments(parser)
    places = Parser(add_help=False)
    for flag, default in (("--data-dir", None), ("--output", Path("runs"))):
        places.add_argument(flag, type=Path, default=default)
    given, others = parser.parse_known_args(list(arguments))
    if given.dicom_dir is None:
        alone = [name for name in ("labels", "source_tag") if getattr(given, name) is not None]
        if alone or given.pixels != "as-is":
            parser.error(f"--{(alone or ['pixels'])[0].replace('_', '-')} belongs to --dicom-dir")
        return None, list(arguments)
    if given.labels is None:
        parser.error("--dicom-dir needs --labels FILE: without labels nothing can be learned")
    known, _ = places.parse_known_args(others)
    if known.data_dir is None:
        others += ["--data-dir", str(known.output / COHORTS / given.dicom_dir.resolve().name)]
    return Archive(given.dicom_dir, given.labels, given.source_tag, given.pixels), others
