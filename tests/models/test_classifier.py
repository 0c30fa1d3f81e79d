import dataclasses
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models import classifier
from models.classifier import (
    Classifier,
    ModelConfig,
    ModelError,
    build_classifier,
    feature_width,
    normalisation,
    usual_layers,
)
from tests.planted import Planted

# A CNN, one whose pooled width is not `num_features`, a transformer of fixed input size, and our own.
BACKBONES = {"resnet10t": 512, "mobilenetv3_small_050": 1024, "test_vit": 64, "simple_convnet": 128}
SMALL = "test_resnet"


def config(name: str = SMALL, **options: Any) -> ModelConfig:
    return ModelConfig(name, **{"num_classes": 2, "img_size": 64, **options})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as timm publishes them, head of 1,000 classes and all."""
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    torch.manual_seed(5)
    save_file(timm.create_model(SMALL, pretrained=False).state_dict(), path)
    return path


def complaint(**options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        build_classifier(config(), **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", BACKBONES)
def test_features_and_logits_in_one_pass(name: str, channels: int) -> None:
    model = Classifier(config(name, in_chans=channels, num_classes=3)).eval()
    passes: list[Tensor] = []
    model.backbone.register_forward_hook(lambda module, given, result: passes.append(result))
    output = model(torch.rand(2, channels, 64, 64))
    assert len(passes) == 1
    assert feature_width(model.backbone) == BACKBONES[name]
    assert output.features.shape == (2, BACKBONES[name])
    assert output.logits.shape == (2, 3)
    torch.testing.assert_close(output.features, passes[0])
    torch.testing.assert_close(output.logits, model.head(output.features))


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3_small_050", "test_vit", "test_convnext"])
def test_features_of_several_layers_side_by_side(name: str) -> None:
    torch.manual_seed(0)
    model = Classifier(config(name, in_chans=1, layers=(1, 3, "output"))).eval()
    image = torch.rand(2, 1, 64, 64)
    maps = model.backbone.forward_intermediates(image, intermediates_only=True)
    expected = torch.cat([maps[1].mean((2, 3)), maps[3].mean((2, 3)), model.backbone(image)], dim=1)
    output = model(image)
    torch.testing.assert_close(output.features, expected)
    torch.testing.assert_close(output.logits, model.head(expected))
    inner = Classifier(config(name, in_chans=1, layers=(1, 3))).eval()
    inner.backbone.load_state_dict(model.backbone.state_dict())
    torch.testing.assert_close(inner(image).features, expected[:, : inner.head.in_features])


def test_which_layers_are_read_unless_told() -> None:
    found = {name: usual_layers(config(name)) for name in ("test_resnet", "test_vit", "simple_convnet")}
    assert found == {"test_resnet": (3, 4), "test_vit": (3, 5), "simple_convnet": ()}


@pytest.mark.parametrize(
    ("name", "layers", "said"),
    [
        ("test_resnet", (3, 7), "layers 3,7: timm's test_resnet can't give them"),
        ("simple_convnet", (1,), "layers 1: simple_convnet gives its last features alone"),
    ],
)
def test_layers_that_are_not_there(name: str, layers: tuple[int, ...], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        Classifier(config(name, layers=layers))


@pytest.mark.parametrize("unit_norm", [False, True])
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_unit_norm_and_logit_scale(unit_norm: bool, scale: float) -> None:
    torch.manual_seed(0)
    model = Classifier(config(unit_norm=unit_norm, logit_scale=scale)).eval()
    image = torch.rand(3, 3, 64, 64)
    output = model(image)
    bare = model.backbone(image)
    lengths = output.features.norm(dim=1)
    if unit_norm:
        torch.testing.assert_close(lengths, torch.ones(3))
        torch.testing.assert_close(output.features * bare.norm(dim=1, keepdim=True), bare)
    else:
        assert not torch.allclose(lengths, torch.ones(3), atol=0.05)
    torch.testing.assert_close(output.logits, scale * model.head(output.features))


def test_centred_features_have_negative_cosines_and_keep_their_statistics_for_evaluation() -> None:
    torch.manual_seed(0)
    model, image = Classifier(config(centred=True, unit_norm=True)), torch.rand(16, 3, 64, 64)
    plain = nn.functional.normalize(model.backbone(image), dim=1)
    features = model(image).features
    assert (plain @ plain.T).min() > 0 > (features @ features.T).min()
    with torch.no_grad():
        for _ in range(60):
            model(image)
    assert (model.eval()(image).features * features).sum(1).min() > 0.9
    assert not list(model.neck.parameters())


def test_unit_norm_of_dead_features_is_finite() -> None:
    model = Classifier(config(unit_norm=True))
    model.backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, model.head.in_features))
    nn.init.zeros_(model.backbone[1].weight)
    nn.init.zeros_(model.backbone[1].bias)
    output = model(torch.rand(2, 3, 2, 2))
    output.logits.sum().backward()
    assert output.features.abs().max() == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_loss_on_the_features_moves_the_backbone() -> None:
    model = Classifier(config(unit_norm=True))
    model(torch.rand(4, 3, 64, 64)).features[:, 0].sum().backward()
    assert all(p.grad is not None for p in model.backbone.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.backbone.parameters())


@pytest.mark.parametrize(
    ("name", "near"), [("resnet10", "resnet10t"), ("ResNet18", "resnet18"), ("simple_convnets", "simple_convnet")]
)
def test_unknown_model_suggests_near_names(name: str, near: str) -> None:
    with pytest.raises(ModelError, match=f"no model '{name}'; did you mean .*{near}"):
        Classifier(config(name))


def test_unknown_model_like_no_other() -> None:
    with pytest.raises(ModelError, match=r"no model '###'$"):
        Classifier(config("###"))


@pytest.mark.parametrize("name", ["test_vit", "twins_pcpvt_small"])
def test_size_that_no_patch_fits(name: str) -> None:
    with torch.device("meta"), pytest.raises(ModelError, match=f"--img-size 65.*{name}"):
        Classifier(config(name, img_size=65))


@pytest.mark.parametrize(
    ("name", "size"), [("test_resnet", 65), ("vit_tiny_patch16_224", 64), ("xcit_nano_12_p8_224", 64)]
)
def test_size_that_is_no_trouble(name: str, size: int) -> None:
    model = Classifier(config(name, img_size=size)).eval()
    assert model(torch.rand(1, 3, size, size)).logits.shape == (1, 2)


def test_config_through_json() -> None:
    first = config(unit_norm=True, logit_scale=10.0, in_chans=1)
    assert ModelConfig(**json.loads(json.dumps(dataclasses.asdict(first)))) == first


KEYWORDS = (("drop_path_rate", 0.1), ("channels", (16, 16, 24, 32)), ("act_layer", "gelu"))


def test_keywords_reach_the_backbone_and_rebuild_the_same_model() -> None:
    first = config(keywords=KEYWORDS)
    again = ModelConfig(**json.loads(json.dumps(dataclasses.asdict(first))))
    assert again == first and hash(again) == hash(first)
    assert dict(again.keywords) == dict(KEYWORDS)
    model, twin = Classifier(first), Classifier(again)
    assert feature_width(model.backbone) == 32
    assert any("GELU" in type(module).__name__ for module in model.modules())
    assert model.training and all(module.training for module in model.modules())
    twin.load_state_dict(model.state_dict())
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(twin.eval()(image).logits, model.eval()(image).logits)


def test_checkpoints_from_before_keywords_still_load() -> None:
    old = {name: value for name, value in dataclasses.asdict(config()).items() if name != "keywords"}
    assert ModelConfig(**old) == config()


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3_small_050", "test_vit", "simple_convnet"])
def test_keyword_that_the_backbone_does_not_have(name: str) -> None:
    with pytest.raises(ModelError, match=f"--model-kwargs: timm's {name} has no keyword argument wings"):
        Classifier(config(name, keywords=(("wings", 2),)))


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ((("act_layer", "gelo"),), "act_layer=gelo: .* can't be built so: .*gelo"),
        ((("drop_rate", 3),), "drop_rate=3: .* between 0 and 1"),
        ((("global_pool", ""),), r"global_pool=: .* shape \(96, 2, 2\) where 96 pooled ones are needed"),
    ],
)
def test_keywords_that_make_no_classifier(keywords: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ModelError, match=f"--model-kwargs {said}") as caught:
        Classifier(config(keywords=keywords))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "keywords", [{"checkpoint_path": "x.pt"}, {"pretrained": True}, [["num_classes", 9]], 3, [[1, 2]]]
)
def test_header_with_keywords_that_nobody_may_choose(keywords: object) -> None:
    with pytest.raises(ValueError, match=r"can't be given here|expected names|is no name"):
        ModelConfig(**{**dataclasses.asdict(config()), "keywords": keywords})


def test_same_seed_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_classifier(config()).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_local_weights_reach_the_backbone(saved: Path) -> None:
    model = build_classifier(config(), weights=saved)
    held = load_file(saved)
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, held[key]), key


def test_local_weights_without_their_head(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "headless.safetensors"
    save_file({key: value for key, value in load_file(saved).items() if not key.startswith("fc.")}, path)
    model = build_classifier(config(), weights=path)
    assert torch.equal(model.backbone.state_dict()["conv1.0.weight"], load_file(saved)["conv1.0.weight"])


def test_local_weights_for_one_channel_are_summed_over_colours(saved: Path) -> None:
    model = build_classifier(config(in_chans=1), weights=saved)
    held = load_file(saved)["conv1.0.weight"]
    torch.testing.assert_close(model.backbone.state_dict()["conv1.0.weight"], held.sum(1, keepdim=True))


def test_local_weights_of_another_image_size(tmp_path: Path) -> None:
    path = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), path)
    model = build_classifier(config("test_vit", img_size=64), weights=path).eval()
    assert torch.equal(model.backbone.state_dict()["norm.weight"], load_file(path)["norm.weight"])
    assert model(torch.rand(1, 3, 64, 64)).logits.isfinite().all()


def test_weights_leave_the_head_and_later_random_numbers_alone(saved: Path) -> None:
    """So that a run with weights and one without differ in the backbone alone."""
    results = []
    for weights in (None, saved):
        torch.manual_seed(3)
        results.append((build_classifier(config(), weights=weights).head.weight.detach(), torch.get_rng_state()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_weights_of_another_model(tmp_path: Path) -> None:
    path = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), path)
    message = complaint(weights=path)
    assert f"--weights {path}" in message
    assert "timm's test_resnet" in message


@pytest.mark.parametrize("change", ["renamed", "one lacks", "shape", "empty"])
def test_weights_that_do_not_fit(saved: Path, tmp_path: Path, change: str) -> None:
    held, path = load_file(saved), tmp_path / "other.safetensors"
    if change == "renamed":
        held = {f"backbone.{key}": value for key, value in held.items()}
    elif change == "one lacks":
        del held["layer2.0.conv1.weight"]
    elif change == "shape":
        held["layer2.0.conv1.weight"] = torch.zeros(3, 3, 1, 1)
    else:
        held = {}
    save_file(held, path)
    message = complaint(weights=path)
    assert f"--weights {path}" in message and SMALL in message
    assert ("layer2.0.conv1.weight" in message) == (change in ("one lacks", "shape"))


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", b"\xff" * 64])
def test_file_that_is_no_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    said = complaint(weights=path)
    assert f"--weights {path} is not a safetensors file (" in said and "no Git LFS pointer?" in said


@pytest.mark.parametrize("name", ["model.pth", "model.pt", "model.bin", "model.safetensors"])
def test_nothing_is_unpickled(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Planted(tmp_path / "sprung")))
    message = complaint(weights=tmp_path / name)
    assert ("give an existing .safetensors file" in message) == (not name.endswith(".safetensors"))
    assert not (tmp_path / "sprung").exists()


def test_missing_weights_file(tmp_path: Path) -> None:
    message = complaint(weights=tmp_path / "none.safetensors")
    assert f"--weights {tmp_path / 'none.safetensors'}: give an existing .safetensors file" in message


@pytest.mark.parametrize("error", [OSError("[Errno -3] Temporary failure\nin name resolution"), RuntimeError("")])
def test_pretrained_without_a_network_says_what_to_pass(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s")
            raise error
        model: nn.Module = create(name, **options)
        return model

    monkeypatch.setattr(classifier.timm, "create_model", offline)
    message = complaint(pretrained=True)
    assert "https://huggingface.co/timm/test_resnet" in message
    assert "--weights FILE.safetensors" in message
    assert type(error).__name__ in message and not caplog.records


def test_pretrained_of_a_model_without_weights() -> None:
    """No network can help: the message must not send anyone to look for a file that isn't there."""
    with pytest.raises(ModelError, match="timm has no weights of simple_convnet") as caught:
        build_classifier(config("simple_convnet"), pretrained=True)
    assert "network" not in str(caught.value)


@pytest.mark.parametrize("name", ["test_resnet", "tf_efficientnet_lite0", "simple_convnet"])
def test_normalisation_has_a_value_per_colour(name: str) -> None:
    mean, std = normalisation(name)
    expected = timm.get_pretrained_cfg(name, allow_unregistered=True)
    assert (mean, std) == ((expected.mean, expected.std) if expected else ((0.5,) * 3, (0.5,) * 3))
    assert len(mean) == len(std) == 3
