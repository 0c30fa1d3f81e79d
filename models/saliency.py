"""Where in a film a class's score comes from: Grad-CAM through MONAI, for CNNs and vision transformers.

It explains the log-odds of the class, its logit minus logsumexp of the others, since that is what the score is made of: a
place that lowers the other class's logit is evidence as well. 0 is no evidence for the class, 1 the place of that film with
the most, so maps of several models can be laid side by side to compare places; how strong the evidence is, the score says
and not the map. No map shows that the model is right, nor why.

References:
    [1] Selvaraju et al., Grad-CAM (ICCV 2017): the feature map of a layer, weighted by the class's gradient.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.classifier import Classifier, ModelError


def grad_cam(
    model: Classifier, images: Float[Tensor, "n channels height width"], target: int
) -> Float[Tensor, "n 1 height width"]:
    """Grad-CAM of a batch, in the geometry of the input.

    The layer is the last feature map with any extent (before pooling), or for a transformer the first norm of its last
    block: after it, patch tokens no longer reach a class token, and their gradient would be 0. Where the features are of
    several layers it is the first of these, which all later ones follow from.

    Not for two threads on one model at once: hooks and modes are those of the model. They are as they were afterwards.

    Args:
        model: on the device of the images; explained in evaluation mode.
        images: normalised, as the model sees them.

    Returns:
        Maps in [0, 1] on the scale that this module describes, float32; all 0 where nothing speaks for the class.

    Raises:
        ModelError: no such class, or a backbone without a map of the image.
    """
    # Imported here, because monai.visualize takes about five seconds, which all who only score would pay.
    from monai.visualize import GradCAM

    if not 0 <= target < model.config.num_classes:
        raise ModelError(f"class {target} of a model with {model.config.num_classes}: count from 0")
    probe = nn.Identity()
    # The images may come out of inference mode, where nothing can be differentiated, hence the copy.
    with _undisturbed(model), torch.inference_mode(False), torch.enable_grad():
        images = images.detach().clone()
        layer = _last_map(model, images[:1])
        shape = (images.shape[-2], images.shape[-1])

        def through_probe(module: nn.Module, given: object, output: Tensor) -> Tensor:
            # Where the graph begins: no gradient is worked out for the layers before.
            return _on_grid(output.detach().requires_grad_(), shape, model, probe)

        handle = layer.register_forward_hook(through_probe)
        try:
            # MONAI hooks the probe alone: it never takes its hooks away again.
            cam = GradCAM(_LogOdds(model, probe), target_layers="probe", postprocessing=_share_of_peak)
            maps: Tensor = cam(images, class_idx=target)
        finally:
            handle.remove()
    return maps.detach()


class _LogOdds(nn.Module):
    """The classifier as MONAI wants one: images in, one number a class out.

    The classifier is kept out of the modules, so that MONAI neither clears its gradients nor switches its mode.
    """

    def __init__(self, model: nn.Module, probe: nn.Module) -> None:
        super().__init__()
        self.probe = probe
        self.logits: Callable[[Tensor], Tensor] = lambda images: model(images).logits

    def forward(self, images: Tensor) -> Tensor:
        logits = self.logits(images).float()
        if logits.shape[1] == 1:
            return logits
        others = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
        return logits - logits[:, None].masked_fill(others, -math.inf).logsumexp(2)


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients of parameters while inside; every module and parameter as it was afterwards."""
    modes = {module: module.training for module in model.modules()}
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        model.eval()
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, grad in wanted.items():
            parameter.requires_grad_(grad)


def _last_map(model: Classifier, image: Tensor) -> nn.Module:
    """The layer whose output is explained, found by watching one image go through."""
    numbers = [layer for layer in model.config.layers if isinstance(layer, int)]
    if numbers:
        places: Any = model.backbone.feature_info
        return model.backbone.get_submodule(places[numbers[0]]["module"])
    blocks = getattr(model.backbone, "blocks", None)
    norm = getattr(blocks[-1], "norm1", None) if isinstance(blocks, nn.Sequential | nn.ModuleList) else None
    if isinstance(norm, nn.Module):
        return norm
    extents: dict[str, int] = {}  # in the order in which the layers finish

    def watch(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            height, width = output.shape[1:3] if _channels_last(model) else output.shape[2:]
            extents[name] = height * width

    parts = dict(model.backbone.named_modules())
    del parts[""]
    handles = [
        part.register_forward_hook(lambda module, given, output, name=name: watch(name, output))
        for name, part in parts.items()
    ]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    # Where a small film ends as a single cell, a layer inside of the block that made it so is a branch, not the map.
    ends = tuple(f"{name}." for name, n in extents.items() if n == 1 and not isinstance(parts[name], nn.Sequential))
    maps = [name for name, n in extents.items() if n > 1 and not name.startswith(ends)]
    if not maps:
        raise ModelError(f"{model.config.name} has no feature map of the image to draw")
    return parts[maps[-1]]


def _on_grid(output: Tensor, image: tuple[int, int], model: Classifier, probe: nn.Module) -> Tensor:
    """Let the probe see a layer's output as n x channels x rows x columns, and hand it on in the form it came."""
    if output.ndim == 4 and not _channels_last(model):
        return probe(output).clone()  # a copy, since the layers that follow may work in place
    if output.ndim == 4:
        return probe(output.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).clone()
    prefix = int(getattr(model.backbone, "num_prefix_tokens", 0))  # class and register tokens have no place
    tokens = output.shape[1] - prefix
    rows = round(math.sqrt(tokens * image[0] / image[1]))
    if output.ndim != 3 or rows * (tokens // max(rows, 1)) != tokens:
        raise ModelError(f"the tokens of {model.config.name} form no grid to draw")
    grid = output[:, prefix:].transpose(1, 2).unflatten(2, (rows, tokens // rows))
    return torch.cat([output[:, :prefix], probe(grid).flatten(2).transpose(1, 2)], dim=1)


def _channels_last(model: Classifier) -> bool:
    """Whether the backbone keeps its feature maps as rows x columns x channels, as Swin does."""
    return str(getattr(model.backbone, "output_fmt", "NCHW")).endswith("NHWC")


def _share_of_peak(maps: Tensor) -> Tensor:
    """Each map divided by its own maximum; one without evidence stays 0."""
    peak = maps.amax((1, 2, 3), keepdim=True)
    return torch.where(peak > 0, maps / peak.clamp(min=torch.finfo(maps.dtype).tiny), 0.0).clamp(0, 1)
