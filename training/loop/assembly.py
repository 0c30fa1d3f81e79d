"""All that the loop moves, put together from a run's settings: networks, batches, optimiser, learning rate, average."""

import inspect
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from timm.layers import convert_sync_batchnorm
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from datasets.cohort.amplitude import AmplitudeMixing
from datasets.cohort.augmentation import Augmentation
from datasets.cohort.confounding import count_groups
from datasets.cohort.films import Cohort, whole_batch
from datasets.cohort.samplers import EpochSampler
from datasets.sample import Split
from models.classifier import Classifier, ModelConfig, build_classifier, feature_width
from models.keywords import parse_keywords
from training.console.interruption import ignore_signals
from training.loop.joint import Joint
from training.methods import METHODS, Setup, build_method
from training.parallel.device import TrainingError, choose_device
from training.parallel.memory import keep_freed_memory
from training.parallel.ranks import rank, ranks
from training.run.config import TrainConfig
from training.run.recipe import Recipe

FUSED = ("adam", "adamw", "sgd", "momentum")  # timm's names of torch's own optimisers


@dataclass(frozen=True)
class Assembly:
    """What a training consists of.

    Attributes:
        wrapped: `joint`, or DistributedDataParallel around it.
        loader: batches of this process in the sampler's order.
        scheduler: sets the learning rate at each step; None for a constant one.
        average: moving average of the classifier's weights.
    """

    config: TrainConfig
    cohort: Cohort
    device: torch.device
    joint: Joint
    wrapped: nn.Module
    sampler: EpochSampler
    loader: DataLoader[Any]
    optimiser: torch.optim.Optimizer
    scheduler: Scheduler | None
    scaler: torch.amp.GradScaler
    average: ModelEmaV3 | None

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return len(self.sampler)

    @property
    def measured(self) -> Classifier:
        """The classifier that is validated and kept: the averaged one where there is one."""
        model: Classifier = self.joint.classifier if self.average is None else self.average.module
        return model

    def rows(self, step: int) -> np.ndarray:
        """Rows of the cohort's table that the whole batch of a step, from 1, of the sampler's epoch is of."""
        batch = self.sampler.batches(self.sampler.epoch)[step - 1]
        return np.asarray(self.cohort.table["row"])[self.sampler.positions[batch]]

    def pairs(self, step: int) -> np.ndarray:
        """Pairs that R_perp and R_par see in the whole batch of a step, attributes x 2, over all processes.

        A stand-in changes none.
        """
        return self.sampler.pairs(self.sampler.batches(self.sampler.epoch)[step - 1])

    def close(self) -> None:
        """End the DataLoader's processes: no signal ends them, and the program would wait for them at its exit."""
        iterator = self.loader._iterator
        if iterator is not None and self.loader.num_workers:
            iterator._shutdown_workers()  # type: ignore[attr-defined]

    def update(self, step: int) -> None:
        """Move the parameters by their gradients, which are then forgotten; `step` is of the whole training, from 1."""
        if self.config.clip_grad is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.joint.parameters(), self.config.clip_grad)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.joint.classifier, step)


def assemble(config: TrainConfig, cohort: Cohort, recipe: Recipe | None = None) -> Assembly:
    """Build it; torch's main generator is seeded first, and draws the initial weights.

    Raises:
        TrainingError: no such device, or settings that don't go together on it.
    """
    device = choose_device(config.device)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    if config.sync_bn and (ranks() == 1 or device.type != "cuda"):
        raise TrainingError("--sync-bn: torch has it for several processes on CUDA devices alone; leave the flag out")
    repeat_exactly(config.deterministic)
    if device.type == "cpu":
        keep_freed_memory()
    torch.manual_seed(config.seed)
    shape = ModelConfig(
        config.model, len(cohort.info.targets), config.in_chans, config.img_size, config.unit_norm, config.centred,
        config.logit_scale, parse_keywords((config.model_kwargs or "").split()),
    )  # fmt: skip
    model = build_classifier(shape, config.pretrained, config.weights).to(device).to(memory_format=layout)
    positions = cohort.positions(Split.TRAIN)
    target, bias = cohort.table["target"].to_numpy()[positions], cohort.bias[positions]
    sampler = EpochSampler(
        positions, target, bias, config.batch_size, config.seed, config.sampler,
        None if recipe is None else recipe.repeats, rank(), ranks(), config.accumulate,
    )  # fmt: skip
    if not config.augment and not config.workers:
        cohort = cohort.on(device)
    augmentation = Augmentation() if config.augment else None
    loader = DataLoader(
        cohort.samples(augmentation, config.seed, config.on_bad_image == "skip", mixing_of(config, cohort)),
        batch_sampler=sampler, collate_fn=whole_batch, num_workers=config.workers, persistent_workers=config.workers > 0,
        worker_init_fn=ignore_signals, pin_memory=device.type == "cuda" and not cohort.on_device,
        # The iterator draws a seed for its workers, which need none; the main generator stays as it is.
        generator=torch.Generator(),
    )  # fmt: skip
    first = bias if bias.ndim == 1 else bias[:, 0]
    counts = count_groups(target, first, len(cohort.info.targets), len(cohort.info.unwanted[0].values))
    rows, steps = int(cohort.table["row"].max()) + 1, config.epochs * len(sampler)
    setup = Setup(cohort.info, counts, feature_width(model.backbone), config.in_chans, rows, steps)
    method = build_method(config.method, config.parameters, setup).to(device)
    joint = Joint(model, method, METHODS[config.method].detached_head, layout, half_of(config, device), config.compile)
    if config.sync_bn:
        joint = convert_sync_batchnorm(joint)
    scaled = joint.precision is torch.float16
    # Fused steps look on the device whether a gradient overflowed; for others the host would wait for it at every step.
    fused = {"fused": True} if scaled and config.opt in FUSED else {}
    optimiser = create_optimizer_v2(joint, opt=config.opt, lr=config.lr, weight_decay=config.weight_decay, **fused)
    scheduler, _ = create_scheduler_v2(
        optimiser, config.sched, num_epochs=config.epochs, step_on_epochs=False, updates_per_epoch=len(sampler),
        warmup_epochs=min(config.warmup_epochs, config.epochs - 1), warmup_lr=config.lr / 100,
        decay_epochs=math.ceil(config.epochs / 4), decay_rate=0.1,
    )  # fmt: skip
    average = ModelEmaV3(model, config.ema, use_warmup=True) if config.ema is not None else None
    joint.train()
    if ranks() > 1:
        torch.manual_seed(config.seed + rank())  # weights are drawn: dropout differs from film to film, so by rank
    return Assembly(
        config, cohort, device, joint, _wrapped(joint, device), sampler, loader, optimiser, scheduler,
        torch.amp.GradScaler(device.type, enabled=scaled), average,
    )  # fmt: skip


def mixing_of(config: TrainConfig, cohort: Cohort) -> AmplitudeMixing | None:
    """How films are mixed, with donors of the training part alone; raises ValueError where that is of one source."""
    if not config.mix_amplitude:
        return None
    positions = cohort.positions(Split.TRAIN)
    return AmplitudeMixing(config.mix_amplitude, positions, cohort.table["bias"].to_numpy()[positions])


def half_of(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    """What autocast computes in, None without it; `auto` is float16 on CUDA, bfloat16 elsewhere."""
    if not config.amp:
        return None
    if config.amp_dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.bfloat16
    return torch.float16 if config.amp_dtype == "float16" else torch.bfloat16


def repeat_exactly(deterministic: bool) -> None:
    """Take CUDA's deterministic kernels, or the fastest; on the CPU the two are the same."""
    # Every batch has one size: the fastest convolution is worth looking for.
    torch.backends.cudnn.benchmark = not deterministic
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(deterministic, warn_only=True)


def _wrapped(joint: Joint, device: torch.device) -> nn.Module:
    if ranks() == 1:
        return joint
    # Buffers need not be sent at each step: a method's are equal already, and of batch norm's statistics, which training
    # does not read, the first process's are taken when something is measured.
    known = inspect.signature(DistributedDataParallel).parameters
    quiet: dict[str, Any] = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}
    return DistributedDataParallel(joint, device_ids=[device] if device.type == "cuda" else None, **quiet)
