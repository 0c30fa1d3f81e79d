"""Biased MNIST: white digits on a background whose colour follows the label with probability rho.

Bahng et al., "Learning De-biased Representations with Biased Representations" (ReBias), ICML 2020, as Tartaglione et al.
use it (EnD, CVPR 2021). Deliberate deviations: validation digits are split off before anything is coloured (the released
loader recolours training digits), and colours come from a generator of their own, not from the global one.
"""

import gzip
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchvision.datasets import MNIST
from torchvision.datasets.mnist import read_image_file, read_label_file
from torchvision.transforms.v2 import functional as F

from datasets.cohort.films import Cohort, CohortError
from datasets.film.preprocessing import Preprocessing
from datasets.sample import DatasetInfo, Split

COLOURS = {
    "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (225, 225, 0), "magenta": (225, 0, 225),
    "cyan": (0, 255, 255), "orange": (255, 128, 0), "rose": (255, 0, 128), "violet": (128, 0, 255), "grey": (128, 128, 128),
}  # fmt: skip
UNBIASED = 0.1
VALIDATION_SHARE = 0.1
MAX_BYTES = 1 << 26  # of an idx file, unpacked: that of the training images has 47 million


def load_biased_mnist(
    preprocessing: Preprocessing,
    data_dir: Path | None = None,
    rho: float = 0.99,
    films: int | None = None,
    seed: int = 0,
) -> Cohort:
    """Colour MNIST: training digits at `rho`, validation and test digits at 0.1, which is unbiased.

    Args:
        preprocessing: its size may differ from 28; coloured digits are then resized.
        data_dir: folder of MNIST's four idx files, gzipped or not; else torchvision's copy in data/mnist, downloaded there.
        rho: probability that a training digit has its label's own colour, 0 to 1.
        films: number of training digits, drawn at random; all 54,000 by default. Of the 6,000 held for validation a
            fifth as many are then used, 1,000 at least.
        seed: which digits validate, which are drawn, and every colour.

    Raises:
        CohortError: rho outside 0 to 1, not 3 channels, MNIST broken or neither there nor to be downloaded, or more
            digits asked for than there are.
    """
    if not 0 <= rho <= 1:
        raise CohortError(f"rho {rho}: a probability, from 0 to 1")
    if preprocessing.channels != 3:
        raise CohortError(f"Biased MNIST is coloured: it needs 3 channels, not {preprocessing.channels}")
    if films is not None and films < 2:
        raise CohortError(f"{films} training digits were asked for: at least 2 are needed")
    rng = np.random.default_rng([seed, 1])
    digits, labels = _read(data_dir, train=True)
    test_digits, test_labels = _read(data_dir, train=False)
    order = rng.permutation(len(digits))
    validating = order[: int(VALIDATION_SHARE * len(digits))]
    training = order[len(validating) :]
    if films is not None:
        if films > len(training):
            raise CohortError(
                f"{films} training digits were asked for; beside those of validation there are {len(training)}"
            )
        training = training[:films]
        validating = validating[: max(1000, films // 5)]
    parts = (
        (Split.TRAIN, digits[training], labels[training], training, rho),
        (Split.VALIDATION, digits[validating], labels[validating], validating, UNBIASED),
        (Split.TEST, test_digits, test_labels, len(digits) + np.arange(len(test_digits)), UNBIASED),
    )
    tables, images = [], []
    for split, pictures, target, rows, correlation in parts:
        colour = draw_colours(target.numpy(), correlation, rng)
        images.append(F.resize(paint(pictures, torch.from_numpy(colour)), [preprocessing.size] * 2, antialias=True))
        tables.append(pd.DataFrame({"row": rows, "target": target.numpy(), "bias": colour, "split": str(split)}))
    table = pd.concat(tables, ignore_index=True)
    table["label"] = table["target"].astype(str)
    table["target_name"] = table["label"]
    table["source"] = table["bias"].map(dict(enumerate(COLOURS)))
    table["patient"] = "digit " + table["row"].astype(str)
    info = DatasetInfo("biased-mnist", tuple("0123456789"), tuple(COLOURS), "colour", positive=None, synthetic=True)
    return Cohort(info, table, preprocessing, images=torch.cat(images))


def draw_colours(target: np.ndarray, rho: float, rng: np.random.Generator) -> np.ndarray:
    """A colour for each digit: of each label's n digits round(rho n) get its own, the others share the rest evenly.

    Args:
        target: digits, 0 to 9.
        rho: 1 is "biased", 0.1 "unbiased", 0 all conflicting.
    """
    colour = np.empty(len(target), dtype=np.int64)
    for label in np.unique(target):
        members = rng.permutation(np.flatnonzero(target == label))
        own = round(rho * len(members))
        others = rng.permutation([c for c in range(len(COLOURS)) if c != label])
        colour[members[:own]] = label
        colour[members[own:]] = np.resize(others, len(members) - own)
    return colour


def paint(digits: Tensor, colour: Tensor) -> Tensor:
    """Digits (count x rows x columns, uint8) as white on coloured ground: count x 3 x rows x columns, uint8."""
    palette = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)
    return torch.where(digits[:, None] != 0, torch.tensor(255, dtype=torch.uint8), palette[colour][:, :, None, None])


def _read(data_dir: Path | None, train: bool) -> tuple[Tensor, Tensor]:
    root = data_dir or Path("data/mnist")
    prefix = "train" if train else "t10k"
    images = _idx_file(root / f"{prefix}-images-idx3-ubyte", read_image_file)
    labels = _idx_file(root / f"{prefix}-labels-idx1-ubyte", read_label_file)
    if images is None or labels is None:
        old = [root / "MNIST/processed" / name for name in ("training.pt", "test.pt")]
        if all(file.is_file() for file in old):  # torchvision would read these, and they are pickles
            raise CohortError(
                f"{old[0].parent} is of an old torchvision and never opened: remove it, or put MNIST's four idx files "
                f"into {root}"
            )
        try:
            mnist = MNIST(str(root), train=train, download=True)
        except (RuntimeError, URLError, OSError, EOFError, AssertionError, ValueError) as error:
            raise CohortError(
                f"MNIST is not in {root} and can't be downloaded ({type(error).__name__}): put its four idx files there, "
                f"gzipped or not"
            ) from None
        images, labels = mnist.data, mnist.targets
    if len(images) != len(labels):
        raise CohortError(f"{root}: {len(images)} {prefix} images, {len(labels)} labels; copy MNIST's idx files again")
    return images, labels


def _idx_file(path: Path, reader: Callable[[str], Tensor]) -> Tensor | None:
    packed = path.with_name(path.name + ".gz")
    file = path if path.is_file() else packed
    if not file.is_file():
        return None
    try:
        with file.open("rb") if file == path else gzip.open(packed) as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError
        with tempfile.NamedTemporaryFile() as unpacked:
            unpacked.write(content)
            unpacked.flush()
            return reader(unpacked.name)
    except (RuntimeError, OSError, EOFError, AssertionError, ValueError, KeyError, IndexError, zlib.error) as error:
        raise CohortError(f"{file} is broken ({type(error).__name__}): copy MNIST's idx files again") from None
