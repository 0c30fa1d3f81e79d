"""A trained model as one safetensors file: its JSON header holds all that is needed to use it, and nothing executable.

Files are written beside their place and moved there, so that a reader sees the old file or the new one, never half of one.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from datasets.files import write_aside
from datasets.film.preprocessing import Preprocessing
from datasets.sample import DatasetInfo
from models.classifier import Classifier, ModelConfig
from training.run.checkpoint_header import FORMAT, FORMAT_VERSION, CheckpointError, checkpoint_file, read_header


class Calibration(NamedTuple):
    """How the logits of a model become a score and a prediction.

    Attributes:
        temperature: the logits are divided by it before softmax.
        threshold: score of the positive class from which a film counts as positive; None: the most probable class.
    """

    temperature: float = 1.0
    threshold: float | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A trained classifier, its preprocessing and calibration, and the run that it comes from.

    Attributes:
        threshold, temperature: see `Calibration`; the threshold is None where no class is positive.
        settings: as in config.yaml, without local paths.
        metrics: by split, then by name; None where undefined.
    """

    model: ModelConfig
    preprocessing: Preprocessing
    info: DatasetInfo
    threshold: float | None
    temperature: float
    settings: dict[str, Any]
    metrics: dict[str, Any]
    versions: dict[str, str]
    weights: dict[str, Tensor]

    @property
    def calibration(self) -> Calibration:
        """Temperature and threshold."""
        return Calibration(self.temperature, self.threshold)

    def build(self) -> Classifier:
        """The classifier with its weights, in evaluation mode."""
        model = Classifier(self.model)
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            detail = str(error).strip().splitlines()[-1].strip()
            raise CheckpointError(f"the weights do not fit {self.model.name}: {detail}") from None
        return model.eval()


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the checkpoint to `path`, whole or not at all."""
    header = {name: value for name, value in vars(checkpoint).items() if name != "weights"}
    text = json.dumps(header, allow_nan=False, default=dataclasses.asdict)  # parts of it are dataclasses
    metadata = {"format": FORMAT, "version": str(FORMAT_VERSION), "header": text}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.weights.items()}
    write_aside(path, lambda file: save_file(weights, file, metadata=metadata))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint from its file or its run folder; nothing in it is executed.

    A file that is no whole checkpoint of this format and version raises CheckpointError.
    """
    header, file = read_header(path), checkpoint_file(path)
    try:
        with safe_open(file, framework="pt") as opened:
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} can't be read whole: {error}") from None
    try:
        info = header["info"]
        return Checkpoint(
            model=ModelConfig(**header["model"]),
            preprocessing=Preprocessing.from_json(header["preprocessing"]),
            info=DatasetInfo(**{**info, "targets": tuple(info["targets"]), "biases": tuple(info["biases"])}),
            weights=weights,
            **{name: header[name] for name in ("threshold", "temperature", "settings", "metrics", "versions")},
        )
    except (KeyError, TypeError, ValueError) as error:
        detail = f"entry {error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{file} has a broken header: {detail}") from None
