"""A trained model as one safetensors file: its JSON header holds all that is needed to use it, and nothing executable.

Files are written beside their place and moved there, so that a reader sees the old file or the new one, never half of one.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from datasets.files import write_aside
from datasets.film.preprocessing import Preprocessing
from datasets.sample import Attribute, DatasetInfo
from models.classifier import Classifier, ModelConfig, ModelError
from training.run.checkpoint_header import FORMAT, FORMAT_VERSION, CheckpointError, checkpoint_file, read_header

NUMBERS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64)  # int64: batches that were counted


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
        file: that it was read from, for messages.
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
    file: Path | None = field(default=None, compare=False)

    @property
    def calibration(self) -> Calibration:
        """Temperature and threshold."""
        return Calibration(self.temperature, self.threshold)

    def build(self) -> Classifier:
        """The classifier with its weights, in evaluation mode, once it gave finite logits for a ramp of greys.

        Raises:
            CheckpointError: no such backbone, weights of another one, or logits that are NaN.
        """
        where = self.file or "the checkpoint"
        try:
            model = Classifier(self.model)
        except ModelError as error:
            raise CheckpointError(f"{where} has a model that can't be built: {error}") from None
        needed = model.state_dict()
        for name in sorted({*needed, *self.weights}):
            found, right = (tuple(of[name].shape) if name in of else None for of in (self.weights, needed))
            if found != right:
                states = [f"of shape {shape}" if shape is not None else "missing" for shape in (found, right)]
                wanted = f"it must be {states[1]}" if right is not None else "it must not be there"
                raise CheckpointError(
                    f"{where}: the weights do not fit {self.model.name}: {name} is {states[0]}; {wanted}"
                )
        model.load_state_dict(self.weights)
        model.eval()
        channels, size = self.model.in_chans, self.preprocessing.size
        try:
            with torch.inference_mode():
                logits = model(torch.linspace(-2, 2, channels * size * size).view(1, channels, size, size)).logits
        except (RuntimeError, ValueError, AssertionError) as error:
            detail = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(
                f"{where}: {self.model.name} can't take films of preprocessing.size {size}: {detail}"
            ) from None
        if not torch.isfinite(logits).all():
            raise CheckpointError(f"{where}: its weights give scores that are no numbers (NaN); train or copy it again")
        return model


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the checkpoint to `path`, whole or not at all."""
    header = {name: value for name, value in vars(checkpoint).items() if name not in ("weights", "file")}
    text = json.dumps(header, allow_nan=False, default=dataclasses.asdict)  # parts of it are dataclasses
    metadata = {"format": FORMAT, "version": str(FORMAT_VERSION), "header": text}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.weights.items()}
    write_aside(path, lambda file: save_file(weights, file, metadata=metadata))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint from its file or its run folder; nothing in it is executed.

    A file that is no whole checkpoint of this format and version, or whose header or weights no training could have
    written, raises CheckpointError.
    """
    header, file = read_header(path), checkpoint_file(path)
    try:
        with safe_open(file, framework="pt") as opened:
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} can't be read whole: {error}") from None
    _require_numbers(weights, file)
    info = header["info"]
    named = tuple(Attribute(a["name"], tuple(a["values"]), a["weight"]) for a in info.get("named", ()))
    names = {"targets": tuple(info["targets"]), "biases": tuple(info["biases"]), "named": named}
    try:
        return Checkpoint(
            model=ModelConfig(**header["model"]),
            preprocessing=Preprocessing.from_json(header["preprocessing"]),
            info=DatasetInfo(**{**info, **names}),
            weights=weights,
            file=file,
            **{name: header[name] for name in ("threshold", "temperature", "settings", "metrics", "versions")},
        )
    except ValueError as error:
        raise CheckpointError(f"{file} has a broken header: {error}") from None


def _require_numbers(weights: dict[str, Tensor], file: Path) -> None:
    """Refuse weights that are NaN or infinite, variances below 0, and number types that no training writes."""
    for name, tensor in weights.items():
        if tensor.dtype not in NUMBERS:
            raise CheckpointError(
                f"{file}: {name} has numbers of type {tensor.dtype}; it must have {', '.join(map(str, NUMBERS))}"
            )
        wrong = int((~torch.isfinite(tensor)).sum())
        if wrong:
            raise CheckpointError(
                f"{file}: {wrong} of the {tensor.numel()} numbers of {name} are NaN or infinite; all must be finite: "
                "train or copy it again"
            )
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise CheckpointError(
                f"{file}: {name} has variances below 0; all must be 0 or more: train or copy it again"
            )
