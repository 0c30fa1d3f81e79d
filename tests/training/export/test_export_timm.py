import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open

from models.classifier import ModelError
from tests.small_checkpoint import small_checkpoint
from training.export.timm_weights import export_timm


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"centred": True, "logit_scale": 10.0},
        {"name": "test_vit", "size": 64, "channels": 3},
        {"keywords": (("channels", (16, 16, 24, 32)),)},
    ],
)
def test_the_line_it_gives_loads_it_with_timm_alone(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = small_checkpoint(**options)
    line = export_timm(checkpoint, "a-run", tmp_path / "x.safetensors")
    monkeypatch.chdir(tmp_path)
    model = eval(line, {"timm": timm}).eval()
    size = checkpoint.model.img_size
    image = torch.randn(5, checkpoint.model.in_chans, size, size)
    torch.testing.assert_close(model(image), checkpoint.build()(image).logits, rtol=1e-4, atol=1e-4)
    assert model.num_classes == 2


def test_backbone_alone_of_a_model_that_timm_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = small_checkpoint(unit_norm=True)
    with pytest.raises(ModelError, match="--backbone"):
        export_timm(checkpoint, "a-run", tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())
    line = export_timm(checkpoint, "a-run", tmp_path / "x.safetensors", backbone=True)
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert not {"score", "temperature", "threshold"} & file.metadata().keys()  # they read logits
    monkeypatch.chdir(tmp_path)
    image = torch.randn(2, 1, 32, 32)
    features = torch.nn.functional.normalize(eval(line, {"timm": timm}).eval()(image), dim=1)
    torch.testing.assert_close(features, checkpoint.build()(image).features)


def test_header_says_how_to_read_it(tmp_path: Path) -> None:
    line = export_timm(small_checkpoint(), "a-run", tmp_path / "x.safetensors")
    assert f"checkpoint_path={str(tmp_path / 'x.safetensors')!r}" in line
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        header = file.metadata()
    assert "checkpoint_path='x.safetensors'" in header["load"] and str(tmp_path) not in str(header)
    assert "Not a medical device" in header["notice"] and "SYNTHETIC" in header["notice"]
    assert json.loads(header["classes"]) == ["not covid", "covid"]
    assert json.loads(header["positive_class"]) == "covid"
    assert (json.loads(header["threshold"]), json.loads(header["temperature"])) == (0.4375, 1.75)
    assert json.loads(header["preprocessing"])["mean"] == [0.45]
