"""The convolutional network of the Biased MNIST experiments, under the name `simple_convnet` in timm, and its bias network.

Four 7x7 convolutions of 16, 32, 64 and 128 channels, each with batch norm, ReLU after the first three and Tanh after the
last, so that cosines of features can be negative; global average pooling. From Bahng et al., ReBias (ICML 2020), with the
Tanh of Tartaglione et al., EnD (CVPR 2021). The unit-norm bottleneck and the last layer are `models.classifier`'s.

`simple_convnet_1x1` is the same with 1x1 convolutions, ReBias's bias network: it sees one pixel at a time, hence colours or
grey levels and no shape.
"""

from itertools import pairwise
from typing import Any

from timm.models import register_model
from torch import Tensor, nn


class SimpleConvNet(nn.Module):
    """Images of any size to 128 features in (-1, 1)."""

    def __init__(self, in_chans: int = 3, num_classes: int = 0, kernel_size: int = 7) -> None:
        super().__init__()
        widths = (in_chans, 16, 32, 64, 128)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(widths), start=1):
            layers += [
                nn.Conv2d(before, after, kernel_size, padding=kernel_size // 2),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True) if number < 4 else nn.Tanh(),
            ]
        self.body = nn.Sequential(*layers)
        self.num_features = self.head_hidden_size = widths[-1]
        self.head = nn.Linear(widths[-1], num_classes) if num_classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        """Pooled features, batch x 128, through the head where there is one."""
        return self.head(self.body(image).mean((-2, -1)))


@register_model
def simple_convnet(pretrained: bool = False, **settings: Any) -> SimpleConvNet:
    """The entry that `timm.create_model` looks up; it has no pretrained weights."""
    return _build(pretrained, settings, kernel_size=7)


@register_model
def simple_convnet_1x1(pretrained: bool = False, **settings: Any) -> SimpleConvNet:
    """The bias network, with a receptive field of one pixel."""
    return _build(pretrained, settings, kernel_size=1)


def _build(pretrained: bool, settings: dict[str, Any], kernel_size: int) -> SimpleConvNet:
    if pretrained:
        raise ValueError("simple_convnet has no pretrained weights")
    of_timm = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    return SimpleConvNet(**{k: v for k, v in settings.items() if k not in of_timm}, kernel_size=kernel_size)
