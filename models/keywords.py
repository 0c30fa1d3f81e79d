"""Extra keyword arguments of a backbone, as plain values: what a command line gives and a checkpoint's header keeps.

Nothing here imports torch, so that a command line can be checked at once.
"""

import ast
import math
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

Plain: TypeAlias = "bool | int | float | str | tuple[Plain, ...]"
Keywords: TypeAlias = tuple[tuple[str, Plain], ...]

# What the classifier decides itself, and what would read a file or reach a network: a header may come from anyone.
TAKEN = {
    "num_classes": "the data decide the number of classes",
    "in_chans": "that is --in-chans",
    "img_size": "that is --img-size",
    "pretrained": "that is --pretrained",
    **dict.fromkeys(("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"), "that is --weights"),
    **dict.fromkeys(("pretrained_strict", "pretrained_filter_fn", "pretrained_model_args"), "that is --weights"),
    **dict.fromkeys(("features_only", "out_indices", "feature_cfg"), "a classifier needs pooled features"),
    "device": "that is --device",
    "dtype": "that is --amp",
}


class KeywordError(ValueError):
    """A keyword argument that can't be given to a backbone; the message says which and why."""


def parse_keywords(pairs: Iterable[str]) -> Keywords:
    """Read `name=value` pairs as timm's own training script does: `drop_path_rate=0.1`, `act_layer=gelu`, `layers=(1,1,1,1)`.

    A value is a Python literal, or else a bare word that stands for itself.

    Raises:
        KeywordError: no `=`, a name twice, or whatever `plain_keywords` refuses; the sentence is to follow the flag's name.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, mark, text = (part.strip() for part in pair.partition("="))
        if not mark or not name:
            raise KeywordError(f"{pair!r} is no name=value pair such as drop_path_rate=0.1")
        if name in found:
            raise KeywordError(f"{name} is given twice")
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            if not re.fullmatch(r"[A-Za-z][\w.\-]*", text):
                raise KeywordError(f"{name}={text}: give a number, True, False, a word or a tuple of these") from None
            found[name] = text
    return plain_keywords(found)


def plain_keywords(values: object) -> Keywords:
    """The keyword arguments as pairs in the order of their names; lists, which JSON makes of tuples, are tuples again.

    Args:
        values: a mapping of names to values, or pairs; from a file it may be anything.

    Raises:
        KeywordError: a name that isn't a Python name or that isn't free to choose, or a value that is more than a finite
            number, a truth value, letters and digits, or a tuple of these.
    """
    try:
        pairs: dict[Any, Any] = dict(values)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise KeywordError(f"expected names with values, not {values!r}") from None
    for name in pairs:
        # A leading underscore is how MONAI marks its own words: `_target_` names what a bundle calls.
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
            raise KeywordError(f"{name!r} is no name of a keyword argument")
        if name in TAKEN:
            raise KeywordError(f"{name} can't be given here: {TAKEN[name]}")
    return tuple((name, _plain(name, pairs[name])) for name in sorted(pairs))


def written(keywords: Keywords) -> str:
    """As they are given on a command line."""
    return " ".join(f"{name}={value}" for name, value in keywords)


def _plain(name: str, value: Any) -> Plain:
    if isinstance(value, list | tuple):
        return tuple(_plain(name, part) for part in value)
    text, number = isinstance(value, str), isinstance(value, bool | int | float)
    if not (text and re.fullmatch(r"[\w .\-]*", value)) and not (number and math.isfinite(value)):
        raise KeywordError(f"{name}={value!r}: give a number, True, False, a word or a tuple of these")
    return value
