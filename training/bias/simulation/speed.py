"""Time and memory of all metrics by source."""

import argparse
import resource
import sys
import time

import numpy as np
import pandas as pd
from rich.table import Table
from scipy.special import expit

from training.bias.numbers.groups import group_metrics


def simulated_predictions(rows: int, sources: int = 6, seed: int = 0) -> pd.DataFrame:
    """A predictions table of about `rows` films, two of a patient on average, from sources of equal size."""
    rng = np.random.default_rng(seed)
    count = max(1, rows // 2)
    patient = np.sort(rng.integers(count, size=rows))
    positive = (rng.random(count) < 0.5)[patient]
    score = expit(1.2 * (positive - 0.5) + rng.normal(size=count)[patient] + rng.normal(size=rows))
    names = np.array(["not covid", "covid"], dtype=object)
    return pd.DataFrame(
        {
            "patient": patient,
            "source": np.array([f"source {number}" for number in range(sources)], dtype=object)[patient % sources],
            "target": names[positive.astype(int)],
            "score": score,
            "prediction": names[(score >= 0.5).astype(int)],
        }
    )


def speed(rows: int, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Seconds of all metrics by source over `rows` films, and the peak memory of this process so far in GiB."""
    table = simulated_predictions(rows, seed=seed)
    started = time.perf_counter()
    group_metrics(table, "covid", ["source"], resamples, seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return time.perf_counter() - started, peak / (2**30 if sys.platform == "darwin" else 2**20)


def speed_table(options: argparse.Namespace) -> tuple[str, Table]:
    """Title and table of `speed`."""
    seconds, peak = speed(options.rows, options.resamples, options.seed)
    table = Table("films", "seconds", "peak memory, GiB")
    table.add_row(str(options.rows), f"{seconds:.1f}", f"{peak:.2f}")
    return f"All metrics by 6 sources, {options.resamples} resamples of patients", table
