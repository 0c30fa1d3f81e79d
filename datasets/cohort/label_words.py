"""What the words of a column of labels mean: ours as they stand, a hospital's own by `--map`, the others listed.

Without a map a word that is none of ours is refused, all such words at once, for it may be a mistake. With one, it is left
out and listed: who maps words has seen that there are others. A map of text to label may also leave the label empty.
"""

import argparse
import csv
import io
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.files import read_short_text
from datasets.listed import listed

if TYPE_CHECKING:  # a command line is checked without pandas
    import pandas as pd

LABELS = ("covid", "pneumonia", "normal", "other")
BINARY = ("not covid", "covid")  # the classes unless others are named
MOST = 20  # words in a sentence
PROPOSED = 4  # words in the map that a refusal proposes
# What words of a hospital's table usually mean: proposed, never taken without being said. Whoever is negative may be ill.
USUAL = {
    "covid": ("positive", "pos", "covid positive", "covid-19", "covid-19 positive", "covid-19 pneumonia", "sars-cov-2"),
    "pneumonia": ("bacterial pneumonia", "viral pneumonia"),
    "normal": ("healthy", "no finding", "no findings"),
    "other": ("negative", "neg", "covid negative", "covid-19 negative", "non-covid", "not covid"),
}
MAP_HELP = "what the words of the column label mean: COVID-19 pneumonia=covid,No finding=normal; others are left out"
MAP_FILE_HELP = "YAML file of the same, a line each: COVID-19 pneumonia: covid"

LabelMap = Mapping[str, str]


class LabelWordsError(ValueError):
    """Words that can't be taken: the sentence says where, and what would be right."""


def add_map_arguments(parser: argparse._ActionsContainer) -> None:
    """Add `--map` and `--map-file`, whose values `label_map` takes."""
    parser.add_argument("--map", metavar="WORD=LABEL,...", help=MAP_HELP)
    parser.add_argument("--map-file", type=Path, metavar="FILE", help=MAP_FILE_HELP)


def label_map(text: str | None, file: Path | None) -> LabelMap | None:
    """What each word means, by `as_word` of it, from `--map` and `--map-file`; None where neither is given.

    Words that are mapped to nothing (`unclear=`) are not in it.

    Raises:
        LabelWordsError: another form, a word with two meanings, or a file that can't be read.
    """
    if text is None and file is None:
        return None
    pairs = [*(_pairs_of_text(text) if text is not None else ()), *(_pairs_of_file(file) if file else ())]
    meaning: dict[str, str] = {}
    for word, label in pairs:
        if meaning.setdefault(as_word(word), as_word(label)) != as_word(label):
            raise LabelWordsError(f"--map gives {word!r} two meanings, {meaning[as_word(word)]} and {as_word(label)}")
    return {word: label for word, label in meaning.items() if label}


def as_word(text: str) -> str:
    """A word as it is compared: lower case, single blanks."""
    return " ".join(text.split()).lower()


def in_our_words(labels: "pd.Series", words: LabelMap | None) -> "pd.Series":
    """Labels by their meaning; words that the map doesn't have as they stand, in lower case."""
    plain = labels.map(as_word)
    return plain.map(lambda word: words.get(word, word)) if words else plain


def require_known(words: LabelMap | None, known: Sequence[str]) -> None:
    """LabelWordsError where a word is mapped to a label that isn't known."""
    for word, label in (words or {}).items():
        if label not in known:
            raise LabelWordsError(f"--map {word}={label}: the label must be one of {', '.join(known)}")


def refusal(labels: "pd.Series", lines: Sequence[int], known: Collection[str], private: bool = False) -> str:
    """The sentence on labels that aren't known where no map is given; `lines` and `private` as for `listed`."""
    shown = [str(word) for word, count in labels.value_counts().items() if count > 1 or not private]
    return (
        f"labels that are none of {', '.join(known)}: {words_with_lines(labels, lines, private)}. Correct them, or say what "
        f"they mean: --map {_proposed(shown[:PROPOSED], known)}; with a map, words that it lacks are left out"
    )


def _proposed(words: Sequence[str], known: Collection[str]) -> str:
    """A map of these words, quoted for a shell; LABEL where nothing can be guessed, as for classes of another disease."""
    usual = {word: label for label, of_label in USUAL.items() for word in of_label} if tuple(known) == LABELS else {}
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([f"{word}={usual.get(word, 'LABEL')}" for word in words or ("WORD",)])
    text = line.getvalue()
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'


def words_with_lines(labels: "pd.Series", lines: Sequence[int], private: bool = False) -> str:
    """Words by falling number of lines.

    Args:
        lines: in the table, of each label.
        private: a word that stands on one line alone isn't shown, for in a table of labels it may name a patient.
    """
    first = dict(zip(reversed(labels.tolist()), reversed(list(lines)), strict=True))
    counts = labels.value_counts()
    shown = [f"{word!r} ({count} lines)" for word, count in counts.items() if count > 1]
    single = [str(word) for word, count in counts.items() if count == 1]
    if private and single:
        places = ", ".join(str(first[word]) for word in single[:5]) + (", ..." if len(single) > 5 else "")
        word = "a word that stands" if len(single) == 1 else f"{len(single)} words that stand"
        single = [f"{word} on one line alone (line{'s' if len(single) > 1 else ''} {places})"]
    else:
        single = [f"{word!r} (line {first[word]})" for word in single]
    shown += single
    return listed(shown, MOST)


def _pairs_of_text(text: str) -> list[tuple[str, str]]:
    """Pairs of `WORD=LABEL,...`; one with a comma stands in double quotes, as in a CSV file."""
    parts = [part for part in next(csv.reader([" ".join(text.split())], skipinitialspace=True), []) if part.strip()]
    wrong = [part for part in parts if not part.rpartition("=")[0].strip()]
    if wrong or not parts:
        raise LabelWordsError(f'--map {wrong[0] if wrong else text}: write WORD=LABEL,..., such as "No finding=normal"')
    return [(part.rpartition("=")[0], part.rpartition("=")[2]) for part in parts]


def _pairs_of_file(file: Path) -> list[tuple[str, str]]:
    import yaml

    try:
        # Texts as they stand: no, 1.0, 2020-01-01.
        table = yaml.compose(read_short_text(file), Loader=yaml.SafeLoader)
    except (OSError, UnicodeError, yaml.YAMLError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no YAML"
        raise LabelWordsError(f"--map-file {file} can't be read: {reason}") from None
    if not isinstance(table, yaml.MappingNode) or not table.value:
        raise LabelWordsError(f"--map-file {file}: write a line each, such as `No finding: normal`")
    for word, label in table.value:
        if not isinstance(word, yaml.ScalarNode) or not isinstance(label, yaml.ScalarNode) or not word.value.strip():
            line = word.start_mark.line + 1
            raise LabelWordsError(f"--map-file {file}, line {line}: no word and label; write `No finding: normal`")
    return [(word.value, "" if label.tag.endswith(":null") else label.value) for word, label in table.value]
