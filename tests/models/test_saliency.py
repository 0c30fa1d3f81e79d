import pytest
import torch
from torch import Tensor, nn

from models.classifier import Classifier, ModelConfig, ModelError
from models.saliency import _on_grid, grad_cam


class Quadrant(nn.Module):
    """Twice smaller, then blind outside of the top left quarter: a map that can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.shrink = nn.AvgPool2d(2)
        self.window = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.window.weight)
        self.blind = nn.Hardtanh(0, 100)

    def forward(self, image: Tensor) -> Tensor:
        small = self.shrink(image)
        seen = torch.zeros_like(small)
        seen[..., : small.shape[-2] // 2, : small.shape[-1] // 2] = 1
        return self.blind(self.window(small) * seen).mean((-2, -1))


@pytest.fixture
def quadrant() -> Classifier:
    """Class 1 is the brightness of the top left quarter, class 0 is nothing."""
    model = Classifier(ModelConfig("simple_convnet", 2, 1, 16)).eval()
    model.backbone, model.head = Quadrant(), nn.Linear(1, 2, bias=False)
    model.head.weight.data = torch.tensor([[0.0], [1.0]])
    return model


def classifier(name: str, size: int, channels: int = 1, classes: int = 2) -> Classifier:
    torch.manual_seed(0)
    return Classifier(ModelConfig(name, classes, channels, size)).eval()


def test_the_map_lies_where_the_class_comes_from(quadrant: Classifier) -> None:
    images = torch.ones(2, 1, 16, 16)
    images[1] *= 3  # more evidence, and still a peak of 1: the scale is the film's own
    maps = grad_cam(quadrant, images, 1)
    assert maps.shape == (2, 1, 16, 16)
    torch.testing.assert_close(maps[:, :, :7, :7], torch.ones(2, 1, 7, 7))
    assert not maps[:, :, 9:].any() and not maps[:, :, :, 9:].any()
    assert 0 < maps[0, 0, 0, 8] < 1  # interpolated over the edge


def test_no_evidence_is_a_map_of_zeros(quadrant: Classifier) -> None:
    images = torch.ones(1, 1, 16, 16)
    for maps in (grad_cam(quadrant, images, 0), grad_cam(quadrant, 0 * images, 1)):
        torch.testing.assert_close(maps, torch.zeros_like(maps))


def test_a_place_that_lowers_the_other_class_is_evidence(quadrant: Classifier) -> None:
    quadrant.head.weight.data = torch.tensor([[-1.0], [0.0]])  # class 1's own logit doesn't move
    assert grad_cam(quadrant, torch.ones(1, 1, 16, 16), 1)[0, 0, 0, 0] == 1
    quadrant.head = nn.Linear(1, 2, bias=False)
    quadrant.head.weight.data = torch.tensor([[1.0], [1.0]])  # both rise alike: the score stays
    torch.testing.assert_close(grad_cam(quadrant, torch.ones(1, 1, 16, 16), 1), torch.zeros(1, 1, 16, 16))


@pytest.mark.trains
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("test_resnet", 64),
        ("mobilenetv3_small_050", 64),
        ("simple_convnet", 28),
        ("convnext_atto", 64),
        ("vit_tiny_patch16_224", 64),
        ("test_vit", 64),
        ("swin_tiny_patch4_window7_224", 224),  # rows x columns x channels
        ("deit3_small_patch16_224", 32),
        ("resnet50", 32),  # ends as one cell: the map before it is meant, not a layer inside of the last block
    ],
)
def test_maps_of_common_backbones(name: str, size: int) -> None:
    model = classifier(name, size, channels=3, classes=3)
    images = torch.randn(2, 3, size, size)
    maps = torch.stack([grad_cam(model, images, target) for target in range(3)])
    assert maps.shape == (3, 2, 1, size, size)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all() and maps.min() >= 0 and maps.max() == 1
    # Log-odds of three classes can't all fall with the same feature map everywhere.
    assert (maps.amax(dim=(0, 2, 3, 4)) == 1).all()
    varied = maps[maps.amax((2, 3, 4)) == 1]
    assert (varied.flatten(1).std(1) > 1e-3).all()


@pytest.mark.trains
@pytest.mark.parametrize(
    ("name", "size", "layers"),
    [
        ("test_resnet", 64, (2, 4)),
        ("tf_efficientnet_lite0", 64, (3, "output")),
        ("test_vit", 64, (3, 5)),
        ("swin_tiny_patch4_window7_224", 224, (2, 3)),
    ],
)
def test_features_of_several_layers_are_explained_at_the_first(
    name: str, size: int, layers: tuple[int | str, ...]
) -> None:
    torch.manual_seed(0)
    model = Classifier(ModelConfig(name, 3, 3, size, layers=layers)).eval()
    width = model.backbone.feature_info[layers[0]]["num_chs"]  # type: ignore[index]
    with torch.no_grad():
        model.head.weight[:, width:] = 0  # nothing of the later layers counts
    images = torch.randn(2, 3, size, size)
    maps = torch.stack([grad_cam(model, images, target) for target in range(3)])
    assert maps.shape == (3, 2, 1, size, size) and maps.isfinite().all()
    assert (maps.amax(dim=(0, 2, 3, 4)) == 1).all(), "a map of a later layer would be empty"


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (2, 8)])
def test_tokens_lie_row_by_row_behind_the_class_token(rows: int, columns: int) -> None:
    model = classifier("vit_tiny_patch16_224", 64)
    seen: list[Tensor] = []
    probe = nn.Identity()
    probe.register_forward_hook(lambda module, given, output: seen.append(output))
    tokens = torch.arange(17.0)[None, :, None].expand(1, 17, 5)
    after = _on_grid(tokens, (16 * rows, 16 * columns), model, probe)
    torch.testing.assert_close(seen[0], torch.arange(1.0, 17).view(1, 1, rows, columns).expand(1, 5, -1, -1))
    torch.testing.assert_close(after, tokens)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_nothing_is_left_behind(name: str) -> None:
    model = classifier(name, 64)
    model.train()
    model.backbone.eval()  # a frozen backbone: one mode for all would forget it
    frozen = next(model.parameters()).requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    modes = [module.training for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        before = grad_cam(model, images.clone(), 1)
    assert [module.training for module in model.modules()] == modes
    assert not frozen.requires_grad and model.head.weight.requires_grad
    assert torch.equal(model.head.weight.grad, torch.ones_like(model.head.weight))
    assert all(p.grad is None for p in model.parameters() if p is not model.head.weight)
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, state[key])
    torch.testing.assert_close(grad_cam(model, images, 1), before)


def test_maps_of_a_batch_are_those_of_its_films() -> None:
    model = classifier("test_resnet", 64)
    images = torch.rand(3, 1, 64, 64)
    alone = torch.cat([grad_cam(model, image[None], 1) for image in images])
    torch.testing.assert_close(grad_cam(model, images, 1), alone, atol=1e-4, rtol=1e-4)


def test_what_cant_be_drawn_is_said() -> None:
    model = classifier("test_resnet", 64)
    with pytest.raises(ModelError, match="class 2 of a model with 2"):
        grad_cam(model, torch.rand(1, 1, 64, 64), 2)
    with pytest.raises(ModelError, match="to draw"):
        grad_cam(classifier("xcit_nano_12_p16_224", 224), torch.rand(1, 1, 224, 224), 1)
    assert not any(m._forward_hooks for m in model.modules())
