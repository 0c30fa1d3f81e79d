"""Features hold the source as strongly as asked, and the probe finds what is there."""

import numpy as np
import pytest

from training.bias.simulation.leak import leak_calibration, simulate_features


def test_features_hold_the_source_as_strongly_as_asked() -> None:
    films = simulate_features(np.random.default_rng(0), 3.0, patients=4000, width=8)
    first = films.source == "source 0"
    for features in (films.reference, films.other):
        assert np.linalg.norm(features[first].mean(axis=0) - features[~first].mean(axis=0)) > 2
    none = simulate_features(np.random.default_rng(0), 0.0, patients=4000, width=8)
    assert abs(none.reference[first].mean(axis=0)).max() < 0.1
    assert np.corrcoef(films.reference[:, 0], films.other[:, 0])[0, 1] > 0.3


@pytest.mark.trains
def test_the_probe_finds_what_is_there_and_seldom_what_is_not() -> None:
    nothing = leak_calibration(simulations=40, permutations=39, patients=60)
    assert nothing["source found"] <= 6 and min(nothing.values()) >= 0
    assert nothing["leak in its interval"] >= 34 and nothing["difference in its interval"] >= 34
    assert leak_calibration(simulations=10, permutations=39, patients=100, strength=3.0)["source found"] == 10
