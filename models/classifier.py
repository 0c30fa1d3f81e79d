"""Any timm backbone as a classifier whose bottleneck features come out beside its logits."""

import difflib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from timm.layers import PatchEmbed
from timm.models import get_pretrained_cfg
from torch import Tensor, nn
from torch.nn import functional as F

from models import simple_convnet  # noqa: F401  (registers itself with timm)
from models.intermediates import Layers, middle_and_last, pooled_layers
from models.keywords import Keywords, plain_keywords, written


class ModelError(ValueError):
    """A model that can't be built or weights that don't fit it; the message says what to pass instead."""


class Output(NamedTuple):
    """What a forward pass gives.

    Attributes:
        features: bottleneck, batch x width: what EnD regularises and the leak is measured on. Unit length where the model
            was built so.
        logits: batch x classes.
    """

    features: Tensor
    logits: Tensor


@dataclass(frozen=True)
class ModelConfig:
    """All that rebuilds a classifier, apart from its weights; older checkpoints have no keywords and no layers.

    Attributes:
        name: timm's name of the backbone, or `simple_convnet`.
        in_chans: channels of the input, 1 or 3. Pretrained first layers are summed over colours for 1.
        img_size: side of the input in pixels; only backbones with a fixed input size (most ViTs) need it to be built.
        unit_norm: L2-normalise the features before the last layer, as EnD's authors do on Biased MNIST.
        centred: batch-normalise the features (no scale, no shift) first. After a last ReLU all cosines are positive and
            near 1, which leaves EnD little to hold on to; centred, they fill [-1, 1]. EnD's authors use a Tanh to this end.
        logit_scale: factor on the logits. Cosine-like logits of a unit-norm bottleneck fit slowly at 1.
        keywords: what else `timm.create_model` is given, such as `drop_path_rate`; see `models.keywords`. A `drop_rate` drops
            features before any method sees them.
        layers: whose pooled maps, side by side, are the features, see `models.intermediates`; the backbone's own where
            there are none.

    Raises:
        KeywordError: keywords that aren't plain values, or not free to choose.
    """

    name: str
    num_classes: int
    in_chans: int = 3
    img_size: int = 224
    unit_norm: bool = False
    centred: bool = False
    logit_scale: float = 1.0
    keywords: Keywords = ()
    layers: Layers = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))  # JSON makes lists of them
        object.__setattr__(self, "keywords", plain_keywords(self.keywords))


class Classifier(nn.Module):
    """A timm backbone, its pooled features, one linear layer, with random weights from torch's main generator.

    Raises:
        ModelError: timm knows no such backbone, or it can't take images of this size or these keywords, or lacks the layers.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _build_backbone(config)
        width = _width_of_layers(self.backbone, config) if config.layers else feature_width(self.backbone)
        self.neck = nn.BatchNorm1d(width, affine=False) if config.centred else nn.Identity()
        self.head = nn.Linear(width, config.num_classes)

    def forward(self, image: Float[Tensor, "batch channels height width"], detached_head: bool = False) -> Output:
        """Features and logits of normalised images, in one pass; `detached_head` keeps the logits' gradient to the head."""
        layers = self.config.layers
        features = self.neck(pooled_layers(self.backbone, image, layers) if layers else self.backbone(image))
        if self.config.unit_norm:
            features = F.normalize(features, dim=1)
        seen = features.detach() if detached_head else features
        return Output(features, self.head(seen) * self.config.logit_scale)


def feature_width(backbone: nn.Module) -> int:
    """Width of pooled features; in timm it is `head_hidden_size` where that exists (MobileNetV3), else `num_features`."""
    return int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)  # type: ignore[arg-type]


@torch.no_grad()
def usual_layers(config: ModelConfig) -> Layers:
    """The middle and the last layer of this backbone; none, which is its own features, where timm can't look inside it."""
    backbone: Any = _build_backbone(config).eval()
    if not hasattr(backbone, "forward_intermediates"):
        return ()
    return middle_and_last(len(backbone.forward_intermediates(_blank(config), intermediates_only=True)))


def build_classifier(config: ModelConfig, pretrained: bool = False, weights: Path | None = None) -> Classifier:
    """Build a classifier to train.

    Args:
        pretrained: start the backbone from timm's weights, through its model hub.
        weights: start it from this local safetensors file in timm's parameter names instead.

    Raises:
        ModelError: an unknown backbone, a size that it can't take, an unreachable hub, a file that isn't safetensors or
            whose tensors don't fit.
    """
    model = Classifier(config)
    if weights is not None or pretrained:
        model.backbone.load_state_dict(_pretrained_backbone(config, weights).state_dict())
    return model


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per RGB channel that timm's weights of this backbone were trained with, in [0, 1]."""
    cfg = get_pretrained_cfg(name, allow_unregistered=True)
    return (tuple(cfg.mean), tuple(cfg.std)) if cfg else ((0.5,) * 3, (0.5,) * 3)


def require_model(name: str) -> None:
    """Raises ModelError, with the names that were perhaps meant, where timm has no such backbone."""
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise ModelError(f"timm has no model {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))


def timm_arguments(config: ModelConfig) -> dict[str, Any]:
    """What `timm.create_model` is given beside the backbone's name and the number of classes."""
    cfg = get_pretrained_cfg(config.name)
    sized = {"img_size": config.img_size} if cfg and cfg.fixed_input_size else {}
    return {"in_chans": config.in_chans, **sized, **dict(config.keywords)}


def _build_backbone(config: ModelConfig, **pretrained: Any) -> nn.Module:
    require_model(config.name)
    try:
        backbone: nn.Module = timm.create_model(config.name, num_classes=0, **timm_arguments(config), **pretrained)
        if config.keywords:
            _require_pooled(backbone, config)
    except Exception as error:
        if isinstance(error, AssertionError) and not config.keywords:
            # Some transformers check their input size when they are built, ...
            raise ModelError(f"--img-size {config.img_size} does not fit {config.name}: {error}") from None
        if not config.keywords or isinstance(error, OSError | ModelError):
            raise
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown and unknown[1] in dict(config.keywords):
            raise ModelError(f"--model-kwargs: timm's {config.name} has no keyword argument {unknown[1]}") from None
        detail = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        raise ModelError(
            f"--model-kwargs {written(config.keywords)}: timm's {config.name} can't be built so: {detail}"
        ) from None
    # ... others when they see the first image, or never: the columns of half a patch are then not looked at
    embed = getattr(backbone, "patch_embed", None)
    if isinstance(embed, PatchEmbed) and not embed.dynamic_img_pad:
        patch = max(embed.patch_size)
        if config.img_size % patch:
            raise ModelError(f"--img-size {config.img_size}: {config.name} needs a multiple of its patch, {patch}")
    return backbone


@torch.no_grad()
def _width_of_layers(backbone: nn.Module, config: ModelConfig) -> int:
    """Width of the features of the chosen layers, by one blank image."""
    shown = ",".join(map(str, config.layers))
    if not hasattr(backbone, "forward_intermediates"):
        raise ModelError(f"layers {shown}: {config.name} gives its last features alone, and none of the layers before")
    try:
        width = pooled_layers(backbone.eval(), _blank(config), config.layers).shape[1]
    except Exception as error:
        detail = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"layers {shown}: timm's {config.name} can't give them: {detail}") from None
    backbone.train()
    return int(width)


def _blank(config: ModelConfig) -> Tensor:
    return torch.zeros(1, config.in_chans, config.img_size, config.img_size)


@torch.no_grad()
def _require_pooled(backbone: nn.Module, config: ModelConfig) -> None:
    """Refuse keywords after which the features are no vector of the expected width, `global_pool=` being the usual one."""
    image = next(backbone.parameters()).new_zeros(1, config.in_chans, config.img_size, config.img_size)
    found, width = tuple(backbone.eval()(image).shape[1:]), feature_width(backbone)
    backbone.train()
    if found != (width,):
        raise ModelError(
            f"--model-kwargs {written(config.keywords)}: timm's {config.name} then gives features of shape {found} where "
            f"{width} pooled ones are needed"
        )


def _pretrained_backbone(config: ModelConfig, weights: Path | None) -> nn.Module:
    try:
        # A fork, so that random initial weights of the head don't depend on this.
        with torch.random.fork_rng(devices=[]), _without_each_try():
            if weights is None:
                return _build_backbone(config, pretrained=True)
            if not weights.is_file() or weights.suffix != ".safetensors":
                raise ModelError(f"--weights {weights}: give an existing .safetensors file; nothing else is loaded")
            backbone = _build_backbone(config, pretrained=True, pretrained_cfg_overlay={"file": str(weights)})
            _require_tensors(backbone, config.name, weights)
            return backbone
    except ModelError:
        raise
    except SafetensorError as error:
        raise ModelError(
            f"--weights {weights} is not a safetensors file ({error}): is it whole, and no Git LFS pointer?"
        ) from None
    except Exception as error:
        if weights is not None:
            detail = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
            raise ModelError(f"--weights {weights} does not fit timm's {config.name}: {detail}") from None
        cfg = get_pretrained_cfg(config.name)
        if cfg is None or not cfg.has_weights:
            raise ModelError(f"--pretrained: timm has no weights of {config.name}; leave the flag out") from None
        where = f"https://huggingface.co/{cfg.hf_hub_id}" if cfg.hf_hub_id else "timm's model hub"
        raise ModelError(
            f"--pretrained: the weights of {config.name} can't be fetched ({type(error).__name__}). On a machine with a "
            f"network, download model.safetensors from {where} and pass it here as --weights FILE.safetensors"
        ) from None


@contextmanager
def _without_each_try() -> Iterator[None]:
    """No log lines of the hub's client, two for each of its ten tries: one sentence comes when it has given up."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _require_tensors(backbone: nn.Module, name: str, weights: Path) -> None:
    """Refuse a file that lacks some of the backbone's tensors: timm would leave those at random and say nothing."""
    needed = [key for key in backbone.state_dict() if not key.endswith("num_batches_tracked")]
    with safe_open(weights, "pt") as file:
        present = set(file.keys())
    lacking = [key for key in needed if key not in present]
    if lacking:
        raise ModelError(
            f"--weights {weights} lacks {len(lacking)} of the {len(needed)} tensors of timm's {name}, "
            f"{lacking[0]} first: it holds another model, or names its tensors otherwise"
        )
