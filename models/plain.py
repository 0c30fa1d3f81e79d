"""A classifier without this package: as a model of timm's alone, or as a sequence of timm's backbone and layers of torch's.

What our last layers add is folded into one linear layer: the factor on the logits, the centring of features, and, after
torch's RMSNorm, the factor between its length (the square root of the width) and 1.
"""

import math

import timm
import torch
from torch import Tensor, nn

from models.classifier import Classifier, ModelError, timm_arguments

TOLERANCE = 1e-4  # largest difference that is taken for rounding


def plain_timm(model: Classifier) -> nn.Module:
    """The classifier as `timm.create_model(name, num_classes=n, ...)` builds it, with the same logits.

    Raises:
        ModelError: features of unit length or of several layers, which no model of timm's has; a backbone that isn't timm's;
            or one whose own last layer is not a linear one on the pooled features.
    """
    require_timm(model)
    _require_own_features(model)
    config = model.config
    if config.unit_norm:
        raise ModelError(
            f"{config.name} was trained on features of unit length, and timm's models have no such layer: their logits would "
            "be others. Its backbone alone can be written (--backbone)"
        )
    plain: nn.Module = timm.create_model(config.name, num_classes=config.num_classes, **timm_arguments(config))
    last, head = plain.get_classifier(), folded_head(model)  # type: ignore[operator]
    unlike = f"the last layer of timm's {config.name} is not one linear layer on its pooled features"
    if not isinstance(last, nn.Linear) or last.weight.shape != head.weight.shape:
        raise ModelError(f"{unlike}; its backbone alone can be written (--backbone)")
    plain.load_state_dict(model.backbone.state_dict(), strict=False)
    last.load_state_dict(head.state_dict() if last.bias is not None else {"weight": head.weight})
    if not difference(plain.eval(), model) <= TOLERANCE:  # nor where it is NaN
        raise ModelError(f"{unlike}: its logits would be others. Its backbone alone can be written (--backbone)")
    return plain


def layers(model: Classifier) -> list[nn.Module]:
    """The classifier as the backbone and layers of torch's in sequence.

    Raises:
        ModelError: a backbone that isn't timm's, or features of several layers, which are no sequence.
    """
    require_timm(model)
    _require_own_features(model)
    between: list[nn.Module] = []
    if model.config.unit_norm:
        # Its epsilon is added below the root, to the mean of squares: far below any feature that is not dead.
        norm = nn.RMSNorm(model.head.in_features, eps=1e-24, elementwise_affine=False)
        between = [model.neck, norm] if model.config.centred else [norm]
    return [layer.eval() for layer in (model.backbone, *between, folded_head(model))]


@torch.no_grad()
def folded_head(model: Classifier) -> nn.Linear:
    """The last layer with everything in it that is linear: see the module."""
    weight, bias = (part.double() * model.config.logit_scale for part in (model.head.weight, model.head.bias))
    if model.config.unit_norm:
        weight = weight / math.sqrt(weight.shape[1])
    elif isinstance(model.neck, nn.BatchNorm1d):
        assert model.neck.running_mean is not None and model.neck.running_var is not None
        weight = weight / (model.neck.running_var.double() + model.neck.eps).sqrt()
        bias = bias - weight @ model.neck.running_mean.double()
    head = nn.Linear(weight.shape[1], weight.shape[0])
    head.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return head


@torch.inference_mode()
def difference(network: nn.Module, model: Classifier) -> float:
    """Largest difference between the logits of a network and those of a classifier, on images drawn at random.

    As a share of the largest logit where that is above 1. Raises ModelError where the classifier's logits aren't finite.
    """
    config = model.config
    shape = (4, config.in_chans, config.img_size, config.img_size)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    wanted: Tensor = model.eval()(image).logits
    if not wanted.isfinite().all():
        raise ModelError(f"{config.name} gives logits that are no finite numbers: its weights are broken")
    return float((network.eval()(image) - wanted).abs().max() / wanted.abs().max().clamp(min=1))


def _require_own_features(model: Classifier) -> None:
    if model.config.layers:
        raise ModelError(
            f"{model.config.name} reads several layers ({', '.join(map(str, model.config.layers))}), which timm's models "
            "don't: export ONNX. Its backbone alone can be written (timm --backbone)"
        )


def require_timm(model: Classifier) -> None:
    """Raises ModelError where the backbone is this package's own: timm by itself knows no such name."""
    if type(model.backbone).__module__.startswith("models."):
        raise ModelError(
            f"{model.config.name} is this package's own network: timm by itself can't build it; export ONNX"
        )
