"""Films through several checkpoints in one pass: a film is decoded once, however many models and perturbations read it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datasets.cohort.cache import FilmReader
from datasets.cohort.films import Cohort
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph, RadiographError
from training.scoring.predict import Predictor

BATCH = 64
READERS = 2  # decoding threads
# From pixels in [0, 1] (films x 1 x size x size), the films' positions and the lungs (films x 1 x size x size, or None).
Perturbation = Callable[[Tensor, Sequence[int], Tensor | None], Tensor]


class Scored(NamedTuple):
    """What one model says of the films that could be read, in their order.

    Attributes:
        features: films x width, float32.
        logits: films x classes, float32.
        perturbed: logits under each perturbation.
    """

    features: np.ndarray
    logits: np.ndarray
    perturbed: dict[str, np.ndarray]


def score(
    predictors: Sequence[Predictor],
    cohort: Cohort,
    perturbations: Mapping[str, Perturbation] | None = None,
    masks: FilmReader | None = None,
    advance: Callable[[int], object] = lambda films: None,
) -> tuple[list[Scored], dict[int, str]]:
    """Score every film of a cohort with every model, each through its own preprocessing.

    Args:
        predictors: the models.
        cohort: the films.
        perturbations: what else the models are shown of each film; see `training.bias.questions.shortcuts`.
        masks: lungs by position, white on black, for perturbations that need to know them.
        advance: called with the number of films done since the last call.

    Returns:
        One `Scored` a model, and for each position that could not be read the reason; those films are left out.
    """
    perturbations = perturbations or {}
    batches: list[list[list[np.ndarray]]] = [[] for _ in predictors]
    unreadable: dict[int, str] = {}
    for positions, films, lungs in _read(cohort, masks, unreadable):
        ready: dict[Preprocessing, tuple[Tensor, Tensor | None]] = {}
        for predictor, found in zip(predictors, batches, strict=True):
            preprocessing = predictor.checkpoint.preprocessing
            if preprocessing not in ready:
                pixels = films if isinstance(films, Tensor) else torch.stack([preprocessing.pixels(f) for f in films])
                ready[preprocessing] = pixels, _masks(lungs, preprocessing)
            pixels, mask = ready[preprocessing]
            shown = [pixels, *(perturb(pixels, positions, mask) for perturb in perturbations.values())]
            found.append(outputs(predictor, [preprocessing.normalise(image) for image in shown]))
        advance(len(positions))
    scored = []
    for found in batches:
        if not found:
            scored.append(Scored(np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), {}))
            continue
        features, logits, *others = (np.concatenate(parts) for parts in zip(*found, strict=True))
        scored.append(Scored(features, logits, dict(zip(perturbations, others, strict=True))))
    return scored, unreadable


@torch.inference_mode()
def outputs(predictor: Predictor, images: list[Tensor]) -> list[np.ndarray]:
    """Features (films x width) of the first batch of images, then the logits (films x classes) of each."""
    ready = (image.to(predictor.device).contiguous(memory_format=torch.channels_last) for image in images)  # faster
    outputs = [predictor.model(image) for image in ready]
    return [outputs[0].features.float().cpu().numpy(), *(output.logits.float().cpu().numpy() for output in outputs)]


def _read(
    cohort: Cohort, masks: FilmReader | None, unreadable: dict[int, str]
) -> Iterator[tuple[list[int], list[Radiograph] | Tensor, list[Radiograph] | None]]:
    """Batches of decoded films; the next one is read while the last is scored."""
    everything = list(range(len(cohort.table)))
    batches = [everything[first : first + BATCH] for first in range(0, len(everything), BATCH)]
    if cohort.films is None:
        for batch in batches:
            yield batch, cohort.pixels(torch.tensor(batch)), None
        return
    films = cohort.films

    def read(position: int) -> tuple[int, Radiograph, Radiograph | None] | tuple[int, str]:
        try:
            return position, films.read(position), masks.read(position) if masks else None
        except RadiographError as error:
            return position, str(error)

    with ThreadPoolExecutor(READERS) as pool:
        ahead = [pool.submit(read, position) for position in batches[0]] if batches else []
        for number in range(len(batches)):
            found = [entry.result() for entry in ahead]
            ahead = [
                pool.submit(read, position) for position in (batches[number + 1] if number + 1 < len(batches) else [])
            ]
            good = []
            for entry in found:
                if len(entry) == 3:
                    good.append(entry)
                else:
                    unreadable[entry[0]] = entry[1]
            if good:
                positions, radiographs, lungs = (list(column) for column in zip(*good, strict=True))
                yield positions, radiographs, lungs if masks else None


def _masks(lungs: list[Radiograph] | None, preprocessing: Preprocessing) -> Tensor | None:
    """Lungs where the preprocessing puts them, as booleans."""
    if lungs is None:
        return None
    geometry = Preprocessing(preprocessing.size, 1, preprocessing.aspect, "none")
    return torch.stack([geometry.pixels(mask) for mask in lungs]) > 0.5
