"""A film and a checkpoint: score, saliency, scores with parts blanked, and the nearest training films."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from app.reading.upload import shown_size
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph
from models.saliency import grad_cam
from training.bias.questions.shortcuts import COUNTERFACTUALS, FilmBatch
from training.run.reference import Reference
from training.scoring.predict import Predictor, read_logits
from training.scoring.saliency_picture import ORANGE, film_heat

NEAREST = 2  # training films a source


class FilmScore(NamedTuple):
    """A checkpoint's prediction for one film."""

    score: float  # calibrated probability of the positive class
    logit: float  # of the positive class, before temperature
    prediction: str  # name of the class it is called
    features: np.ndarray  # width, float32


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


def picture(film: Radiograph, centre: float = 0.5, width: float = 1.0) -> np.ndarray:
    """The film for a page, uint8, in a window for the eye alone: `centre` is mid-grey, `width` from black to white."""
    rows, columns = shown_size(*film.pixels.shape)
    grey = np.clip((film.pixels - centre) / width + 0.5, 0, 1)
    image = Image.fromarray((255 * grey).round().astype(np.uint8))
    return np.asarray(image.resize((columns, rows), Image.Resampling.LANCZOS, reducing_gap=3))


def overlay(grey: np.ndarray, heat: np.ndarray, opacity: float) -> np.ndarray:
    """A `picture` with orange over its `evidence`, RGB uint8; `opacity` in [0, 1] is that of the strongest place."""
    cover = (opacity * heat)[..., None]
    return (grey[..., None] * (1 - cover) + np.array(ORANGE) * cover).round().astype(np.uint8)


@torch.inference_mode()
def counterfactuals(predictor: Predictor, film: Radiograph) -> pd.DataFrame:
    """The film with one part blanked at a time: columns part, left (a sentence), score; first the film as it is."""
    checkpoint, preprocessing = predictor.checkpoint, predictor.checkpoint.preprocessing
    blanked = blank_parts(preprocessing, film)
    images = torch.stack([preprocessing.normalise(image) for image in blanked.values()]).to(predictor.device)
    logits = predictor.model(images).logits.float().cpu().numpy()
    scores = read_logits(logits, checkpoint.info.positive, checkpoint.calibration).score
    sentences = ["The film as it is.", *(change.left for change in COUNTERFACTUALS.values())]
    return pd.DataFrame({"part": list(blanked), "left": sentences, "score": scores})


def blank_parts(preprocessing: Preprocessing, film: Radiograph) -> dict[str, torch.Tensor]:
    """The film as the model sees it, whole and with each part blanked: 1 x size x size in [0, 1]."""
    pixels = preprocessing.pixels(film)
    films = FilmBatch(pixels[None], seeds=[0])
    blanked = {name: change.blank(films)[0] for name, change in COUNTERFACTUALS.items()}
    return {"nothing": pixels} | blanked


def nearest_by_source(reference: Reference, training: pd.DataFrame, features: np.ndarray) -> pd.DataFrame:
    """The training films nearest to a film, two from each source, the nearest source first.

    The columns are those of the run's predictions (row, source, target, score) and distance, 0 to 2 on the unit sphere.
    """
    known = training.set_index("row").reindex(reference.rows).reset_index(names="row")
    parts = []
    for _, films in known.groupby("source"):
        places, distances = reference.nearest(features, films.index.to_numpy(), NEAREST)
        parts.append(known.loc[places].assign(distance=distances))
    nearest = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["source", "distance"])
    order = nearest.groupby("source")["distance"].transform("min")
    return nearest.assign(order=order).sort_values(["order", "source", "distance"]).drop(columns="order")
