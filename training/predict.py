"""From a classifier and a cohort to features, logits and the predictions table."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.special import logsumexp, softmax
from torch import nn

from datasets.cohort import Cohort, CohortSamples
from datasets.dicom_policy import DicomPolicy
from datasets.identity import keyed_hash
from datasets.radiograph import read_radiograph
from datasets.sample import DatasetInfo
from training.checkpoint import Checkpoint, load_checkpoint

# Columns of a cohort that travel into the predictions table where they exist; nothing else does.
ATTRIBUTES = ("view", "sex", "age_band", "manufacturer")


class Inference(NamedTuple):
    """Features (films x width) and logits (films x classes), float32, in the order of the films asked for."""

    features: np.ndarray
    logits: np.ndarray


@torch.inference_mode()
def infer(
    model: nn.Module,
    samples: CohortSamples,
    positions: np.ndarray,
    device: torch.device,
    batch_size: int = 128,
    channels_last: bool = False,
) -> Inference:
    """Run the classifier over films of a cohort, without augmentation, leaving its mode as it was."""
    was_training = model.training
    model.eval()
    features, logits = [], []
    for first in range(0, len(positions), batch_size):
        image = samples.__getitems__(positions[first : first + batch_size].tolist()).image.to(device)
        if channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        output = model(image)
        features.append(output.features.float().cpu().numpy())
        logits.append(output.logits.float().cpu().numpy())
    model.train(was_training)
    if not features:
        classes = model.config.num_classes  # type: ignore[union-attr]
        return Inference(np.empty((0, 0), np.float32), np.empty((0, classes), np.float32))  # type: ignore[arg-type]
    return Inference(np.concatenate(features), np.concatenate(logits))


class Scores(NamedTuple):
    """What the logits say under a checkpoint's calibration.

    Attributes:
        probability: films x classes, after temperature.
        margin: positive logit minus logsumexp of the others, before temperature; NaN where no class is positive.
        prediction: index of the predicted class: by threshold for two classes, else the most probable.
    """

    probability: np.ndarray
    margin: np.ndarray
    prediction: np.ndarray


def read_logits(logits: np.ndarray, positive: int | None, temperature: float, threshold: float | None) -> Scores:
    """Calibrate logits (films x classes) and call each film."""
    logits = logits.astype(np.float64)
    probability = softmax(logits / temperature, axis=1)
    prediction = probability.argmax(1)
    if positive is None:
        return Scores(probability, np.full(len(logits), np.nan), prediction)
    margin = logits[:, positive] - logsumexp(np.delete(logits, positive, axis=1), axis=1)
    if threshold is not None and logits.shape[1] == 2:
        prediction = np.where(probability[:, positive] >= threshold, positive, 1 - positive)
    return Scores(probability, margin, prediction)


def predictions_table(
    cohort: Cohort,
    positions: np.ndarray,
    logits: np.ndarray,
    temperature: float,
    threshold: float | None,
    run: str,
    key: bytes,
    also: tuple[str, ...] = (),
) -> pd.DataFrame:
    """The predictions of one run, a row a film; films and patients appear as keyed hashes alone.

    Args:
        cohort: the films' cohort.
        positions: which films, in the order of `logits`.
        logits: films x classes.
        temperature: see `Checkpoint`.
        threshold: see `Checkpoint`.
        run: name of the run folder.
        key: of the hashes; tables pair when it is the same.
        also: further columns of the cohort to take along, beside `ATTRIBUTES`.
    """
    films, info = cohort.table.iloc[positions].reset_index(drop=True), cohort.info
    scores = read_logits(logits, info.positive, temperature, threshold)
    names = np.array(info.targets, dtype=object)
    file = films["path"] if "path" in films else info.name + " " + films["row"].astype(str)
    table = pd.DataFrame(
        {
            "run": run,
            "row": films["row"].astype("int64"),
            "file": [keyed_hash(key, name) for name in file],
            "patient": [keyed_hash(key, name) for name in films["patient"]],
            "source": films["source"],
            "split": films["split"],
            "target": names[films["target"].to_numpy()],
            "score": scores.probability[:, info.positive] if info.positive is not None else np.nan,
        }
    )
    if len(names) > 2:
        for number, name in enumerate(names):
            table[f"score_{name}"] = scores.probability[:, number]
    table["logit"] = scores.margin
    table["prediction"] = names[scores.prediction]
    for column in (*ATTRIBUTES, *also):
        if column in films and column not in table:
            table[column] = films[column].replace("", None)
    return table


class Predictor:
    """A checkpoint ready to score films: what the batch evaluator and the app use."""

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu") -> None:
        self.checkpoint = checkpoint
        self.device = torch.device(device)
        self.model = checkpoint.build().to(self.device)

    @classmethod
    def load(cls, run: Path, device: str = "cpu") -> "Predictor":
        """Load from a run folder or a checkpoint file; raises CheckpointError."""
        return cls(load_checkpoint(run), device)

    @property
    def info(self) -> DatasetInfo:
        """Class and source names of the training data."""
        return self.checkpoint.info

    @torch.inference_mode()
    def logits(self, film: Path | bytes) -> np.ndarray:
        """Logits of one film, one per class; raises RadiographError for a file that is no film."""
        preprocessing = self.checkpoint.preprocessing
        image = preprocessing(read_radiograph(film, policy=DicomPolicy(voi=preprocessing.voi)))[None].to(self.device)
        result: np.ndarray = self.model(image).logits[0].float().cpu().numpy()
        return result

    def score(self, film: Path | bytes) -> float:
        """Calibrated probability of the positive class of one film."""
        c = self.checkpoint
        if c.info.positive is None:
            raise ValueError(f"a model of {c.info.name} has no positive class")
        scores = read_logits(self.logits(film)[None], c.info.positive, c.temperature, c.threshold)
        return float(scores.probability[0, c.info.positive])
