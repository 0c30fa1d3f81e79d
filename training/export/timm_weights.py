"""Plain timm weights: one safetensors file that `timm.create_model(..., checkpoint_path=FILE)` loads without this package."""

import json
from pathlib import Path

from safetensors.torch import save_file

from datasets.files import write_aside
from models.classifier import timm_arguments
from models.plain import plain_timm, require_timm
from training.export.facts import facts
from training.run.checkpoint import Checkpoint


def export_timm(checkpoint: Checkpoint, run: str, file: Path, backbone: bool = False) -> str:
    """Write the file and return the line of Python that loads it from here; the file's header has one for its own folder.

    Args:
        checkpoint: of the run.
        run: name of its folder.
        file: to write.
        backbone: without the last layer: the model gives features, before any centring and scaling to unit length.

    Raises:
        ModelError: timm's model of this name can't give these logits.
    """
    model = checkpoint.build()
    if backbone:
        require_timm(model)
    network = model.backbone if backbone else plain_timm(model)
    classes = 0 if backbone else checkpoint.model.num_classes
    given = {"num_classes": classes, **timm_arguments(checkpoint.model)}
    told = ", ".join([repr(checkpoint.model.name), *(f"{name}={value!r}" for name, value in given.items())])
    lines = [f"timm.create_model({told}, checkpoint_path={place!r})" for place in (str(file), file.name)]
    unread = ("temperature", "threshold", "score") if backbone else ()  # there are no logits to read
    values = {name: value for name, value in facts(checkpoint, run).items() if name not in unread}
    header = {name: json.dumps(value) for name, value in values.items()} | {"load": lines[1]}
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_aside(file, lambda place: save_file(weights, place, metadata=header))
    return lines[0]
