"""Films through several checkpoints in one pass: a film is decoded once, however many models and perturbations read it."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
FORWARD_CPU, FORWARD = 32, 128  # images of a forward pass; more are slower on a CPU, whose cache they leave
DARK = 0.1  # of a mask's brightest grey: what a lossy format leaves around the lungs
READERS = 2  # decoding threads

Lungs = Radiograph | str | None  # a mask, why it can't be used, or none is needed


class Scored(NamedTuple):
    """What one model makes of the films that could be read; all float32.

    Attributes:
        features: films x width.
        logits: films x classes.
        perturbed: logits by perturbation, films x classes; NaN for films that were not perturbed.
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
    chosen: Collection[int] | None = None,
    seen: Callable[[int, Radiograph], object] = lambda position, film: None,
    unmasked: Callable[[int, str], object] = lambda position, reason: None,
) -> tuple[list[Scored], dict[int, str]]:
    """Score every film of a cohort with every model, each through its own preprocessing.

    Models that read films alike share their pixels, perturbed or not.

    Args:
        perturbations: by name, see `training.bias.questions.shortcuts`; a film's seed is its position in the cohort.
        masks: lungs by position, white on black, for perturbations that need to know them.
        advance: called with the number of films done since the last call.
        chosen: positions of the films to perturb; None for all.
        seen: called with the position of each decoded film and the film, for what its facts tell.
        unmasked: called with the position of each film that is not perturbed, for its mask can't be used, and the reason.

    Returns:
        One `Scored` a model, and for each position that could not be read the reason; those films are left out.
    """
    perturbations = perturbations or {}
    wanted = (set(range(len(cohort.table))) if chosen is None else set(chosen)) if perturbations else set()
    batches: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = [[] for _ in predictors]
    unreadable: dict[int, str] = {}
    for positions, films, lungs in _read(cohort, masks, wanted, unreadable):
        perturbed_at = [at for at, position in enumerate(positions) if position in wanted]
        if lungs is not None:
            for at in perturbed_at:
                if isinstance(reason := lungs[at], str):
                    unmasked(positions[at], reason)
            perturbed_at = [at for at in perturbed_at if isinstance(lungs[at], Radiograph)]
        if not isinstance(films, Tensor):
            for position, film in zip(positions, films, strict=True):
                seen(position, film)
        pixels_of: dict[Preprocessing, list[Tensor]] = {}
        ready: dict[Preprocessing, Tensor] = {}
        for predictor, outputs_so_far in zip(predictors, batches, strict=True):
            preprocessing = predictor.checkpoint.preprocessing
            shape = geometry(preprocessing)
            if shape not in pixels_of:
                pixels = films if isinstance(films, Tensor) else torch.stack([shape.pixels(film) for film in films])
                part = FilmBatch(
                    pixels[perturbed_at], [positions[at] for at in perturbed_at], _masks(lungs, perturbed_at, shape)
                )
                pixels_of[shape] = [pixels, *(perturb(part) for perturb in perturbations.values() if perturbed_at)]
            if preprocessing not in ready:
                ready[preprocessing] = preprocessing.normalise(torch.cat(pixels_of[shape]))
            features, logits = outputs(predictor, ready[preprocessing])
            count, classes = len(positions), logits.shape[1]
            perturbed = np.full((count, len(perturbations), classes), np.nan, np.float32)
            if perturbed_at:
                by_name = logits[count:].reshape(len(perturbations), len(perturbed_at), classes)
                perturbed[perturbed_at] = by_name.transpose(1, 0, 2)
            outputs_so_far.append((features[:count], logits[:count], perturbed))
        advance(len(positions))
    if not any(batches):
        nothing = np.empty((0, 0), np.float32)
        return [Scored(nothing, nothing, {}) for _ in predictors], unreadable
    scored = []
    for parts_of_model in batches:
        features, logits, others = map(np.concatenate, zip(*parts_of_model, strict=True))
        scored.append(Scored(features, logits, dict(zip(perturbations, others.transpose(1, 0, 2), strict=True))))
    return scored, unreadable


def geometry(preprocessing: Preprocessing) -> Preprocessing:
    """What decides the pixels before normalisation: checkpoints that agree in it share them."""
    return replace(preprocessing, channels=1, mean=(0.5,), std=(0.25,))


@torch.inference_mode()
def outputs(predictor: Predictor, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Features (images x width) and logits (images x classes), so many images at a time as memory has room for."""
    parts, size = [], FORWARD_CPU if predictor.device.type == "cpu" else FORWARD
    for first in range(0, len(images), size):
        image = images[first : first + size].to(predictor.device)
        output = predictor.model(image.contiguous(memory_format=torch.channels_last))  # faster
        parts.append((output.features.float().cpu().numpy(), output.logits.float().cpu().numpy()))
    features, logits = map(np.concatenate, zip(*parts, strict=True))
    return features, logits


def _read(
    cohort: Cohort, masks: FilmReader | None, perturbed: Collection[int], unreadable: dict[int, str]
) -> Iterator[tuple[list[int], list[Radiograph] | Tensor, list[Lungs] | None]]:
    """Batches of decoded films, with masks of those to be perturbed; the next is read while the last is scored."""
    count = len(cohort.table)
    batches = [list(range(first, min(first + BATCH, count))) for first in range(0, count, BATCH)]
    if cohort.films is None:
        for batch in batches:
            yield batch, cohort.pixels(torch.tensor(batch)), None
        return
    films = cohort.films

    def read(position: int) -> tuple[int, Radiograph | str, Lungs]:
        try:
            film = films.read(position)
        except RadiographError as error:
            return position, str(error), None
        return position, film, _lungs(film, masks, position) if masks and position in perturbed else None

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


def _lungs(film: Radiograph, masks: FilmReader, position: int) -> Radiograph | str:
    """A film's mask with lungs at 1, whichever grey marks them, or the reason why it can't be used."""
    try:
        mask = masks.read(position)
    except RadiographError as error:
        return str(error)
    if mask.pixels.shape != film.pixels.shape:
        return "it has {} rows of {} pixels, the film {} of {}".format(*mask.pixels.shape, *film.pixels.shape)
    lungs = mask.pixels > DARK * mask.pixels.max()  # one grey for both, or another for each
    return Radiograph(lungs.astype(np.float32)) if lungs.any() else "it is black: lungs must be white"


def _masks(lungs: list[Lungs] | None, at: list[int], shape: Preprocessing) -> Tensor | None:
    """Lungs of some films where the geometry puts them, as booleans."""
    if lungs is None or not at:
        return None
    unscaled = Preprocessing(shape.size, 1, shape.aspect, "none")
    known = [mask for mask in (lungs[position] for position in at) if isinstance(mask, Radiograph)]
    return torch.stack([unscaled.pixels(mask) for mask in known]) > 0.5
