"""The charts of big cohorts."""

import numpy as np
import pandas as pd

from training.bias.report import figures


def test_curves_and_maps_of_many_films_are_drawn() -> None:
    rate = np.linspace(0, 1, 30_000)
    curves = pd.DataFrame({"group": "all films", "false_positive_rate": rate, "sensitivity": np.sqrt(rate)})
    small = figures.as_svg(figures.roc(curves.iloc[::60]))
    assert len(figures.as_svg(figures.roc(curves))) < 2 * len(small), "steps within a pixel are left out"
    points = pd.DataFrame({"x": rate[:6000], "y": rate[:6000], "source": "a"})
    assert "<svg" in figures.as_svg(figures.feature_map(points, "source"))
