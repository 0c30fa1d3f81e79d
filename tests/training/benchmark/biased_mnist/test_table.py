"""Means, paired differences and the agreement of seeds, from records of known numbers."""

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import rankdata

from training.benchmark.biased_mnist.protocol import PROTOCOLS
from training.benchmark.biased_mnist.table import COLUMNS, agreement, difference, mean_and_sd, of_seeds, table_of
from training.recipe.candidate import Candidate

SHORT = PROTOCOLS["short"]


def record(name: str, seed: int, accuracy: float, **others: Any) -> dict[str, Any]:
    candidate = Candidate.parse(name)
    line = {"protocol": "short", "stage": "run", "method": candidate.method, "variant": candidate.variant, "rho": 0.94}
    line |= {"seed": seed, "chosen": {}, "conflicting_digits": 600, "seconds": 30.0}
    return line | dict.fromkeys((column for column, _ in COLUMNS), accuracy) | others


def shown(records: list[dict[str, Any]], *names: str) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table_of(records, [Candidate.parse(name) for name in names], SHORT, 0.94))
    return console.export_text()


def test_mean_deviation_and_paired_difference() -> None:
    assert mean_and_sd([0.5, 0.7]) == f"60.0 ± {100 * np.std([0.5, 0.7], ddof=1):.1f}"
    assert mean_and_sd([0.5]) == "50.0"
    runs = {seed: record("end", seed, value) for seed, value in enumerate((0.60, 0.64, 0.70))}
    reference = {seed: record("erm", seed, value) for seed, value in enumerate((0.50, 0.53, 0.61, 0.99))}
    # Gaps of 10, 11 and 9 points: mean 10, sd 1, Student's half width 4.3027 / sqrt(3).
    assert difference(runs, reference) == f"+10.0 ({10 - 4.3027 / 3**0.5:+.1f} to {10 + 4.3027 / 3**0.5:+.1f})"
    assert difference({0: runs[0]}, reference) == "+10.0" and difference({7: runs[0]}, reference) == ""


def test_rows_hold_runs_of_their_own_candidate_alone() -> None:
    records = [record("erm", 0, 0.5), record("erm", 1, 0.6), record("end", 0, 0.8), record("end", 1, 0.9)]
    records += [record("end:form=signed", 0, 0.1), record("end", 100, 0.0, stage="trial")]
    records += [
        record("end", 2, 0.0, rho=0.982),
        record("end", 3, 0.0, protocol="full"),
        record("end", 4, 0, failed="x"),
    ]
    assert sorted(of_seeds(records, Candidate("end"), "short", 0.94)) == [0, 1]
    text = shown(records, "erm", "end", "end:form=signed", "rubi")
    assert "600 conflicting digits" in text and "protocol full, rho 0.99" in text
    row = next(line for line in text.splitlines() if "│ end  " in line)
    assert "85.0 ± 7.1" in row and "96.0" in row and "+30.0 (+30.0 to +30.0)" in row
    assert "96.0" not in next(line for line in text.splitlines() if "form=signed" in line)  # not the paper's form of it
    assert "rubi" not in text


def test_kendalls_w_by_hand() -> None:
    values = {"erm": (0.1, 0.2, 0.1), "end": (0.5, 0.4, 0.2), "rubi": (0.3, 0.6, 0.4)}
    records = [record(name, seed, v) for name, seeds in values.items() for seed, v in enumerate(seeds)]
    ranks = np.array([rankdata([values[name][seed] for name in values]) for seed in range(3)]).sum(0)
    w = 12 * ((ranks - ranks.mean()) ** 2).sum() / (3**2 * (3**3 - 3))
    text = agreement(records, [Candidate(name) for name in values], SHORT, 0.94)
    assert f"Kendall's W {w:.2f}" in text and "3 seeds rank 3 candidates" in text
    assert agreement(records[:6], [Candidate(name) for name in values], SHORT, 0.94) == ""
    assert w == pytest.approx(7 / 9)
