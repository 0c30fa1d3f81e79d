"""Results as plain values for JSON."""

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd


def plain(value: Any) -> Any:
    """Frames as lists of records, tuples as lists, NaN and infinity as None."""
    if isinstance(value, pd.DataFrame):
        named = value.reset_index() if value.index.name or value.columns.name else value
        return [plain(record) for record in named.to_dict("records")]
    if dataclasses.is_dataclass(value) or hasattr(value, "_asdict"):
        fields = value._asdict() if hasattr(value, "_asdict") else vars(value)
        return {name: plain(entry) for name, entry in fields.items()}
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
