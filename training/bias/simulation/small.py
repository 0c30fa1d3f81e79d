"""Coverage of the intervals of shares and of AUROC with few patients, and near 0 and 1."""

import argparse

import numpy as np
import pandas as pd
from rich.table import Table
from scipy.stats import binom, norm

from training.bias.numbers.auroc import auroc_interval
from training.bias.numbers.proportions import Bounds
from training.bias.simulation.cohorts import contains

COUNTS, TRUTHS = (10, 12, 20, 60, 200), (0.5, 0.8, 0.9, 0.95, 0.98)


def small_coverage(simulations: int = 1000, resamples: int = 400, seed: int = 0) -> pd.DataFrame:
    """Coverage of the intervals of shares (exact) and of AUROC, a row for each number of patients and true value.

    Of AUROC there are as many patients of each class, one film each.
    """
    records = []
    for count in COUNTS:
        right = np.arange(count + 1)
        trials = np.full(count + 1, float(count))
        low, high = Bounds(right / count, trials, np.full(count + 1, np.nan), wide=True).at()
        for truth in TRUTHS:
            share = binom.pmf(right, count, truth)[(low <= truth) & (truth <= high)].sum()
            held = 0
            for number in range(simulations):
                rng = np.random.default_rng([seed, count, round(100 * truth), number])
                ill = np.arange(2 * count) < count
                score = rng.normal(size=2 * count) + np.sqrt(2) * norm.ppf(truth) * ill
                held += contains(auroc_interval(ill, score, np.arange(2 * count), resamples, number), truth)
            records.append({"patients": count, "truth": truth, "share": share, "auroc": held / simulations})
    return pd.DataFrame(records)


def small_table(options: argparse.Namespace) -> tuple[str, Table]:
    """Title and table of `small_coverage`."""
    table = Table("patients (of AUROC: in each class)", "true value", "share", "AUROC")
    for row in small_coverage(options.simulations, options.resamples, options.seed).to_dict("records"):
        table.add_row(f"{row['patients']:.0f}", *(f"{row[name]:.3f}" for name in ("truth", "share", "auroc")))
    title = f"95 % intervals that contain the truth: shares exactly, AUROC in {options.simulations} cohorts"
    return title, table
