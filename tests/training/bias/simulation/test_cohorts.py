"""The cohorts have the AUROC and the correlations they claim."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.bias.simulation.cohorts import simulate_cohort


def test_cohorts_have_the_true_auroc_and_correlations() -> None:
    films = simulate_cohort(np.random.default_rng(0), 40_000, 0.8, models=2, within_patient=0.6, between_models=0.3)
    for score in films.scores.T:
        assert roc_auc_score(films.is_positive, score) == pytest.approx(0.8, abs=0.006)
    negatives = ~films.is_positive
    scores, patient = films.scores[negatives], films.patient[negatives]
    assert scores.std(axis=0) == pytest.approx(1, abs=0.02)
    assert np.corrcoef(scores.T)[0, 1] == pytest.approx(0.3, abs=0.02)
    serial = np.flatnonzero(np.diff(patient) == 0)
    assert np.corrcoef(scores[serial, 0], scores[serial + 1, 0])[0, 1] == pytest.approx(0.6, abs=0.03)
    counts = np.bincount(films.patient)
    assert set(counts) == {1, 2, 3, 4, 5}
    assert all(len(set(films.is_positive[films.patient == p])) == 1 for p in range(50))
