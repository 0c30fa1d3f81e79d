"""What one visitor chose on a page and meets again on the others: kept for the visit, seen by nobody else."""

from collections.abc import Sequence
from typing import TypeVar, cast

import streamlit as st

from training.run.index import RunEntry

Value = TypeVar("Value")


def threshold_of(entry: RunEntry) -> float | None:
    """The score from which this run calls a film positive: the visitor's, else the run's own; None for several classes."""
    own = cast("float | None", entry.header["threshold"])
    return _thresholds().get(entry.name, own)


def has_own_threshold(entry: RunEntry) -> bool:
    """Whether the visitor set another threshold than the run's, so that a page must say so."""
    return entry.name in _thresholds()


def use_threshold(entry: RunEntry, value: float | None) -> None:
    """Call films of this run by another threshold until the visit ends; None goes back to the run's."""
    if value is None or value == entry.header["threshold"]:
        _thresholds().pop(entry.name, None)
    else:
        _thresholds()[entry.name] = value


def _thresholds() -> dict[str, float]:
    return cast("dict[str, float]", st.session_state.setdefault("visit_thresholds", {}))


def choice(key: str, options: Sequence[str], first: str, title: str) -> str:
    """One of some options as buttons, kept for the visit; `first` until something is chosen, or where that is no option."""
    restore(key, first)
    if st.session_state[key] not in options:
        st.session_state[key] = first
    chosen = cast("str", st.segmented_control(title, list(options), key=key, required=True))
    return remember(key, chosen)


def number(
    key: str,
    title: str,
    first: float,
    least: float,
    most: float,
    step: float,
    help: str | None = None,
    form: str = "%g",
) -> float:
    """A number to type, kept for the visit."""
    restore(key, first)
    value = float(st.number_input(title, least, most, step=step, format=form, key=key, help=help))
    return remember(key, value)


def restore(key: str, first: object) -> None:
    """A widget's state lasts only while it is drawn: before that, put back what was kept of it."""
    if key not in st.session_state:
        st.session_state[key] = _kept().get(key, first)


def remember(key: str, value: Value) -> Value:
    """Keep what a widget says for the visit; returns it."""
    _kept()[key] = value
    return value


def _kept() -> dict[str, object]:
    return cast("dict[str, object]", st.session_state.setdefault("visit_choices", {}))
