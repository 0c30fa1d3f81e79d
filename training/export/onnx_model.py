"""An ONNX model: input `image` (batch x channels x size x size, normalised), outputs `features` and `logits`, any batch.

The header of the checkpoint is in `metadata_props`, a JSON value each. What torch's exporter notes of each node is removed:
it names source files of this machine.
"""

import json
import logging
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from datasets.files import write_aside
from models.classifier import Classifier
from training.export.facts import ExportError, facts, require_close
from training.run.checkpoint import Checkpoint

TOLERANCE = 1e-4  # on features and logits


def export_onnx(checkpoint: Checkpoint, run: str, file: Path) -> float:
    """Write the file, and return the largest difference between its outputs and the classifier's on random images.

    Raises:
        ExportError: torch can't trace the backbone, or the outputs of the ONNX model differ.
    """
    model = checkpoint.build()
    traced = _traced(model, {name: json.dumps(value) for name, value in facts(checkpoint, run).items()})
    largest = parity(model, traced.SerializeToString())
    require_close(largest, TOLERANCE, f"the ONNX model of {checkpoint.model.name}")
    write_aside(file, lambda place: onnx.save(traced, place))
    return largest


def _traced(model: Classifier, props: dict[str, str]) -> onnx.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's exporter, about itself
            program = torch.onnx.export(
                model, (_images(model, 2),), dynamo=True, input_names=["image"], output_names=["features", "logits"],
                dynamic_shapes={"image": {0: torch.export.Dim("batch")}}, verbose=False,
            )  # fmt: skip
    except torch.onnx.errors.OnnxExporterError as error:
        detail = str(error).strip().splitlines()[0]
        raise ExportError(f"torch can't write {model.config.name} as ONNX: {detail}") from None
    assert program is not None
    proto = program.model_proto
    del proto.graph.metadata_props[:]
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        _forget_sources(nodes)
    onnx.helper.set_model_props(proto, props)
    onnx.checker.check_model(proto)
    return proto


def _forget_sources(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        del node.metadata_props[:]
        node.ClearField("doc_string")
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                _forget_sources(graph.node)


def parity(model: Classifier, file: Path | bytes) -> float:
    """Largest difference of features and logits between the file and the classifier, for one image and for three."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    differences = []
    for count in (1, 3):
        image = _images(model, count)
        with torch.inference_mode():
            expected = model(image)
        exported = session.run(["features", "logits"], {"image": image.numpy()})
        pairs = zip(exported, expected, strict=True)
        differences += [float(np.abs(ours - original.numpy()).max()) for ours, original in pairs]
    return max(differences)


def _images(model: Classifier, count: int) -> torch.Tensor:
    shape = (count, model.config.in_chans, model.config.img_size, model.config.img_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(count))
