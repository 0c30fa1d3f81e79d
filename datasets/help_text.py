"""How the commands write `--help` and mistakes: as wide as the terminal, paragraphs filled, lists line by line."""

import argparse
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

LONGEST_CHOICES = 40  # characters of choices that may stand in place of a value's name


class HelpFormatter(argparse.HelpFormatter):
    """Descriptions keep their paragraphs, flags say their defaults, and no line is wider than the terminal.

    A paragraph is filled anew, unless one of its lines is indented or is a command: its lines stay lines then.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = re.split(r"\n\s*\n", text.strip("\n"))
        return "\n\n".join("\n".join(_lines_of(paragraph, width, indent)) for paragraph in paragraphs)

    def _format_usage(self, *arguments: object) -> str:
        usage = super()._format_usage(*arguments)  # type: ignore[arg-type]
        lines = list[str]()
        for line in usage.splitlines():
            inner = " " * (len(line) - len(line.lstrip()) or 7)
            lines += [line] if _visible(line) <= self._width else _broken(line, self._width, inner)
        return "\n".join(lines) + "\n\n"

    def _get_help_string(self, action: argparse.Action) -> str | None:
        help = action.help
        if help and _has_many_choices(action) and action.metavar is None:
            help = f"{help}: {', '.join(map(_escaped, action.choices or ()))}"
        unset = action.default in (None, argparse.SUPPRESS, []) or (action.const is True and not action.default)
        return help if unset or "(default" in (help or "") else f"{help} (default: %(default)s)"

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str | None):  # type: ignore[no-untyped-def]
        if action.metavar is None and _has_many_choices(action):
            name = (default_metavar or action.dest).upper()
            return lambda size: (name,) * size
        return super()._metavar_formatter(action, default_metavar or action.dest)


class SentenceParser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one sentence, without all flags above it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.register("type", Path, place)

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        hint = "; --help says what they are" if message.startswith("the following arguments are required") else ""
        self.exit(2, f"{self.prog}: error: {message}{hint}\n")


def place(text: str) -> Path:
    """argparse's type for a file or folder; an empty one, such as of a variable that is not set, would be this folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: name a file or folder (. is this folder)")
    return Path(text)


def _has_many_choices(action: argparse.Action) -> bool:
    return action.choices is not None and len(",".join(map(str, action.choices))) > LONGEST_CHOICES


def _escaped(choice: object) -> str:
    return str(choice).replace("%", "%%")


def _lines_of(paragraph: str, width: int, indent: str) -> Iterable[str]:
    lines = paragraph.split("\n")
    if any(line.startswith((" ", "python ", "torchrun ")) for line in lines):
        for line in lines:
            inner = re.match(r"\s*", line)
            start = inner.group() if inner else ""
            yield from _wrapped(indent + line, width, f"{indent}{start}    ") if line.strip() else [""]
    else:
        yield from _wrapped(indent + " ".join(line.strip() for line in lines), width, indent)


def _broken(line: str, width: int, following: str) -> list[str]:
    """A line in several, broken at blanks; marks of colour, which Python 3.14 writes on terminals, take no room."""
    first, *words = re.findall(r"\s*\S+", line)
    lines = [first]
    for word in words:
        if _visible(lines[-1] + word) <= width:
            lines[-1] += word
        else:
            lines.append(following + word.lstrip())
    return lines


def _visible(line: str) -> int:
    return len(re.sub(r"\x1b\[[0-9;]*m", "", line))


def _wrapped(line: str, width: int, following: str) -> list[str]:
    return textwrap.wrap(
        line, width, subsequent_indent=following, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
