"""The forest plot of an audit's answer: every measure is there, with its number, and says whose it is."""

import math

import pandas as pd

from app.drawing.audit_charts import VERDICT_COLOURS, dependence
from app.numbers.dependence import LESS, MORE
from training.bias.report.figures import as_svg

ROWS = pd.DataFrame(
    {
        "measure": ["leak", "score", "gap"],
        "estimate": [0.06, -0.08, math.nan],
        "low": [0.02, -0.12, math.nan],
        "high": [0.1, -0.03, math.nan],
        "verdict": [LESS, MORE, "cannot conclude"],
    }
)


def test_each_measure_has_its_number_and_verdict() -> None:
    drawn = as_svg(dependence(ROWS.assign(run="end"), "#333"))
    for words in (
        f"+0.06 (+0.02 to +0.10) · {LESS}",
        f"−0.08 (−0.12 to −0.03) · {MORE}",
        "cannot conclude",
        "leak",
        "gap",
    ):
        assert f">{words}<" in drawn, words
    assert VERDICT_COLOURS[LESS] in drawn and VERDICT_COLOURS[MORE] in drawn and "end:" not in drawn


def test_of_several_runs_each_number_names_its_run() -> None:
    both = pd.concat([ROWS.assign(run=run) for run in ("end", "rebias")], ignore_index=True)
    drawn = as_svg(dependence(both, "#333"))
    assert f"end: +0.06 (+0.02 to +0.10) · {LESS}" in drawn and f"rebias: −0.08 (−0.12 to −0.03) · {MORE}" in drawn


def test_nothing_known_is_drawn_as_such() -> None:
    drawn = as_svg(dependence(ROWS.iloc[2:].assign(run="end"), "#333"))
    assert "cannot conclude" in drawn
