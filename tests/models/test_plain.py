import itertools
from typing import Any

import pytest
import timm
import torch
from torch import nn

from models.classifier import Classifier, ModelConfig, ModelError
from models.plain import difference, folded_head, layers, plain_timm

# A CNN, one with another layer between pooling and head, a transformer of fixed input size.
BACKBONES = ("test_resnet", "mobilenetv3_small_050", "test_vit")
NECKS = [{"unit_norm": unit, "centred": centred} for unit, centred in itertools.product((False, True), repeat=2)]


def trained(name: str = "test_resnet", **options: Any) -> Classifier:
    torch.manual_seed(0)
    model = Classifier(ModelConfig(name, 3, 1, 64, logit_scale=10.0, **options))
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(6, 1, 64, 64) + 0.5)
    return model.eval()


@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.parametrize("name", BACKBONES)
def test_layers_of_torch_give_the_same_logits(name: str, neck: dict[str, bool]) -> None:
    model, image = trained(name, **neck), torch.randn(3, 1, 64, 64)
    found = nn.Sequential(*layers(model))(image)
    torch.testing.assert_close(found, model(image).logits, rtol=1e-5, atol=1e-5)
    assert all(type(layer).__module__.startswith(("timm.", "torch.")) for layer in layers(model))


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("name", BACKBONES)
def test_plain_timm_gives_the_same_logits(name: str, centred: bool) -> None:
    model, image = trained(name, centred=centred), torch.randn(3, 1, 64, 64)
    plain = plain_timm(model)
    assert type(plain) is type(model.backbone)
    torch.testing.assert_close(plain(image), model(image).logits, rtol=1e-5, atol=1e-5)


def test_dead_features_are_no_trouble() -> None:
    model = trained(unit_norm=True)
    norm, head = layers(model)[1:]
    with torch.inference_mode():
        found = head(norm(torch.zeros(2, model.head.in_features)))
    torch.testing.assert_close(found, model.head.bias.expand(2, 3) * 10)


def test_keywords_go_along() -> None:
    model = trained(keywords=(("channels", (16, 16, 24, 32)),))
    assert difference(plain_timm(model), model) < 1e-5
    assert folded_head(model).in_features == 32


def test_weights_that_are_no_numbers() -> None:
    model = trained()
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="test_resnet gives logits that are no finite numbers"):
        plain_timm(model)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("test_resnet", {"unit_norm": True}, "test_resnet was trained on features of unit length.*--backbone"),
        ("simple_convnet", {}, "simple_convnet is this package's own network"),
        ("levit_128s", {}, "last layer of timm's levit_128s is not one linear layer"),
        ("test_resnet", {"layers": (3, 4)}, r"test_resnet reads several layers \(3, 4\).*export ONNX.*--backbone"),
    ],
)
def test_what_timm_can_not_be(name: str, options: dict[str, Any], said: str) -> None:
    model = Classifier(ModelConfig(name, 3, 3, 224, **options)).eval()
    with pytest.raises(ModelError, match=said):
        plain_timm(model)


def test_a_model_that_reads_its_last_layer_otherwise_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model, create = trained(), timm.create_model

    def other(*names: Any, **options: Any) -> nn.Module:
        built: nn.Module = create(*names, **options)
        built.get_classifier().register_forward_hook(lambda module, given, result: result + 0.01)
        return built

    monkeypatch.setattr("models.plain.timm.create_model", other)
    with pytest.raises(ModelError, match="logits would be others"):
        plain_timm(model)
