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
    """A checkpoint's prediction for one film.

    Attributes:
        score: calibrated probability of the positive class.
        logit: of the positive class, before temperature.
        prediction: name of the class it is called.
        features: width, float32.
    """

    score: float
    logit: float
    prediction: str
    features: np.ndarray


@torch.inference_mode()
def score_film(predictor: Predictor, film: Radiograph) -> FilmScore:
    """Score a film exactly as `training.evaluate` does."""
    checkpoint = predictor.checkpoint
    positive = checkpoint.info.positive
    assert positive is not None
    output = predictor.model(checkpoint.preprocessing(film)[None].to(predictor.device))
    scores = read_logits(output.logits.float().cpu().numpy(), positive, checkpoint.calibration)
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
    """The film for a page, uint8; the window is for the eye alone.

    Args:
        centre: grey in [0, 1] that is shown as mid-grey.
        width: range of greys from black to white.
    """
    rows, columns = shown_size(*film.pixels.shape)
    grey = np.clip((film.pixels - centre) / width + 0.5, 0, 1)
    image = Image.fromarray((255 * grey).round().astype(np.uint8))
    return np.asarray(image.resize((columns, rows), Image.Resampling.LANCZOS, reducing_gap=3))


def overlay(grey: np.ndarray, heat: np.ndarray, opacity: float) -> np.ndarray:
    """The picture with orange laid over it where the evidence is, RGB uint8.

    Args:
        grey: from `picture`.
        heat: from `evidence`.
        opacity: of the strongest place, in [0, 1].
    """
    cover = (opacity * heat)[..., None]
    return (grey[..., None] * (1 - cover) + np.array(ORANGE) * cover).round().astype(np.uint8)


@torch.inference_mode()
def counterfactuals(predictor: Predictor, film: Radiograph) -> pd.DataFrame:
    """The score of the film with one part blanked at a time.

    Returns:
        Columns part, left (a sentence), score; the first row is the film as it is.
    """
    checkpoint = predictor.checkpoint
    preprocessing, positive = checkpoint.preprocessing, checkpoint.info.positive
    assert positive is not None
    blanked = blank_parts(preprocessing, film)
    images = torch.stack([preprocessing.normalise(image) for image in blanked.values()]).to(predictor.device)
    logits = predictor.model(images).logits.float().cpu().numpy()
    scores = read_logits(logits, positive, checkpoint.calibration).score
    sentences = ["The film as it is.", *(change.left for change in COUNTERFACTUALS.values())]
    return pd.DataFrame({"part": list(blanked), "left": sentences, "score": scores})


def blank_parts(preprocessing: Preprocessing, film: Radiograph) -> dict[str, torch.Tensor]:
    """The film as the model sees it, whole and with each part blanked: 1 x size x size in [0, 1]."""
    pixels = preprocessing.pixels(film)
    films = FilmBatch(pixels[None], seeds=[0])
    blanked = {name: change.blank(films)[0] for name, change in COUNTERFACTUALS.items()}
    return {"nothing": pixels} | blanked


def nearest_by_source(reference: Reference, training: pd.DataFrame, features: np.ndarray) -> pd.DataFrame:
    """The training films nearest to a film, two from each source.

    Args:
        training: the run's predictions of its training films: columns row, source, target, score.

    Returns:
        Columns source, row, target, score, distance (0 to 2 on the unit sphere), the nearest source first.
    """
    known = training.set_index("row").reindex(reference.rows)
    parts = []
    for source, films in known.reset_index(drop=True).groupby("source"):
        places, distances = reference.nearest(features, films.index.to_numpy(), NEAREST)
        rows = known.iloc[places]
        parts.append(rows.assign(source=source, row=reference.rows[places], distance=distances).reset_index(drop=True))
    nearest = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["source", "distance"])
    order = nearest.groupby("source")["distance"].transform("min")
    return nearest.assign(order=order).sort_values(["order", "source", "distance"]).drop(columns="order")
