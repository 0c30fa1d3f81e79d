"""Which DICOM films are admitted, as flags: one set for training, evaluation and prepare."""

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from datasets.film.policy import BODY_PARTS, DEFAULT, MODALITIES, VIEWS, DicomPolicy
from datasets.film.words import WordsError, own_words, words_of_file


class Flag(NamedTuple):
    """One setting; its name is a keyword of `policy_of`."""

    default: Any
    help: str
    choices: tuple[str, ...] | None = None
    metavar: str | None = None


FLAGS = {
    "views": Flag(
        ",".join(DEFAULT.views),
        "views of DICOM films that are admitted, also LATERAL, DECUBITUS, OTHER",
        metavar="VIEWS",
    ),
    "modalities": Flag(",".join(DEFAULT.modalities), "modalities that are admitted", metavar="NAMES"),
    "body_part": Flag("chest", "any: admit films that state another part of the body", ("chest", "any")),
    "presentation": Flag("presentation", "any: admit FOR PROCESSING films, raw pixels", ("presentation", "any")),
    "view_is": Flag(
        None, "what a hospital's own texts of the view mean: W STD=PA,W SEIT=LATERAL", metavar="TEXT=VIEW,..."
    ),
    "body_part_is": Flag(None, "what its texts of the body part mean: TRX=CHEST,VOET=OTHER", metavar="TEXT=PART,..."),
    "words": Flag(None, "YAML file of such texts, views: and body_parts:, see docs/dicom.md", metavar="FILE"),
    "accept_damaged": Flag(False, "read pictures that the codec could only guess in part, and mark them"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a command."""
    add = parser.add_argument_group("DICOM films that are admitted").add_argument
    for name, flag in FLAGS.items():
        option = "--" + name.replace("_", "-")
        if flag.default is False:
            add(option, action="store_true", help=flag.help)
        else:
            default = "" if flag.default is None else f" (default: {flag.default})"
            kind = Path if name == "words" else str
            add(
                option, default=flag.default, type=kind, choices=flag.choices, metavar=flag.metavar,
                help=flag.help + default,
            )  # fmt: skip


def policy_of(settings: Mapping[str, Any]) -> DicomPolicy:
    """The policy of settings by the names of `FLAGS`; those that are missing have their default.

    Raises:
        WordsError: a name that isn't known, or words that can't be taken; the sentence names the flag.
    """
    value = {name: settings.get(name, flag.default) for name, flag in FLAGS.items()}
    views, modalities = (
        _names(name, value[name], known) for name, known in (("views", VIEWS), ("modalities", MODALITIES))
    )
    file_views, file_parts = words_of_file(Path(value["words"])) if value["words"] else ((), ())
    parts = DEFAULT.body_parts if value["body_part"] == "chest" else BODY_PARTS
    return DicomPolicy(
        modalities=modalities,
        views=views,
        body_parts=parts,
        for_processing=value["presentation"] == "any",
        accept_damaged=bool(value["accept_damaged"]),
        view_words=own_words(_pairs(value["view_is"]), "--view-is", VIEWS) + file_views,
        body_part_words=own_words(_pairs(value["body_part_is"]), "--body-part-is", BODY_PARTS) + file_parts,
    )


def as_flags(settings: Mapping[str, Any]) -> str:
    """The settings that aren't the default, as a command line has them; empty where all are."""
    given = {name: settings.get(name, flag.default) for name, flag in FLAGS.items()}
    parts = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {shlex.quote(str(value))}")
        for name, value in given.items()
        if value != FLAGS[name].default
    ]
    return " ".join(parts)


def _names(setting: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name.strip().upper() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise WordsError(f"--{setting} {','.join(unknown) or text}: choose from {', '.join(known)}")
    return names


def _pairs(text: str | None) -> list[str]:
    return [part for part in (text or "").split(",") if part.strip()]
