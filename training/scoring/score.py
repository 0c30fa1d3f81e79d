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
from training.bias.questions.shortcuts import FilmBatch, Perturbation
from training.scoring.predict import Predictor

BATCH = 64
READERS = 2  # decoding threads


class Scored(NamedTuple):
    """Features (films x width) and logits (films x classes) of one model, float32, for the films that could be read."""

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
        perturbations: by name, see `training.bias.questions.shortcuts`; a film's seed is its position in the cohort.
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
        for predictor, outputs_so_far in zip(predictors, batches, strict=True):
            preprocessing = predictor.checkpoint.preprocessing
            if preprocessing not in ready:
                pixels = films if isinstance(films, Tensor) else torch.stack([preprocessing.pixels(f) for f in films])
                ready[preprocessing] = pixels, _masks(lungs, preprocessing)
            pixels, mask = ready[preprocessing]
            batch = FilmBatch(pixels, positions, mask)
            images = [pixels, *(perturb(batch) for perturb in perturbations.values())]
            outputs_so_far.append(outputs(predictor, [preprocessing.normalise(image) for image in images]))
        advance(len(positions))
    if not any(batches):
        nothing = np.empty((0, 0), np.float32)
        return [Scored(nothing, nothing, {}) for _ in predictors], unreadable
    scored = []
    for parts_of_model in batches:
        features, logits, *others = map(np.concatenate, zip(*parts_of_model, strict=True))
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
    count = len(cohort.table)
    batches = [list(range(first, min(first + BATCH, count))) for first in range(0, count, BATCH)]
    if cohort.films is None:
        for batch in batches:
            yield batch, cohort.pixels(torch.tensor(batch)), None
        return
    films = cohort.films

    def read(position: int) -> tuple[int, Radiograph | str, Radiograph | None]:
        try:
            return position, films.read(position), masks.read(position) if masks else None
        except RadiographError as error:
            return position, str(error), None

    with ThreadPoolExecutor(READERS) as pool:
        ahead = pool.map(read, batches[0] if batches else [])
        for following in [*batches[1:], []]:
            decoded = list(ahead)
            ahead = pool.map(read, following)
            unreadable |= {position: film for position, film, _ in decoded if isinstance(film, str)}
            good = [entry for entry in decoded if not isinstance(entry[1], str)]
            if good:
                positions, radiographs, lungs = (list(column) for column in zip(*good, strict=True))
                yield positions, radiographs, lungs if masks else None


def _masks(lungs: list[Radiograph] | None, preprocessing: Preprocessing) -> Tensor | None:
    """Lungs where the preprocessing puts them, as booleans."""
    if lungs is None:
        return None
    geometry = Preprocessing(preprocessing.size, 1, preprocessing.aspect, "none")
    return torch.stack([geometry.pixels(mask) for mask in lungs]) > 0.5
