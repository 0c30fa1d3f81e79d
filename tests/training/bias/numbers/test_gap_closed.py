"""The share of a gap that a method closes: its value, Fieller's interval, and that it holds the truth as often as it says."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from training.bias.numbers.gap_closed import gap_closed

SKILLS = {"method": 1.3, "plain": 0.8, "best": 2.0}


def study(rng: np.random.Generator, patients: int, seeds: int, **skills: float) -> tuple[np.ndarray, ...]:
    """Whether films are positive, scores of method, plain and best (films x seeds), and patients, with two films each."""
    positive = np.repeat(rng.random(patients) < 0.5, 2)
    patient = np.repeat(np.arange(patients), 2)
    hard = np.repeat(rng.normal(size=patients), 2)[:, None] * 0.6  # for all models alike
    scores = []
    for skill in (SKILLS | skills).values():
        of_seed = skill + 0.25 * rng.normal(size=seeds)
        scores.append(positive[:, None] * of_seed + hard + 0.8 * rng.normal(size=(2 * patients, seeds)))
    return positive, *scores, patient


def true_share(seeds_spread: float = 0.25) -> float:
    """Of AUROCs averaged over seeds whose skill varies: the scores have unit variance within a class."""
    z = np.linspace(-4, 4, 2001)
    weight = norm.pdf(z) / norm.pdf(z).sum()
    auroc = {name: (weight * norm.cdf((skill + seeds_spread * z) / np.sqrt(2))).sum() for name, skill in SKILLS.items()}
    return float((auroc["method"] - auroc["plain"]) / (auroc["best"] - auroc["plain"]))


def test_it_is_the_ratio_of_mean_differences() -> None:
    positive, method, plain, best, patient = study(np.random.default_rng(0), 80, 3)
    found = gap_closed(positive, method, plain, best, patient)
    mean = [np.mean([roc_auc_score(positive, column) for column in scores.T]) for scores in (method, plain, best)]
    assert found.estimate == pytest.approx((mean[0] - mean[1]) / (mean[2] - mean[1]))
    assert found.low < found.estimate < found.high


def test_the_ends_are_the_reference_and_the_best() -> None:
    positive, _, plain, best, patient = study(np.random.default_rng(1), 80, 3)
    assert gap_closed(positive, plain, plain, best, patient).estimate == pytest.approx(0)
    nothing, all_of_it = (gap_closed(positive, scores, plain, best, patient) for scores in (plain, best))
    assert tuple(nothing) == pytest.approx((0, 0, 0), abs=2e-3)
    assert tuple(all_of_it) == pytest.approx((1, 1, 1), abs=2e-3)


def test_without_a_gap_nothing_is_concluded() -> None:
    positive, method, plain, best, patient = study(np.random.default_rng(2), 80, 3, best=0.8)
    assert np.isnan(gap_closed(positive, method, plain, best, patient)).all()
    few = np.arange(30) < 15
    assert np.isnan(gap_closed(few, *(study(np.random.default_rng(3), 15, 2)[1:4]), np.arange(30) // 4)).all()


def test_a_single_seed_has_no_interval() -> None:
    positive, method, plain, best, patient = study(np.random.default_rng(4), 80, 1)
    found = gap_closed(positive, method, plain, best, patient)
    assert np.isfinite(found.estimate) and np.isnan(found.low)


def test_strata_count_only_pairs_within() -> None:
    positive, method, plain, best, patient = study(np.random.default_rng(5), 80, 4)
    stratum = patient % 2
    moved = [scores - 50 * stratum[:, None] for scores in (method, plain, best)]
    apart = gap_closed(positive, *moved, patient, stratum)
    assert tuple(apart) == pytest.approx(tuple(gap_closed(positive, method, plain, best, patient, stratum)))
    assert np.isfinite(apart).all() and gap_closed(positive, *moved, patient) != apart


@pytest.mark.parametrize(("patients", "seeds"), [(60, 3), (120, 8)])
def test_the_interval_holds_the_true_share_as_often_as_it_says(patients: int, seeds: int) -> None:
    rng, truth, held = np.random.default_rng(6), true_share(), []
    for _ in range(150):
        found = gap_closed(*study(rng, patients, seeds))
        if np.isfinite(found.low):
            held.append(found.low <= truth <= found.high)
    assert len(held) > 90
    assert 0.90 <= np.mean(held) <= 0.99, np.mean(held)
