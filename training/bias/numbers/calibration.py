"""The temperature that calibrates scores and the threshold from which a film is called positive, both from validation.

Temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. Youden's J: Youden, Cancer 1950.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import roc_curve


def fit_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """Temperature in [0.05, 20] with the lowest cross-entropy of `logits / temperature`.

    Args:
        logits: films x classes.
        target: index of each film's class.
    """

    def cross_entropy(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(target)), target].mean())

    best = minimize_scalar(cross_entropy, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(best.x))


def fit_threshold(score: np.ndarray, is_positive: np.ndarray, operating_point: str = "youden") -> float:
    """Score from which a film is called positive.

    Args:
        score: calibrated probability of the positive class.
        operating_point: `youden` (largest sensitivity + specificity), `sensitivity:S` (the highest threshold that reaches
            sensitivity S) or `specificity:S` (the lowest that reaches specificity S).

    Raises:
        ValueError: an operating point of another form, or films of one class only.
    """
    name, value = parse_operating_point(operating_point)
    if is_positive.all() or not is_positive.any():
        raise ValueError("a threshold needs validation films of both classes")
    false_positive, sensitivity, threshold = roc_curve(is_positive, score, drop_intermediate=False)
    specificity = 1 - false_positive
    if name == "sensitivity":
        chosen = int(np.argmax(sensitivity >= value))
    elif name == "specificity":
        chosen = int(np.flatnonzero(specificity >= value)[-1])
    else:
        chosen = int(np.argmax(sensitivity + specificity))
    # The curve's first point lies above every score, where nothing is called positive.
    return float(min(threshold[chosen], np.nextafter(score.max(), np.inf)))


def parse_operating_point(text: str) -> tuple[str, float]:
    """`sensitivity:0.9` as its name and number; raises ValueError with the valid forms."""
    name, _, number = text.partition(":")
    if name == "youden" and not number:
        return name, float("nan")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if name not in ("sensitivity", "specificity") or not 0 < value <= 1:
        raise ValueError(f"operating point {text!r}: give youden, sensitivity:0.9 or specificity:0.9")
    return name, value
