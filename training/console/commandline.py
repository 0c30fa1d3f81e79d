"""Dataclass fields become command-line flags; defaults come from a preset, then a YAML file, then the command line.

Nothing here imports torch, so that `--help` answers at once.
"""

import argparse
import dataclasses
import difflib
import io
import math
import os
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from datasets import seed
from datasets.files import read_short_text
from datasets.help_text import HelpFormatter, SentenceParser

NOTICE = "For research; not a medical device."


@dataclasses.dataclass(frozen=True)
class Limits:
    """The numbers that a setting takes, and the words for them.

    Attributes:
        words: the message for a number outside.
    """

    words: str
    low: float = 0.0
    high: float = math.inf
    without_low: bool = False
    without_high: bool = True

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.without_low else value >= self.low
        return above and (value < self.high if self.without_high else value <= self.high)


NOT_NEGATIVE = Limits("must not be negative, and finite")
POSITIVE = Limits("must be above 0, and finite", without_low=True)
SHARE = Limits("a share, from 0 to 1", high=1.0, without_high=False)
SHARE_BELOW_1 = Limits("a share, from 0 to below 1", high=1.0)

SEED = Limits(seed.WORDS, high=seed.LARGEST, without_high=False)

WORKERS = Limits("processes from 0 to 256", high=256, without_high=False)


def too_many_workers(workers: int) -> str:
    """The sentence for more processes than cores; empty for no more."""
    cores = os.cpu_count() or 1
    return f"--workers {workers}: more than this machine's {cores} cores, so they take turns" if workers > cores else ""


def between(smallest: int, largest: int) -> Limits:
    """Counts from `smallest` to `largest`, beyond which a mistake would take all memory."""
    return Limits(f"must be from {smallest:,} to {largest:,}", low=smallest, high=largest, without_high=False)


RESAMPLES = between(100, 100_000)


def count(smallest: int, largest: int) -> Callable[[str], int]:
    """argparse's `type` for such counts."""
    limits = between(smallest, largest)

    def counted(text: str) -> int:
        number = int(text) if text.strip().lstrip("-").isdecimal() else math.nan
        if number not in limits:
            raise argparse.ArgumentTypeError(f"{text}: {limits.words}")
        return int(number)

    return counted


def at_least(smallest: int) -> Limits:
    """Counts from `smallest` on."""
    return Limits(f"must be {smallest} or more", low=smallest)


def option(
    default: Any,
    help: str,
    *aliases: str,
    choices: Sequence[str] | None = None,
    metavar: str | None = None,
    search: tuple[float, float] | None = None,
    limits: Limits | None = None,
    words: bool = False,
) -> Any:
    """A dataclass field that is also a flag.

    Args:
        default: where neither preset, file nor command line says otherwise.
        aliases: short names such as `-b`.
        metavar: what stands for its value in `--help`.
        limits: the numbers it takes; any where there are none.
        words: it takes several words, which become one text with blanks between.
        search: lowest and highest value that `training.sweep` tries, on a logarithmic scale where the lowest is above 0.
    """
    metadata: dict[str, Any] = {"help": help, "aliases": aliases, "choices": choices, "metavar": metavar}
    metadata |= {"search": search, "limits": limits, "words": words}
    return dataclasses.field(default=default, metadata=metadata)


class _Joined(argparse.Action):
    """Several words as one text."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, flag: str | None = None) -> None:
        setattr(namespace, self.dest, " ".join(values))


class Parser(SentenceParser):
    """An argument parser that takes no abbreviations and suggests the flag that was meant.

    Args:
        forwards: unknown arguments are kept in `forwarded`, for training.train, in place of being refused.
    """

    def __init__(self, forwards: bool = False, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=HelpFormatter, **{"epilog": NOTICE} | settings)
        self.forwards, self.commands = forwards, dict[str, Parser]()

    def add_command(self, name: str, help: str, forwards: bool = False) -> "Parser":
        """Add a sub-command with flags of its own; the namespace has its name as `command`."""
        if not self.commands:
            # Without prog Python 3.14 makes one with marks of colour, which would stand in each mistake's sentence.
            self._chooser = self.add_subparsers(prog=self.prog, dest="command", required=True, metavar="COMMAND")
        command: Parser = self._chooser.add_parser(
            name, help=help, description=help, epilog=self.epilog, forwards=forwards
        )
        command.set_defaults(command=name)
        self.commands[name] = command
        return command

    def add_dataclass(self, options: type, title: str, defaults: dict[str, Any] | None = None) -> None:
        """Add a flag for every field of `options` made with `option`; the namespace holds those that were given alone.

        A flag that an earlier dataclass has is not added twice.

        Args:
            defaults: for `--help`, where they differ from the fields' own.
        """
        group, hints = self.add_argument_group(title), get_type_hints(options)
        for name, field in option_fields(options).items():
            if flag_name(name) in self._option_string_actions:
                continue
            value = (defaults or {}).get(name, field.default)
            unset = value is None or value == []
            text = field.metadata["help"] if unset else f"{field.metadata['help']} (default: {value})"
            names = (*field.metadata["aliases"], flag_name(name))
            kind = _scalar_type(hints[name])
            if kind is bool:
                group.add_argument(*names, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
            else:
                group.add_argument(
                    *names,
                    type=kind,
                    nargs="+" if field.metadata["words"] else None,
                    action=_Joined if field.metadata["words"] else "store",
                    default=argparse.SUPPRESS,
                    choices=field.metadata["choices"],
                    metavar=field.metadata["metavar"] or (None if field.metadata["choices"] else kind.__name__.upper()),
                    help=text,
                )

    def parse_strictly(self, arguments: Sequence[str], elsewhere: dict[str, str] | None = None) -> argparse.Namespace:
        """Parse; an unknown flag is an error that names what was probably meant.

        Args:
            arguments: the command line without the program's name.
            elsewhere: flags that exist but not here, with the sentence that says where (another method's flags).
        """
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a letter shows ? in its place
                stream.reconfigure(errors="replace")
        if arguments and arguments[0] in self.commands:
            command = self.commands[arguments[0]]
            elsewhere = {
                flag: f"{flag} belongs to {name}"
                for name in self.commands
                for flag in self.commands[name]._option_string_actions
            }
            return command.parse_strictly(arguments[1:], elsewhere)
        known, unknown = self.parse_known_args(arguments)
        if self.forwards:
            known.forwarded = unknown
        elif unknown:
            flag = unknown[0].partition("=")[0]
            if elsewhere and flag in elsewhere:
                self.error(elsewhere[flag])
            near = difflib.get_close_matches(flag, list(self._option_string_actions), n=1)
            self.error(f"unknown argument {unknown[0]}" + (f"; did you mean {near[0]}?" if near else ""))
        return known


def flag_name(field: str) -> str:
    """`batch_size` is spelled `--batch-size`."""
    return "--" + field.replace("_", "-")


def option_fields(options: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a dataclass that were made with `option`, by name."""
    return {field.name: field for field in dataclasses.fields(options) if field.metadata}


def fields_of(options: type) -> dict[str, type]:
    """Names of the options of a dataclass with their types, `X | None` as X."""
    hints = get_type_hints(options)
    return {name: _scalar_type(hints[name]) for name in option_fields(options)}


def require_allowed(options: Any) -> None:
    """Raise ValueError where an option of a dataclass's instance is none of its choices, outside of its limits or None.

    None, which a YAML file spells as nothing after the colon, is for options that may be without a value.
    """
    hints = get_type_hints(type(options))
    for name, kind in option_fields(type(options)).items():
        value, choices, limits = getattr(options, name), kind.metadata["choices"], kind.metadata["limits"]
        if value is None and isinstance(hints[name], type):
            raise ValueError(f"{flag_name(name)} has no value: give one, or leave the setting out")
        if choices and value is not None and value not in choices:
            raise ValueError(f"{flag_name(name)} {value}: choose from {', '.join(choices)}")
        if limits and value is not None and value not in limits:
            raise ValueError(f"{flag_name(name)} {value}: {limits.words}")


def read_yaml(path: Path, allowed: dict[str, Any], strict: bool = True) -> dict[str, Any]:
    """Read a YAML file of settings spelled as the flags are, with `-` or `_`.

    Args:
        allowed: setting names with their types, as `fields_of` returns them.
        strict: refuse unknown settings rather than leave them out.

    Raises:
        ValueError: no such file, not a mapping, an unknown setting or a value of another type; the message names it.
    """
    import yaml

    try:
        text = read_short_text(path)
        loaded, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ValueError(f"--config {path}: can't be read: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark
        line = f"line {at.line + 1}, column {at.column + 1}: " if at else ""
        raise ValueError(f"--config {path}: can't be read as YAML: {line}{error.problem}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"--config {path}: can't be read as YAML: {error}") from None
    except RecursionError:
        raise ValueError(f"--config {path}: can't be read as YAML (nested too deeply)") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"--config {path}: expected lines such as `epochs: 10`, found {type(loaded).__name__}")
    names = [str(key.value).replace("-", "_") for key, _ in (node.value if node else ())]
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise ValueError(f"--config {path}: {twice[0]} stands there twice")
    settings = {str(name).replace("-", "_"): value for name, value in loaded.items()}
    if not strict:
        settings = {name: value for name, value in settings.items() if name in allowed}
    return as_typed(settings, allowed, f"--config {path}: ")


def as_typed(values: Mapping[str, Any], allowed: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Settings with numbers as their type has them and texts of places as paths; None stays.

    Args:
        allowed: setting names with their types, as `fields_of` returns them.
        where: what a message begins with.

    Raises:
        ValueError: an unknown setting or a value of another type; the message names it.
    """
    settings = dict(values)
    for name, value in settings.items():
        if name not in allowed:
            near = difflib.get_close_matches(name, list(allowed), n=1)
            raise ValueError(f"{where}unknown setting {name}" + (f"; did you mean {near[0]}?" if near else ""))
        kind = allowed[name]
        if value is None:
            continue
        if kind is Path and isinstance(value, str):
            if not value.strip():
                raise ValueError(f"{where}{name} is empty: name a file or folder")
            settings[name] = Path(value)
        elif kind is float and is_number(value):
            settings[name] = float(value)
        elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            short = reprlib.Repr()
            short.maxlevel = 2  # anchors make a list of lists of ... from a few lines
            raise ValueError(f"{where}{name} must be of type {kind.__name__}, not {short.repr(value)}")
    return settings


def is_number(value: object) -> bool:
    """True for numbers, also for `1e-3`, which YAML 1.1 reads as text."""
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _scalar_type(hint: Any) -> type:
    if isinstance(hint, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    kind: type = hint
    return kind
