"""Whether a picture looks like an upright frontal chest film: hints for a person, never a reason to refuse it.

Limits were set on 1,755 public frontal films of seven sources: 2.5 % of them are flagged, nearly all as turned. Of the same
films turned by 90 degrees 94 % are flagged, by 180 degrees 75 %, and all that are inverted, as inverted or as turned.
"""

import numpy as np
from PIL import Image

from datasets.film.grey_arithmetic import looks_inverted
from datasets.film.radiograph import Radiograph

SIDE = 64  # of the small picture that is measured
LONG = 2.0  # longer by shorter side; of the public films the longest is 2.2
NEARLY_ALL = 0.55  # of the pixels black or white; at most 0.51 in the public films
ROUGH = 0.15  # of the variance, between neighbours; at most 0.13 in 999 of 1,000 public films, 1 in noise


def oddities(film: Radiograph) -> tuple[str, ...]:
    """What is unlike a chest film, each in a few words that follow "the film"; none for nearly every chest film."""
    pixels, found = film.pixels, []
    rows, columns = pixels.shape
    if max(rows, columns) > LONG * min(rows, columns):
        found.append(f"is a strip of {columns} x {rows} pixels")
    for name, extreme in (("black", pixels <= 0.02), ("white", pixels >= 0.98)):
        if extreme.mean() > NEARLY_ALL:
            found.append(f"is mostly {name}")
    grey = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    steps = np.concatenate([np.diff(grey, axis=0).ravel(), np.diff(grey, axis=1).ravel()])
    if np.mean(steps**2) > ROUGH * 2 * grey.var():
        found.append("is noise, or very noisy")
    elif film.facts.get("looks_inverted", looks_inverted(pixels)):
        found.append("looks inverted (air bright)")
    elif not _upright(grey):
        found.append("looks turned or inverted, or is no frontal chest film")
    return tuple(found)


def _upright(grey: np.ndarray) -> bool:
    """Whether the lungs are darker than the mediastinum between them and than what lies below them."""
    upper = np.median([grey[16:32, 10:24], grey[16:32, 40:54]])
    below = np.median([grey[44:60, 10:24], grey[44:60, 40:54]])
    between = np.median(grey[22:48, 28:36])
    beside = np.median([grey[20:42, 12:22], grey[20:42, 42:52]])
    return bool(below > upper and between > beside)
