"""Views and parts of the body in the words that hospitals write, in many languages, with free text around them.

A text is reduced to one of few words, or to None where nothing in it is understood: then it says nothing, and a film is not
refused for it. The words are in `words.yaml`, and a hospital may add its own in a file of the same form. Case, accents and
punctuation are ignored; a `?` stands for a letter that was lost on the way ("T?RAX").
"""

import contextlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from datasets.files import read_short_text
from datasets.film.policy import BODY_PARTS, VIEWS

_TITLES = frozenset(
    ["DR", "DRA", "DOCTOR", "MR", "MRS", "MS", "MISS", "HERR", "FRAU", "PROF", "SRA", "SIG", "MME", "DHR"]
)
_BARRED = str.maketrans({"Ł": "L", "ł": "l", "Ø": "O", "ø": "o", "Đ": "D", "đ": "d", "Æ": "AE", "æ": "ae", "ı": "i"})

Words = tuple[tuple[str, str], ...]


class WordsError(ValueError):
    """Words that can't be taken: the sentence says where and what would be right."""


def view_of(text: str, words: Words = (), *, of_body: bool = False) -> str | None:
    """The view that a text names: PA, AP, FRONTAL, LATERAL, DECUBITUS, OTHER; None where it names none, or two.

    Args:
        words: a hospital's own, which win: (text, view).
        of_body: the text stands in a tag on the body, where fewer words are a view.
    """
    return _view(text, words, of_body)


def body_part_of(text: str, words: Words = ()) -> str | None:
    """The part of the body that a text names: CHEST, also among others, or OTHER; None where it names none."""
    return _body_part(text, words)


def says_nothing(text: str) -> bool:
    """Whether a text is empty or one of the words for "not stated"."""
    return not any(map(str.isalnum, text)) or _parts(text) in _not_stated()


def may_be_shown(text: str, names: Iterable[str]) -> bool:
    """Whether a text of a coded tag may stand in a table, so that a user can say what it means.

    People type anything into any field: a text that is long, has the digits of a date or an ID, a comma as between two
    names, a title, or something of one of the film's own names isn't shown.
    """
    parts = _parts(text)
    if not re.fullmatch(r"[\w .;:/?()&+*'-]{1,32}", text) or sum(map(str.isdigit, text)) > 3 or _TITLES & set(parts):
        return False
    words = [_without_umlauts(part) for part in parts]
    return not any(_has_of_name(words, _without_umlauts(part)) for name in names for part in _parts(name))


def _has_of_name(words: list[str], name: str) -> bool:
    """Whether words have a part of a name in them: as a word, run together with others, cut, or with lost letters."""
    if len(name) == 1 and name.isascii():
        return False
    long = len(name) > 2 or not name.isascii()  # two letters are in many words; two signs of Chinese are a whole name
    return (
        name in words
        or (long and name in "".join(words))
        or any((len(word) > 2 and word in name) or _spells(word, (name,)) for word in words)
    )


def _without_umlauts(word: str) -> str:
    """MUELLER and MULLER are one name."""
    return re.sub("([AOU])E", r"\1", word)


def own_words(pairs: Iterable[str], flag: str, known: tuple[str, ...]) -> Words:
    """Words from `TEXT=WORD`, as a flag takes them.

    Raises:
        WordsError: one has another form, or a word that isn't known.
    """
    found = []
    for pair in pairs:
        text, equals, word = pair.rpartition("=")
        if not equals or not text.strip() or word.strip().upper() not in known:
            raise WordsError(f"{flag} {pair}: write TEXT=WORD, the word one of {', '.join(known)}")
        found.append((text.strip(), word.strip().upper()))
    return tuple(found)


def words_of_file(file: Path) -> tuple[Words, Words]:
    """Words for views and for parts of the body, from a YAML file of the form of `words.yaml`.

    Raises:
        WordsError: it can't be read, or has another form.
    """
    import yaml

    try:
        tables = yaml.safe_load(read_short_text(file))
    except (OSError, UnicodeError, yaml.YAMLError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no YAML"
        raise WordsError(f"--words {file} can't be read: {reason}") from None
    form = "a file has views: and body_parts:, each with WORD: [TEXT, ...], as datasets/film/words.yaml"
    known = {"views": VIEWS, "body_parts": BODY_PARTS}
    if not isinstance(tables, dict) or not tables or not set(tables) <= set(known):
        raise WordsError(f"--words {file}: {form}")
    found: dict[str, Words] = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not all(str(word).upper() in known[name] for word in table):
            raise WordsError(f"--words {file}: the words of {name} are {', '.join(known[name])}; {form}")
        if any(texts is None or isinstance(texts, dict) for texts in table.values()):
            raise WordsError(f"--words {file}: a word of {name} has no list of texts; {form}")
        found[name] = tuple((text, str(word).upper()) for word, texts in table.items() for text in _flat(texts))
    return found.get("views", ()), found.get("body_parts", ())


@cache
def _tables() -> Mapping[str, Any]:
    import yaml

    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))


@cache
def _built_in(*names: str) -> Words:
    """The words of tables of `words.yaml`, as (text, word)."""
    tables = [_tables()[name] for name in names]
    return tuple((text, word) for table in tables for word, texts in table.items() for text in _flat(texts))


@cache
def _not_stated() -> frozenset[tuple[str, ...]]:
    return frozenset(_parts(text) for text in _flat(_tables()["not_stated"]))


def _flat(texts: Any) -> Iterator[str]:
    for text in texts if isinstance(texts, list) else [texts]:
        if isinstance(text, list):
            yield from _flat(text)
        else:
            yield str(text)


@lru_cache(4096)
def _view(text: str, words: Words, of_body: bool) -> str | None:
    if own := _named(text, words):
        return own[0]
    found = _named(text, _built_in("views") if of_body else _built_in("views", "views_in_their_own_tag"))
    for view in ("DECUBITUS", "OTHER"):
        if view in found:
            return view
    frontal = set(found) - {"LATERAL"}
    if "LATERAL" in found:
        return None if frontal else "LATERAL"
    return "FRONTAL" if {"PA", "AP"} <= frontal else next((v for v in ("PA", "AP", "FRONTAL") if v in frontal), None)


@lru_cache(4096)
def _body_part(text: str, words: Words) -> str | None:
    if own := _named(text, words):
        return own[0]
    found = _named(text, _built_in("body_parts"))
    for part in ("CHEST", "OTHER"):
        if part in found:
            return part
    adjectives = tuple((word, "CHEST") for word in _flat(_tables()["chest_unless_other"]))
    return next(iter(_named(text, adjectives)), None)


def _named(text: str, words: Words) -> list[str]:
    """What the words that a text has stand for, in the order of the words."""
    parts = _parts(text)
    without_digits = _parts(re.sub(r"\d", " ", text))
    return [meaning for word, meaning in words if _fits(word, parts) or _fits(word, without_digits)]


def _fits(word: str, parts: tuple[str, ...]) -> bool:
    """Whether a word of the form that `words.yaml` describes is in a text."""
    wanted = _parts(word)
    if not wanted:
        return False
    if word.startswith("*"):
        return "".join(wanted) in "".join(parts) or any("?" in part and _spells(part, wanted) for part in parts)
    if len(wanted) == 1 and len(wanted[0]) == 1:  # one letter is a word where it is all there is
        return parts == wanted
    for start in range(len(parts) - len(wanted) + 1):
        *heads, last = parts[start : start + len(wanted)]
        begins = last.startswith(wanted[-1]) if word.endswith("*") else last == wanted[-1] or _spells(last, wanted[-1:])
        if begins and tuple(heads) == wanted[:-1]:
            return True
    return False


def _spells(part: str, wanted: tuple[str, ...]) -> bool:
    """Whether a word with lost letters is one that is known; a letter of two bytes leaves two marks."""
    pattern = re.escape(part).replace(r"\?", r"\w{0,2}")
    return "?" in part and len(part) > 3 and len(wanted) == 1 and re.fullmatch(pattern, wanted[0]) is not None


@lru_cache(4096)
def _parts(text: str) -> tuple[str, ...]:
    """The words of a text in capitals, without accents; single letters in a row are one word ("P.A.")."""
    found: list[str] = []
    was_single = False
    for part in re.findall(r"[^\W_]*(?:\?[^\W_]*)+|[^\W_]+", _plain(text)):
        single = len(part) == 1 and part != "?"
        if single and was_single:
            found[-1] += part
        else:
            found.append(part)
        was_single = single
    return tuple(found)


def _plain(text: str) -> str:
    """Capitals without accents; UTF-8 that was read as Latin-1 or by Windows is put right first."""
    for codec in ("latin-1", "cp1252"):
        with contextlib.suppress(UnicodeError):
            text = text.encode(codec).decode("utf-8")
            break
    parts = unicodedata.normalize("NFKD", text.replace("\ufffd", "?").translate(_BARRED))
    bare = "".join(sign for sign in parts if not unicodedata.combining(sign))
    return unicodedata.normalize("NFC", bare).upper()
