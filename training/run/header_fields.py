"""What a checkpoint's header must hold, checked on its plain values and without torch: it may come from anyone.

Every reader of a checkpoint goes through `training.run.checkpoint_header.read_header`, which calls this once.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple

from models.keywords import KeywordError, plain_keywords
from training.console.commandline import fields_of, option_fields
from training.methods import METHODS
from training.run.config import TrainConfig

MAX_SIZE = 8192  # pixels; as `datasets.film.preprocessing.MAX_SIZE`, which comes with torch
MOST_LAYERS = 1000
MAX_DEPTH = 8  # of objects and lists in each other; a run's own header has three
LONGEST_NAME = 1000
FOUND = 60  # characters of a wrong value that a message shows


class HeaderError(ValueError):
    """A header that no training writes; the message names the field, what was found, and what would be right."""


class Rule(NamedTuple):
    """What a field takes, in words and as a test that never raises for any JSON value."""

    words: str
    holds: Callable[[Any], bool]


def _whole(low: int, high: int) -> Rule:
    return Rule(f"a whole number from {low} to {high}", lambda value: _is_whole(value) and low <= value <= high)


def _number(low: float, high: float, words: str = "") -> Rule:
    return Rule(words or f"a number from {low:g} to {high:g}", lambda value: _is_number(value) and low <= value <= high)


def _one_of(choices: tuple[Any, ...]) -> Rule:
    words = " or ".join(json.dumps(choice) for choice in choices)
    return Rule(words, lambda value: not isinstance(value, bool | float) and value in choices)


def _or_null(rule: Rule) -> Rule:
    return Rule(f"{rule.words}, or null", lambda value: value is None or rule.holds(value))


def _names(least: int, most: int) -> Rule:
    words = f"a list of {least} or more different names, at most {most}"
    return Rule(words, lambda value: _is_names(value) and least <= len(value) <= most)


def _each(words: str, test: Callable[[Any], bool]) -> Rule:
    return Rule(words, lambda value: isinstance(value, dict) and all(map(test, value.values())))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """NaN and infinite ones too, which no range holds."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_name(value: Any) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or not value.strip():
        return False
    return not any(unicodedata.category(mark) in ("Cc", "Cs") for mark in value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_name, value)) and len(set(value)) == len(value)


def _is_layers(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > MOST_LAYERS:
        return False
    numbers = value[:-1] if value[-1:] == ["output"] else value
    whole = all(_is_whole(number) and 0 <= number < MOST_LAYERS for number in numbers)
    return whole and sorted(set(numbers)) == numbers and bool(numbers or not value)


def _is_attributes(value: Any) -> bool:
    rules = {"name": NAME, "values": _names(1, 1_000_000), "weight": _number(0.0, 1e6)}
    return isinstance(value, list) and all(
        isinstance(entry, dict) and entry.keys() == rules.keys() and all(rules[n].holds(entry[n]) for n in rules)
        for entry in value
    )


def _is_channels(low: float) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        numbers = isinstance(value, list) and len(value) in (1, 3) and all(map(_is_number, value))
        return numbers and all(low <= number <= 1e6 for number in value)

    return holds


BOOLEAN, NAME = Rule("true or false", lambda value: isinstance(value, bool)), Rule("a name", _is_name)
_OPTIONS = option_fields(TrainConfig)
FIELDS: dict[str, dict[str, Rule]] = {
    "model": {
        "name": Rule(
            "the name of a backbone", lambda v: isinstance(v, str) and bool(re.fullmatch(r"[\w.\-]{1,200}", v))
        ),
        "num_classes": _whole(2, 10_000),
        "in_chans": _one_of((1, 3)),
        "img_size": _whole(1, MAX_SIZE),
        "unit_norm": BOOLEAN,
        "centred": BOOLEAN,
        "logit_scale": _number(1e-6, 1e6),
        "keywords": Rule("a list of names with values", lambda value: isinstance(value, list | dict)),
        "layers": Rule('a list of numbers of layers, rising from 0, "output" last', lambda value: _is_layers(value)),
    },
    "preprocessing": {
        "size": _whole(1, MAX_SIZE),
        "channels": _one_of((1, 3)),
        **{name: _one_of(tuple(_OPTIONS[name].metadata["choices"])) for name in ("aspect", "intensity", "voi")},
        "mean": Rule("a list of 1 or 3 numbers", _is_channels(-1e6)),
        "std": Rule("a list of 1 or 3 numbers above 0", _is_channels(1e-6)),
    },
    "info": {
        "name": NAME,
        "targets": _names(2, 10_000),
        "biases": _names(1, 1_000_000),
        "bias_name": NAME,
        "positive": _or_null(_whole(0, 9_999)),
        "synthetic": BOOLEAN,
        "named": Rule("a list of attributes, each with name, values and weight", lambda v: _is_attributes(v)),
    },
}
OPTIONAL = {  # what checkpoints of early versions lack
    "model": {"in_chans", "img_size", "unit_norm", "centred", "logit_scale", "keywords", "layers"},
    "preprocessing": {"channels", "aspect", "intensity", "voi"},
    "info": {"named"},
}
_METRICS_OF_SPLIT = _each("an object of numbers or null", lambda value: value is None or _is_number(value))
# A threshold may lie just above the highest score that there can be, where nothing is called positive.
REST = {
    "threshold": _or_null(_number(0.0, 1.0 + 1e-6, "a number from 0 to 1")),
    "temperature": _number(1e-3, 1e3),
    "settings": _each("an object of numbers, truth values and texts", lambda value: _is_setting(value)),
    "metrics": _each("an object of numbers or null by split", lambda value: _METRICS_OF_SPLIT.holds(value)),
    "versions": _each("an object of texts", lambda value: isinstance(value, str)),
}


def _is_setting(value: Any) -> bool:
    return (
        value is None or isinstance(value, bool | int | float | str) or (isinstance(value, list) and len(value) < 1000)
    )


def require_header(header: Any) -> None:
    """Raise HeaderError, with the first fault as a sentence, unless a training could have written this header.

    Args:
        header: as `json.loads` gave it, of any shape and depth.
    """
    if not isinstance(header, dict):
        raise HeaderError(f"it is {_shown(header)} in place of an object")
    _require_plain(header)
    _require_fields("", header, [*FIELDS, *REST], set())
    for part, rules in FIELDS.items():
        if not isinstance(header[part], dict):
            raise _wrong(part, header[part], f"an object with the entries {', '.join(rules)}")
        _require_fields(part, header[part], list(rules), OPTIONAL[part])
        for name, value in header[part].items():
            _require(f"{part}.{name}", value, rules[name])
    for name, rule in REST.items():
        _require(name, header[name], rule)
    _require_settings(header["settings"])
    _require_one_shape(header["model"], header["preprocessing"], header["info"])


def _require_plain(header: dict[str, Any]) -> None:
    """Finite numbers, texts that can be written, and no depth that a later reader could fall into."""
    open_: list[tuple[str, Any, int]] = [("", header, 0)]
    while open_:
        field, value, depth = open_.pop()
        if depth > MAX_DEPTH:
            raise HeaderError(f"{field[:FOUND]} is nested more than {MAX_DEPTH} deep; it must hold plain values")
        if isinstance(value, dict):
            open_ += [(f"{field}.{name}".lstrip("."), inner, depth + 1) for name, inner in value.items()]
            value = "".join(value)
        elif isinstance(value, list):
            open_ += [(field, inner, depth + 1) for inner in value]
        if isinstance(value, str) and any("\ud800" <= mark <= "\udfff" for mark in value):
            raise _wrong(field or "an entry", value, "text in Unicode")
        if _is_number(value) and not -1e300 <= value <= 1e300:
            raise _wrong(field, value, "a finite number")


def _require_fields(part: str, values: dict[str, Any], known: list[str], optional: set[str]) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        name = f"{part}.{unknown[0]}".lstrip(".")
        where = f"{part} has" if part else "it has"
        raise HeaderError(f"entry {_shown(name)} is unknown to this version; {where} {', '.join(known)}")
    for name in known:
        if name not in values and name not in optional:
            raise HeaderError(f"entry {f'{part}.{name}'.lstrip('.')!r} is missing")


def _require_settings(settings: dict[str, Any]) -> None:
    """Settings that this version knows must be of their type; those of recipes and of other versions are plain values."""
    kinds: dict[str, type] = {}
    for entry in METHODS.values():
        kinds |= fields_of(entry.parameters)
    kinds |= fields_of(TrainConfig)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    for name, value in settings.items():
        kind = kinds.get(name, object)
        right = value is None or kind not in words or isinstance(value, kind)
        right = _is_number(value) if kind is float and value is not None else right
        if not right or (kind is int and isinstance(value, bool)):
            raise _wrong(f"settings.{name}", value, words[kind])
        choices = _OPTIONS[name].metadata["choices"] if name in _OPTIONS else None
        if choices and value is not None and value not in choices:
            raise _wrong(f"settings.{name}", value, f"one of {', '.join(choices)}")
    recipe = settings.get("recipe")
    if recipe is not None and not isinstance(recipe, str):
        raise _wrong("settings.recipe", recipe, "the name of a recipe")


def _require_one_shape(model: dict[str, Any], preprocessing: dict[str, Any], info: dict[str, Any]) -> None:
    """The three parts must speak of the same classes, channels and numbers."""
    targets, channels = len(info["targets"]), preprocessing.get("channels", 1)
    if model["num_classes"] != targets:
        raise _wrong("model.num_classes", model["num_classes"], f"{targets}, for info.targets has that many names")
    if info["positive"] is not None and info["positive"] >= targets:
        raise _wrong("info.positive", info["positive"], f"null or the number, from 0, of one of {targets} targets")
    if model.get("in_chans", 3) != channels:
        raise _wrong("preprocessing.channels", channels, f"{model.get('in_chans', 3)}, for that is model.in_chans")
    if model.get("img_size", 224) != preprocessing["size"]:
        raise _wrong(
            "preprocessing.size", preprocessing["size"], f"{model.get('img_size', 224)}, for that is model.img_size"
        )
    for name in ("mean", "std"):
        if len(preprocessing[name]) not in (1, channels):
            raise _wrong(f"preprocessing.{name}", preprocessing[name], f"a list of 1 or {channels} numbers")
    try:
        plain_keywords(model.get("keywords", []))
    except KeywordError as error:
        raise HeaderError(f"model.keywords: {error}") from None


def _require(field: str, value: Any, rule: Rule) -> None:
    if not rule.holds(value):
        raise _wrong(field, value, rule.words)


def _wrong(field: str, value: Any, right: str) -> HeaderError:
    return HeaderError(f"{field} is {_shown(value)}; it must be {right}")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= FOUND else f"{text[:FOUND]}..."
