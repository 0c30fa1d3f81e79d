"""From a classifier and a cohort to features, logits and the predictions table."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.special import logsumexp, softmax
from torch import Tensor, nn

from datasets.cohort.films import Cohort, CohortSamples, UnreadableFilmError
from datasets.film.identity import keyed_hash
from datasets.film.policy import DicomPolicy
from datasets.film.read import read_radiograph
from datasets.sample import DatasetInfo
from training.parallel.ranks import gather_rows, rank, ranks
from training.run.checkpoint import Calibration, Checkpoint, load_checkpoint
from training.run.films import film_names
from training.run.site_calibration import FilmCalibration

# Columns of a cohort that travel into the predictions table where they exist; nothing else does.
ATTRIBUTES = ("view", "sex", "age_band", "manufacturer", "looks_inverted")
BATCH_SIZE = 128  # films a forward pass of `infer`


class Inference(NamedTuple):
    """What a classifier says of films.

    Attributes:
        positions: of the films in the cohort, in the order asked for, without those that can't be decoded.
        features: films x width, float32.
        logits: films x classes, float32.
        unreadable: reason by position, of films that can't be decoded.
    """

    positions: np.ndarray
    features: np.ndarray
    logits: np.ndarray
    unreadable: dict[int, str]


@torch.inference_mode()
def infer(
    model: nn.Module,
    samples: CohortSamples,
    positions: np.ndarray,
    device: torch.device,
    channels_last: bool = False,
    skip: bool = False,
) -> Inference:
    """Run the classifier over films of a cohort, without augmentation, leaving its mode as it was.

    In a training of several processes each runs its share of the films, and all get the whole; all must call it.

    Args:
        skip: leave films out that can't be decoded; without it such a film raises UnreadableFilmError.
    """
    was_training = model.training
    model.eval()
    features, logits, unreadable = [], [], dict[int, str]()
    share = positions[rank() :: ranks()]
    for first in range(0, len(share), BATCH_SIZE):
        image = _decoded(samples, share[first : first + BATCH_SIZE].tolist(), unreadable, skip)
        if image is None:
            continue
        image = image.to(device)
        if channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        output = model(image)
        features.append(output.features.float().cpu().numpy())
        logits.append(output.logits.float().cpu().numpy())
    model.train(was_training)
    share = share[~np.isin(share, list(unreadable))]
    classes = model.config.num_classes  # type: ignore[union-attr]
    width = model.head.in_features if ranks() > 1 else 0  # type: ignore[union-attr]
    inference = Inference(
        share,
        np.concatenate(features) if features else np.empty((0, width), np.float32),  # type: ignore[arg-type]
        np.concatenate(logits) if logits else np.empty((0, classes), np.float32),  # type: ignore[arg-type]
        unreadable,
    )
    return inference if ranks() == 1 else _of_all_ranks(inference, positions)


def _decoded(samples: CohortSamples, films: list[int], unreadable: dict[int, str], skip: bool) -> Tensor | None:
    """Images of these films but for those that can't be decoded, whose reasons go to `unreadable`; None without any."""
    while films:
        try:
            return samples.__getitems__(films).image
        except UnreadableFilmError as error:
            if not skip or error.position is None:
                raise
            unreadable[error.position] = str(error)
            films = [film for film in films if film != error.position]
    return None


def _of_all_ranks(share: Inference, positions: np.ndarray) -> Inference:
    """Every process's films in the order asked for."""
    at, features, logits = gather_rows(share.positions), gather_rows(share.features), gather_rows(share.logits)
    place = pd.Series(np.arange(len(at)), index=at)
    read = np.isin(positions, at)
    missing = dict.fromkeys(positions[~read].tolist(), "another process could not decode it")
    order = place.loc[positions[read]].to_numpy()
    return Inference(positions[read], features[order], logits[order], missing | share.unreadable)


class Scores(NamedTuple):
    """Logits after calibration.

    Attributes:
        probability: films x classes, after temperature.
        score: probability of the positive class; NaN where no class is positive.
        margin: positive logit minus logsumexp of the others, before temperature; NaN where no class is positive.
        prediction: index of the predicted class: by threshold for two classes, else the most probable.
    """

    probability: np.ndarray
    score: np.ndarray
    margin: np.ndarray
    prediction: np.ndarray


def read_logits(logits: np.ndarray, positive: int | None, calibration: Calibration | FilmCalibration) -> Scores:
    """Calibrate logits (films x classes), all alike or film by film, and predict the class of each film."""
    logits = logits.astype(np.float64)
    probability = softmax(logits / np.reshape(calibration.temperature, (-1, 1)), axis=1)
    prediction = probability.argmax(1)
    if positive is None:
        undefined = np.full(len(logits), np.nan)
        return Scores(probability, undefined, undefined, prediction)
    score = probability[:, positive]
    margin = logits[:, positive] - logsumexp(np.delete(logits, positive, axis=1), axis=1)
    if calibration.threshold is not None and logits.shape[1] == 2:
        prediction = np.where(score >= calibration.threshold, positive, 1 - positive)
    return Scores(probability, score, margin, prediction)


def predictions(
    films: pd.DataFrame, logits: np.ndarray, info: DatasetInfo, calibration: Calibration | FilmCalibration
) -> pd.DataFrame:
    """The films' columns, then score, score_<class> for more than two classes, logit and prediction (a class name).

    Where films are read by site, `own_score` is by the model's own temperature: it orders films of several sites.

    Args:
        films: what is known of each film; its target is a class name.
        logits: films x classes.
    """
    scores, names = read_logits(logits, info.positive, calibration), np.array(info.targets, dtype=object)
    columns = {"score": scores.score}
    if len(names) > 2:
        columns |= {f"score_{name}": scores.probability[:, number] for number, name in enumerate(names)}
    if isinstance(calibration, FilmCalibration):
        columns["own_score"] = read_logits(logits, info.positive, Calibration(calibration.own, None)).score
    return films.assign(**columns, logit=scores.margin, prediction=names[scores.prediction])


def predictions_table(
    cohort: Cohort,
    logits: np.ndarray,
    calibration: Calibration | FilmCalibration,
    run: str,
    key: bytes,
    also: tuple[str, ...] = (),
) -> pd.DataFrame:
    """The predictions of one run, a row a film of the cohort; films and patients appear as keyed hashes alone.

    Args:
        logits: films x classes.
        key: of the hashes; tables pair when it is the same.
        also: further columns of the cohort to take along, beside `ATTRIBUTES`.
    """
    table, info = cohort.table.reset_index(drop=True), cohort.info
    films = pd.DataFrame(
        {
            "run": run,
            "row": table["row"].astype("int64"),
            "file": [keyed_hash(key, name) for name in film_names(cohort)],
            "patient": [keyed_hash(key, name) for name in table["patient"]],
            "source": table["source"],
            "split": table["split"],
            "target": np.array(info.targets, dtype=object)[table["target"].to_numpy()],
        }
    )
    scored = predictions(films, logits, info, calibration)
    for column in (*ATTRIBUTES, *also):
        if column in table and column not in scored:
            scored[column] = table[column].replace("", None)
    return scored


class Predictor:
    """A checkpoint ready to score films: what the batch evaluator and the app use."""

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu") -> None:
        self.checkpoint = checkpoint
        try:
            self.device = torch.device(device)
        except RuntimeError:
            raise ValueError(f"device {device!r}: there is no such device; give cpu or cuda") from None
        self.model = checkpoint.build().to(self.device)

    @classmethod
    def load(cls, run: Path | str, device: str = "cpu") -> "Predictor":
        """Load from a run folder or a checkpoint file; raises CheckpointError."""
        return cls(load_checkpoint(Path(run)), device)

    @property
    def info(self) -> DatasetInfo:
        """Class and source names of the training data."""
        return self.checkpoint.info

    @torch.inference_mode()
    def logits(self, film: Path | str | bytes) -> np.ndarray:
        """Logits of one film, by its path or its content, one per class; raises RadiographError for what is no film."""
        if not isinstance(film, Path | str | bytes):
            raise TypeError(f"a film is a path or the bytes of its file, not {type(film).__name__}")
        film = Path(film) if isinstance(film, str) else film
        preprocessing = self.checkpoint.preprocessing
        image = preprocessing(read_radiograph(film, policy=DicomPolicy(voi=preprocessing.voi)))[None].to(self.device)
        result: np.ndarray = self.model(image).logits[0].float().cpu().numpy()
        return result

    def score(self, film: Path | str | bytes) -> float:
        """Calibrated probability of the positive class of one film."""
        c = self.checkpoint
        if c.info.positive is None:
            raise ValueError(f"a model of {c.info.name} has no positive class")
        return float(read_logits(self.logits(film)[None], c.info.positive, c.calibration).score[0])
