"""A checkpoint comes back as it was saved, and nothing that is not one is loaded."""

import dataclasses
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from datasets.film.preprocessing import Preprocessing
from datasets.sample import DatasetInfo
from models.classifier import Classifier, ModelConfig
from tests.planted import Planted
from training.run.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.run.checkpoint_header import NAME, CheckpointError


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    config = ModelConfig("test_resnet", 2, in_chans=1, img_size=32, unit_norm=True, logit_scale=10.0)
    return Checkpoint(
        model=config,
        preprocessing=Preprocessing(32, 1, "pad", "none", (0.4,), (0.3,)),
        info=DatasetInfo("covid", ("not covid", "covid"), ("a", "b"), "source", 1, synthetic=False),
        threshold=0.4,
        temperature=1.7,
        settings={"epochs": 3, "alpha": 1.0},
        metrics={"test": {"auroc": None, "n": 3}},
        versions={"torch": "2"},
        weights=Classifier(config).state_dict(),
    )


def test_round_trip(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(checkpoint, tmp_path / NAME)
    again = load_checkpoint(tmp_path)
    for field in dataclasses.fields(Checkpoint):
        if field.name not in ("weights", "file"):
            assert getattr(again, field.name) == getattr(checkpoint, field.name)
    first, second = checkpoint.build(), again.build()
    assert again.file == tmp_path / NAME
    image = torch.randn(3, 1, 32, 32)
    torch.testing.assert_close(first(image).logits, second(image).logits, rtol=0, atol=0)
    assert not second.training
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def broken_header(change: dict[str, Any]) -> Any:
    def corrupt(metadata: dict[str, str]) -> dict[str, str]:
        header = json.loads(metadata["header"])
        for name, value in change.items():
            if value is None:
                del header[name]
            else:
                header[name] = value
        return metadata | {"header": json.dumps(header)}

    return corrupt


@pytest.mark.parametrize(
    ("corrupt", "expected"),
    [
        (lambda m: {}, "was not written by this package"),
        (lambda m: m | {"format": "other"}, "was not written by this package"),
        (lambda m: m | {"version": "99"}, "format version 99; this package reads version 1"),
        (lambda m: {k: v for k, v in m.items() if k != "header"}, "entry 'header' is missing"),
        (lambda m: m | {"header": "{"}, "broken header"),
        (broken_header({"temperature": None}), "entry 'temperature' is missing"),
        (broken_header({"preprocessing": {"size": 3}}), "broken header: entry 'preprocessing.mean' is missing"),
        (broken_header({"model": {"name": "resnet18", "depth": 3}}), '"model.depth" is unknown to this version'),
    ],
)
def test_what_is_not_a_whole_checkpoint_is_refused_in_words(
    checkpoint: Checkpoint, tmp_path: Path, corrupt: Any, expected: str
) -> None:
    save_checkpoint(checkpoint, tmp_path / NAME)
    with safe_open(tmp_path / NAME, "pt") as opened:
        metadata = opened.metadata()
    save_file({"x": torch.zeros(1)}, tmp_path / NAME, metadata=corrupt(metadata))
    with pytest.raises(CheckpointError, match=expected):
        load_checkpoint(tmp_path)


def test_weights_that_do_not_fit_are_refused(checkpoint: Checkpoint) -> None:
    weights = {name: tensor for name, tensor in checkpoint.weights.items() if name != "head.bias"}
    with pytest.raises(CheckpointError, match=r"head\.bias"):
        dataclasses.replace(checkpoint, weights=weights).build()


def changed(name: str, value: float) -> Any:
    def change(weights: dict[str, torch.Tensor]) -> None:
        weights[name] = weights[name].clone()
        weights[name].view(-1)[0] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            changed("head.weight", math.nan),
            r"1 of the \d+ numbers of head.weight are NaN or infinite; all must be finite",
        ),
        (changed("backbone.layer1.0.conv1.weight", math.inf), "of backbone.layer1.0.conv1.weight are NaN or infinite"),
        (changed("backbone.bn1.running_var", -1.0), "backbone.bn1.running_var has variances below 0"),
        (lambda w: w.update({"head.bias": w["head.bias"].to(torch.complex64)}), "numbers of type torch.complex64"),
        (
            lambda w: w.update({"head.bias": torch.zeros(3)}),
            r"head.bias is of shape \(3,\); it must be of shape \(2,\)",
        ),
        (lambda w: w.update({"extra": torch.zeros(3)}), r"extra is of shape \(3,\); it must not be there"),
        (
            lambda w: w.update({"head.weight": w["head.weight"][:1]}),
            "targets has 2 names; it must have 1, as head.weight",
        ),
        (changed("head.bias", 3e38), "scores that are no numbers"),
    ],
)
def test_weights_that_no_training_wrote_are_refused_by_file_and_tensor(
    checkpoint: Checkpoint, tmp_path: Path, change: Any, expected: str
) -> None:
    weights = dict(checkpoint.weights)
    change(weights)
    save_checkpoint(dataclasses.replace(checkpoint, weights=weights), tmp_path / NAME)
    with pytest.raises(CheckpointError, match=expected) as error:
        load_checkpoint(tmp_path).build()
    assert str(tmp_path / NAME) in str(error.value)


def test_a_backbone_that_timm_lacks_is_named_with_the_file(checkpoint: Checkpoint, tmp_path: Path) -> None:
    model = dataclasses.replace(checkpoint.model, name="test_resnett")
    save_checkpoint(dataclasses.replace(checkpoint, model=model), tmp_path / NAME)
    with pytest.raises(
        CheckpointError, match=f"{NAME} has a model .* no model 'test_resnett'; did you mean test_resnet"
    ):
        load_checkpoint(tmp_path).build()


def test_a_planted_pickle_is_never_executed(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    for write in (
        lambda f: f.write_bytes(pickle.dumps(Planted(trace))),
        lambda f: torch.save({"x": Planted(trace)}, f),
    ):
        write(tmp_path / NAME)
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path)
        assert not trace.exists()


def test_missing_files_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="give a run folder"):
        load_checkpoint(tmp_path / "nothing")
