"""What one visitor chose on a page and meets again on the others: kept for the visit, seen by nobody else."""

from typing import cast

import streamlit as st

from training.run.index import RunEntry


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
