"""A film and a checkpoint: score, saliency, scores with parts blanked, and the nearest training films."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from app.reading.upload import SHOWN, shown_size
from datasets.film.picture import sampled
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph
from models.saliency import grad_cam
from training.bias.questions.shortcuts import PARTS, PERTURBATIONS, FilmBatch
from training.run.reference import Reference
from training.scoring.predict import Predictor, read_logits
from training.scoring.saliency_picture import film_heat

NEAREST = 2  # training films a source


class FilmScore(NamedTuple):
    """A checkpoint's prediction for one film."""

    score: float  # calibrated probability of the positive class
    logit: float  # of the positive class, before temperature
    prediction: str  # name of the class it is called
    features: np.ndarray  # width, float32


class Likeness(NamedTuple):
    """How far a film is from a run's training films, on the unit sphere of its features (0 to 2)."""

    distance: float  # to the k-th nearest, see `Reference`
    limit: float  # within which 95 % of validation films are; NaN where they are too few

    @property
    def unlike(self) -> bool | None:
        """Whether it is unlike them; None where that can't be told."""
        return None if np.isnan(self.limit) else self.distance > self.limit


@torch.inference_mode()
def score_film(predictor: Predictor, film: Radiograph) -> FilmScore:
    """Score a film exactly as `training.evaluate` does."""
    checkpoint = predictor.checkpoint
    output = predictor.model(checkpoint.preprocessing(film)[None].to(predictor.device))
    scores = read_logits(output.logits.float().cpu().numpy(), checkpoint.info.positive, checkpoint.calibration)
    name = checkpoint.info.targets[int(scores.prediction[0])]
    features = output.features[0].float().cpu().numpy()
    return FilmScore(float(scores.score[0]), float(scores.margin[0]), name, features)


def evidence(predictor: Predictor, film: Radiograph) -> np.ndarray:
    """Grad-CAM for the positive class over the whole film, in [0, 1], at the size that pages show."""
    preprocessing, positive = predictor.checkpoint.preprocessing, predictor.checkpoint.info.positive
    assert positive is not None
    heat = grad_cam(predictor.model, preprocessing(film)[None].to(predictor.device), positive)[0, 0].cpu().numpy()
    rows, columns = film.pixels.shape
    return np.clip(film_heat(heat, (rows, columns), preprocessing, shown_size(rows, columns)), 0, 1)


def picture(film: Radiograph, low: float = 0.0, high: float = 1.0, longest: int = SHOWN) -> np.ndarray:
    """The film for a page, uint8, black at `low` and white at `high`, for the eye alone; at most `longest` px."""
    rows, columns = film.pixels.shape
    rows, columns = shown_size(rows, columns, longest)
    grey = np.clip((film.pixels - low) / max(high - low, 0.01), 0, 1)
    image = Image.fromarray((255 * grey).round().astype(np.uint8))
    return np.asarray(image.resize((columns, rows), Image.Resampling.LANCZOS, reducing_gap=3))


def windows(film: Radiograph) -> dict[str, tuple[float, float]]:
    """Grey windows for the eye, from the film's own greys: black and white by name."""
    dark, low, high, bright = np.percentile(sampled(film.pixels), [0.5, 25, 75, 99.5]).tolist()
    return (
        {
            "Whole range": (0.0, 1.0),
            "Film's own range": (dark, bright),
            "Lungs": (dark, high),
            "Mediastinum and bones": (low, bright),
            "High contrast": ((dark + low) / 2, (high + bright) / 2),
        }
        if bright > dark
        else {"Whole range": (0.0, 1.0)}
    )


def model_input(predictor: Predictor, film: Radiograph) -> np.ndarray:
    """The film as the model sees it, resized, scaled and not yet normalised: size x size in [0, 1]."""
    return predictor.checkpoint.preprocessing.pixels(film)[0].numpy()


@torch.inference_mode()
def scores_without(predictor: Predictor, film: Radiograph) -> dict[str, float]:
    """The score of the film without each of `PARTS`, by the name of the perturbation, from one forward pass."""
    checkpoint, preprocessing = predictor.checkpoint, predictor.checkpoint.preprocessing
    images = torch.stack([preprocessing.normalise(image) for image in without_parts(preprocessing, film).values()])
    logits = predictor.model(images.to(predictor.device)).logits.float().cpu().numpy()
    scores = read_logits(logits, checkpoint.info.positive, checkpoint.calibration).score
    return dict(zip(PARTS, map(float, scores), strict=True))


def without_parts(preprocessing: Preprocessing, film: Radiograph) -> dict[str, torch.Tensor]:
    """The film as the model sees it without each of `PARTS`: 1 x size x size in [0, 1]."""
    films = FilmBatch(preprocessing.pixels(film)[None], seeds=[0])
    return {name: PERTURBATIONS[name](films)[0] for name in PARTS}


def likeness(reference: Reference, features: np.ndarray) -> Likeness:
    """How near a film is to the training films of a run."""
    return Likeness(float(reference.distances(features[None])[0]), reference.limit)


def nearest_by_label(reference: Reference, training: pd.DataFrame, features: np.ndarray) -> pd.DataFrame:
    """The training film of each label that is nearest to a film, the nearest first: columns as `nearest_by_source`."""
    return _nearest(reference, training, features, "target", 1)


def nearest_by_source(reference: Reference, training: pd.DataFrame, features: np.ndarray) -> pd.DataFrame:
    """The training films nearest to a film, two from each source, the nearest source first.

    The columns are those of the run's predictions (row, source, target, score) and distance, 0 to 2 on the unit sphere.
    """
    return _nearest(reference, training, features, "source", NEAREST)


def _nearest(
    reference: Reference, training: pd.DataFrame, features: np.ndarray, column: str, count: int
) -> pd.DataFrame:
    """The nearest so many training films of each kind, the kind that has the nearest first."""
    known = training.set_index("row").reindex(reference.rows).reset_index(names="row")
    parts = []
    for _, films in known.groupby(column):
        places, distances = reference.nearest(features, films.index.to_numpy(), count)
        parts.append(known.loc[places].assign(distance=distances))
    nearest = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[column, "distance"])
    order = nearest.groupby(column)["distance"].transform("min")
    return nearest.assign(order=order).sort_values(["order", column, "distance"]).drop(columns="order")
