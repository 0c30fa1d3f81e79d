"""A step of a training on two blank films, before any film is decoded: what can't work is refused in the first seconds.

Model, optimiser, method, batches and device are put together as for the training itself. A backbone that no test trains does
its step in a process of its own first, for some bring down the whole process.
"""

import contextlib
import dataclasses
import difflib
import multiprocessing
import sys

import numpy as np
import pandas as pd
import torch
from timm.models import get_pretrained_cfg
from timm.optim import list_optimizers

from datasets.cohort.films import Cohort
from datasets.files import require_writable
from datasets.film.identity import hash_key
from datasets.listed import split_names
from datasets.sample import Attribute, DatasetInfo, Sample, Split
from models.classifier import feature_width
from training.loop.assembly import assemble
from training.loop.joint import backward
from training.parallel.device import TrainingError
from training.parallel.ranks import is_first, ranks
from training.run.biases import parse_biases
from training.run.config import TrainConfig
from training.run.films import preprocessing_of

KNOWN = (  # backbones that tests train
    *("simple_convnet", "resnet10t", "resnet18", "resnet50", "tf_efficientnet_lite0", "test_resnet"),
    *("test_efficientnet", "test_efficientnet_gn", "test_vit", "mobilenetv3_small_050"),
)
PATIENCE = 120.0  # seconds that a step in a process of its own may take


def rehearse(config: TrainConfig) -> None:
    """Look whether --opt can be used, and do one step on two blank films.

    Moves torch's main generator, which `assemble` seeds anew.

    Raises:
        ValueError: something does not go together; the message says what to change.
    """
    require_optimiser(config.opt)
    if config.model not in KNOWN and ranks() == 1:
        _step_elsewhere(config)
    _step(config)


def require_places(config: TrainConfig) -> None:
    """Raise ValueError unless --output can be written to and --hash-key holds a key."""
    if not is_first():
        return
    require_writable(config.output, "--output")
    config.output.mkdir(parents=True, exist_ok=True)
    if config.hash_key is not None:
        try:
            hash_key(config.output, config.hash_key)
        except ValueError as error:
            raise TrainingError(f"--hash-key {config.hash_key}: {error}") from None


def require_optimiser(name: str) -> None:
    """Raise TrainingError, with the names that were perhaps meant, where timm has no such optimiser."""
    known = list_optimizers()
    if name.lower().removeprefix("lookahead_") not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3) or ["adamw", "adam", "sgd"]
        raise TrainingError(f"--opt {name}: timm has no such optimiser; did you mean {', '.join(near)}?")


def blank_cohort(config: TrainConfig) -> Cohort:
    """As many black films as a batch has, of two classes and two biases in turn; all share one film's memory."""
    names = split_names(config.classes) or ("not covid", "covid")
    targets = tuple("0123456789") if config.dataset == "biased-mnist" else names if len(names) > 1 else ("a", "b")
    weights = parse_biases(config.bias) if config.bias != "source" else {}
    named = tuple(Attribute(f"bias {i}", ("a", "b"), weight) for i, weight in enumerate(weights.values()))
    info = DatasetInfo(config.dataset, targets, ("a", "b"), "source", 1, synthetic=True, named=named)
    films = max(config.batch_size, 2 * config.accumulate * ranks())
    group = np.arange(films) % 2
    table = pd.DataFrame(
        {
            "row": np.arange(films),
            "patient": np.arange(films).astype(str),
            "label": np.array(targets)[group],
            "source": np.array(info.biases)[group],
            "split": str(Split.TRAIN),
            "target": group,
            "target_name": np.array(targets)[group],
            "bias": group,
            **{attribute.name: np.array(attribute.values)[group] for attribute in named},
        }
    )
    preprocessing = preprocessing_of(config)
    image = torch.zeros(1, preprocessing.channels, config.img_size, config.img_size, dtype=torch.uint8)
    return Cohort(info, table, preprocessing, images=image, places=torch.zeros(films, dtype=torch.int64))


def _step(config: TrainConfig) -> None:
    training = None
    try:
        training = assemble(dataclasses.replace(config, compile=False, workers=0), blank_cohort(config))
        batch = Sample(*(value.to(training.device) for value in training.cohort.samples().__getitems__([0, 1])))
        with torch.no_grad():
            found = tuple(training.joint.output(batch.image).features.shape)
        width = feature_width(training.joint.classifier.backbone)
        if found != (2, width):
            raise TrainingError(f"it gives features of shape {found[1:]} where {width} pooled ones are needed")
        backward(training.joint, training.joint, batch, training.scaler, 1)
    except Exception as error:
        if training is None and isinstance(error, ValueError | OSError):
            raise
        detail = (str(error).strip() or type(error).__name__).splitlines()[0].strip()
        cfg = get_pretrained_cfg(config.model, allow_unregistered=True)
        own = f" (it was made for {cfg.input_size[-1]})" if cfg is not None else ""
        raise TrainingError(
            f"--model {config.model} can't be trained at --img-size {config.img_size}{own}: {detail}. "
            "Give another size or model"
        ) from None


def _step_elsewhere(config: TrainConfig) -> None:
    """The step in a new process; raises TrainingError where that is brought down."""
    # A forked one starts at once; nothing has been computed yet whose threads it would lack.
    fork = sys.platform == "linux" and not torch.cuda.is_initialized()
    context = multiprocessing.get_context("fork") if fork else multiprocessing.get_context("spawn")
    process = context.Process(target=_quiet_step, args=(config,), daemon=True)
    process.start()
    try:
        process.join(PATIENCE)
        code = process.exitcode
    finally:
        process.kill()
        process.join()
    if code is not None and code < 0:
        without = "--no-channels-last" if config.channels_last else "another --model"
        raise TrainingError(
            f"--model {config.model} brings the program down in its first step at --img-size {config.img_size} "
            f"(signal {-code}): try {without}, or another --img-size"
        )


def _quiet_step(config: TrainConfig) -> None:
    torch.set_num_threads(1)
    with contextlib.suppress(Exception):  # the step in the first process says what is wrong
        _step(config)
