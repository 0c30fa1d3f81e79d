"""How much of the way from a plain model to the best possible one a method goes, over patients and seeds.

With AUROC m of the method, e of plain training, and b of the best possible, the share is (m - e) / (b - e). Its interval is
Fieller's (E. C. Fieller, Journal of the Royal Statistical Society B 1954): the shares g for which the contrast
(m - e) - g (b - e) does not differ from 0 at a level of 0.05, with the variance of `two_level`.
"""

import numpy as np

from training.bias.numbers.auroc import PairFilms, aurocs_by_column
from training.bias.numbers.compare import LEVEL
from training.bias.numbers.interval import NO_INTERVAL, Interval
from training.bias.numbers.two_level import SeedMean, mean_of_seeds, over_patients

FARTHEST = 100.0
"""A bound beyond this many times the gap is none."""


def gap_closed(
    is_positive: np.ndarray,
    scores: np.ndarray,
    reference: np.ndarray,
    best: np.ndarray,
    patient: np.ndarray,
    stratum: np.ndarray | None = None,
) -> Interval:
    """The share, 0 at the reference and 1 at the best, with its interval.

    All NaN where the gap itself is not shown (its interval holds 0), and for fewer than ten patients of a class; for a single
    seed there is no interval.

    Args:
        scores: films x seeds; `reference` and `best` have the same shape, and equal seeds share their draw.
        stratum: of each film; only pairs of films within a stratum count.
    """
    films = PairFilms.read(is_positive, patient, stratum)
    if not films.enough:
        return NO_INTERVAL
    method, plain, ideal = (
        over_patients(
            aurocs_by_column(films.is_positive, films.columns(values), films.patient, films.stratum), films.patients
        )
        for values in (scores, reference, best)
    )
    gains, gaps = ([a - b for a, b in zip(pair, plain, strict=True)] for pair in (method, ideal))

    def contrast(share: float) -> SeedMean:
        return mean_of_seeds(*(gain - share * gap for gain, gap in zip(gains, gaps, strict=True)))

    def differs(share: float) -> bool:
        found = contrast(share)
        return abs(found.estimate) > found.critical(LEVEL) * np.sqrt(found.variance)

    gap = mean_of_seeds(*gaps)
    if abs(gap.estimate) <= gap.critical(LEVEL) * np.sqrt(gap.variance):
        return NO_INTERVAL
    estimate = float(mean_of_seeds(*gains).estimate / gap.estimate)
    if gap.seeds < 2:
        return Interval(estimate, float("nan"), float("nan"))
    bounds = []
    for sign in (-1, 1):
        inside, outside = 0.0, 1e-3
        while not differs(estimate + sign * outside):
            inside, outside = outside, 2 * outside
            if outside > FARTHEST:
                return Interval(estimate, float("nan"), float("nan"))
        while outside - inside > 1e-5:
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if differs(estimate + sign * middle) else (middle, outside)
        bounds.append(estimate + sign * inside)
    return Interval(estimate, *bounds)
