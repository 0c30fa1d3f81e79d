import math

import pytest
import timm
import torch
from torch import nn

from models.simple_convnet import SimpleConvNet


def test_layers_of_the_paper() -> None:
    layers = list(SimpleConvNet().body)
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 3 + [nn.Conv2d, nn.BatchNorm2d, nn.Tanh]
    assert [type(layer) for layer in layers] == kinds
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(3, 16), (16, 32), (32, 64), (64, 128)]
    assert all((c.kernel_size, c.stride, c.padding) == ((7, 7), (1, 1), (3, 3)) for c in convolutions)
    assert [layer.num_features for layer in layers if isinstance(layer, nn.BatchNorm2d)] == [16, 32, 64, 128]


@pytest.mark.parametrize("size", [28, 14, 33])
def test_features_are_the_mean_over_the_image(size: int) -> None:
    torch.manual_seed(0)
    net = SimpleConvNet().eval()
    image = torch.rand(2, 3, size, size)
    features = net(image)
    assert features.shape == (2, 128)
    torch.testing.assert_close(features, net.body(image).flatten(2).mean(2))
    assert features.abs().max() < 1
    assert (features < 0).any() and (features > 0).any()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [0, 10])
def test_registered_with_timm(channels: int, classes: int) -> None:
    assert timm.is_model("simple_convnet")
    net = timm.create_model("simple_convnet", in_chans=channels, num_classes=classes)
    assert isinstance(net, SimpleConvNet)
    assert net.num_features == net.head_hidden_size == 128
    assert net(torch.rand(2, channels, 28, 28)).shape == (2, classes or 128)


def test_no_pretrained_weights() -> None:
    with pytest.raises(ValueError, match="no pretrained weights"):
        timm.create_model("simple_convnet", pretrained=True)


def test_kaiming_fan_out() -> None:
    torch.manual_seed(0)
    convolutions = [layer for layer in SimpleConvNet().body if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        weight = layer.weight.detach()
        expected = math.sqrt(2 / (layer.out_channels * 7 * 7))
        count = weight.numel()
        assert float(weight.mean()) == pytest.approx(0, abs=4 * expected / math.sqrt(count))
        assert float(weight.std()) == pytest.approx(expected, rel=4 / math.sqrt(2 * count))
        # normal, not uniform: a uniform one of this deviation ends at 1.73 of it
        assert float(weight.abs().max()) > 2.5 * expected


def test_number_of_parameters() -> None:
    weights = sum(49 * i * o + o + 2 * o for i, o in ((3, 16), (16, 32), (32, 64), (64, 128)))
    assert sum(p.numel() for p in SimpleConvNet().parameters()) == weights == 529_920
