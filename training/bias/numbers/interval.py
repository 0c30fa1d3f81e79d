"""An estimate with its interval: a value that imports nothing, for reports and pages that compute nothing."""

import math
from typing import Any, NamedTuple


class Interval(NamedTuple):
    """An estimate with its 95 % interval; NaN where there are too few patients to conclude.

    `f"{interval:.2f}"` is `0.81 (0.75 to 0.86)`, `0.81` where only the bounds are NaN, or `cannot conclude`.
    """

    estimate: float
    low: float
    high: float

    @classmethod
    def of(cls, row: Any, estimate: str = "estimate") -> "Interval":
        """From the columns `estimate`, low and high of a row of a table."""
        return cls(row[estimate], row["low"], row["high"])

    def __format__(self, form: str) -> str:
        if math.isnan(self.estimate):
            return "cannot conclude"
        if math.isnan(self.low):
            return f"{self.estimate:{form}}"
        return f"{self.estimate:{form}} ({self.low:{form}} to {self.high:{form}})"


NO_INTERVAL = Interval(float("nan"), float("nan"), float("nan"))
