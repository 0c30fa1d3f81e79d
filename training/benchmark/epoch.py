"""What of an epoch of Biased MNIST is ours to win: `python -m training.benchmark epoch`.

The network's forward and backward pass is the same work whoever asks for it. Beside it stand the input pipeline and EnD's
terms, and these are timed against a peer written after the released code: digits coloured once, then one Pillow image, one
ToTensor, one Normalize a digit (Bahng et al., ReBias, github.com/clovaai/rebias), and the terms by way of a mask a bias or a
pair of biases over the Gram matrix (Tartaglione et al., EnD, github.com/EIDOSLAB/entangling-disentangling-bias).

In the peer's favour: what its training loop reads from the device each step for its logs is left out, while ours counts the
pairs of each batch, as training does. Both have the same network, optimiser, batch size and number of steps.
"""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Normalize, ToTensor

from datasets.cohort.confounding import count_pairs
from datasets.cohort.films import Cohort, whole_batch
from datasets.cohort.samplers import EpochSampler
from datasets.sample import Sample, Split
from models.classifier import Classifier, ModelConfig, build_classifier
from training.benchmark.timing import in_turn_ms
from training.console.messages import mistakes_as_sentences
from training.loop.assembly import half_of
from training.methods import EndParameters
from training.methods.end import disentangling_loss, entangling_loss
from training.parallel.device import choose_device
from training.run.config import TrainConfig, parse
from training.run.films import cohort_of, preprocessing_of
from training.run.report import machine

LIMITS = {"input + terms": 0.1, "whole step": 1.0}  # ours over the peer's
CALLS = 5  # of the terms in one timing
Batches = Callable[[], Iterator[Sample]]
Terms = Callable[[Tensor, Tensor, Tensor], Tensor]


class PicturesOneByOne(Dataset[tuple[Tensor, int, int]]):
    """The peer's data set: coloured digits as an array in memory, of which one at a time becomes an image and a tensor."""

    def __init__(self, cohort: Cohort, positions: np.ndarray) -> None:
        assert cohort.images is not None
        self.pictures = cohort.images[positions].permute(0, 2, 3, 1).contiguous().numpy()
        self.target, self.bias = (torch.tensor(cohort.table[name].to_numpy())[positions] for name in ("target", "bias"))
        self.transform = Compose([ToTensor(), Normalize(cohort.preprocessing.mean, cohort.preprocessing.std)])

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        image: Tensor = self.transform(Image.fromarray(self.pictures[index]))
        return image, int(self.target[index]), int(self.bias[index])


def loop_terms(features: Tensor, target: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Signed R_perp, and R_par, as the released code finds them: a mask over the Gram matrix a bias and a pair of biases.

    R_par is the released one: the lower triangle of an asymmetric mask has a pair only where the later row has the lower
    bias, so that it is ours in a batch sorted by falling bias alone.

    Args:
        features: batch x width, of unit length.
    """
    cosines = (features @ features.T).tril(-1).clamp(-1, 1)
    biases = bias.unique()
    perp, par = torch.zeros(2, device=features.device)
    perp_pairs = par_pairs = torch.zeros((), device=features.device)
    for value in biases:
        member = (bias == value).float()
        mask = torch.outer(member, member).tril(-1)
        if mask.sum() > 0:
            perp = perp + (cosines * mask).sum().abs()
            perp_pairs = perp_pairs + mask.sum()
    for label in target.unique():
        of_label = (target == label).float()
        for low, high in combinations(biases, 2):
            mask = torch.outer(of_label * (bias == low), of_label * (bias == high)).tril(-1)
            if mask.sum() > 0:
                par = par + ((1 - cosines) * mask / 2).sum()
                par_pairs = par_pairs + mask.sum()
    return perp / perp_pairs.clamp(min=1), par / par_pairs.clamp(min=1)


def our_batches(cohort: Cohort, config: TrainConfig, positions: np.ndarray, device: torch.device) -> Batches:
    """An epoch's batches as `training.train` makes them: cut and normalised on the device, their pairs counted."""
    target, bias = (cohort.table[name].to_numpy()[positions] for name in ("target", "bias"))
    sampler = EpochSampler(positions, target, bias, config.batch_size, config.seed, config.sampler)
    loader = DataLoader(cohort.on(device).samples(), batch_sampler=sampler, collate_fn=whole_batch)

    def batches() -> Iterator[Sample]:
        for batch in loader:
            count_pairs(batch.target.numpy(), batch.bias.numpy())
            yield Sample(*(value.to(device, non_blocking=True) for value in batch))

    return batches


def peer_batches(cohort: Cohort, config: TrainConfig, positions: np.ndarray, device: torch.device) -> Batches:
    """An epoch's batches as the released code makes them."""
    loader = DataLoader(
        PicturesOneByOne(cohort, positions), config.batch_size, shuffle=True, drop_last=True, num_workers=config.workers,
        pin_memory=device.type == "cuda", generator=torch.Generator().manual_seed(config.seed),
    )  # fmt: skip

    def batches() -> Iterator[Sample]:
        for image, target, bias in loader:
            yield Sample(image.to(device), target.to(device), bias.to(device), target)

    return batches


def epoch(forwarded: list[str], steps: int, repeats: int) -> None:
    """Time both in turn, then print what each takes, their ratios and whether the targets are met.

    Args:
        forwarded: flags of training.train; `--workers` are the peer's loading processes, ours has none.
        steps: of the epoch; 0 for all of them.
        repeats: timings of each, of which the median counts.
    """
    with mistakes_as_sentences("interrupted"):
        config = parse(["--dataset", "biased-mnist", *forwarded])
        parameters = config.parameters
        plain = (
            config.dataset == "biased-mnist" and config.method == "end" and not (config.augment or config.mix_amplitude)
        )
        if not plain or parameters != EndParameters(parameters.alpha, parameters.beta, parameters.form):
            raise ValueError("epoch times the paper's EnD on Biased MNIST without augmentation: leave other wishes out")
        cohort = cohort_of(config, preprocessing_of(config))
        device, positions = choose_device(config.device), cohort.positions(Split.TRAIN)
        batch_size = min(config.batch_size, len(positions))
        whole = len(positions) // batch_size
        if steps > whole:
            raise ValueError(f"--steps {steps}: an epoch of {len(positions)} digits has {whole} steps of {batch_size}")
    steps = steps or whole
    times = compare(config, cohort, positions[: steps * batch_size], device, repeats)
    console = Console()
    console.print(
        f"{config.model}, {config.img_size} px, batch {batch_size}, {steps} of {whole} steps, "
        f"R_perp {parameters.form}, {'autocast' if config.amp else 'float32'} on {device.type}, "
        f"{config.workers} loading processes of the peer, median of {repeats}; {machine()}",
        highlight=False,
    )
    table = Table("ms a step", *(Column(heading, justify="right") for heading in ("ours", "peer", "ours / peer")))
    for name, (ours, peer) in times.items():
        table.add_row(name, f"{ours:.2f}", f"{peer:.2f}", f"{ours / peer:.3f}")
    console.print(table)
    for name, limit in LIMITS.items():
        ratio = times[name][0] / times[name][1]
        verdict = "met" if ratio <= limit else "MISSED"
        console.print(f"{name}: {ratio:.3f} of the peer's time, at most {limit:g} wanted: {verdict}", highlight=False)


def compare(
    config: TrainConfig, cohort: Cohort, positions: np.ndarray, device: torch.device, repeats: int
) -> dict[str, tuple[float, float]]:
    """Milliseconds a step of an epoch of these digits, ours and the peer's, by what was timed."""
    targets, biases = len(cohort.info.targets), len(cohort.info.biases)
    weights = config.parameters

    def our_terms(features: Tensor, target: Tensor, bias: Tensor) -> Tensor:
        perp = disentangling_loss(
            features, bias, biases, weights.form
        )  # from group sums where it is signed, as the peer's
        return weights.alpha * perp + weights.beta * entangling_loss(features, target, bias, targets, biases)

    def peer_terms(features: Tensor, target: Tensor, bias: Tensor) -> Tensor:
        perp, par = loop_terms(features.float(), target, bias)
        return weights.alpha * perp + weights.beta * par

    terms: dict[str, Terms] = {"ours": our_terms, "peer": peer_terms}
    both = {"ours": our_batches, "peer": peer_batches}
    batches = {side: make(cohort, config, positions, device) for side, make in both.items()}
    shape = ModelConfig(config.model, targets, 3, config.img_size, config.unit_norm, config.centred, config.logit_scale)
    model = build_classifier(shape).to(device)
    batch = next(batches["ours"]())
    features = F.normalize(model(batch.image).features.detach(), dim=1).requires_grad_()

    def read(side: str) -> None:
        for _ in batches[side]():
            pass
        wait_for(device)

    def differentiate(side: str) -> None:
        for _ in range(CALLS):
            torch.autograd.grad(terms[side](features, batch.target, batch.bias), features)
        wait_for(device)

    learners = {side: Learner(copy.deepcopy(model), config, device, terms[side]) for side in batches}

    def learn(side: str) -> None:
        for batch in batches[side]():
            learners[side].step(batch)
        wait_for(device)

    steps = len(positions) // min(config.batch_size, len(positions))

    def timed(action: Callable[[str], None], calls: int) -> tuple[float, float]:
        times = in_turn_ms({side: partial(action, side) for side in batches}, repeats)
        return times["ours"] / calls, times["peer"] / calls

    inputs, losses = timed(read, steps), timed(differentiate, CALLS)
    together = (inputs[0] + losses[0], inputs[1] + losses[1])
    return {"input": inputs, "terms": losses, "input + terms": together, "whole step": timed(learn, steps)}


class Learner:
    """One step of training: forward, backward, optimiser."""

    def __init__(self, model: Classifier, config: TrainConfig, device: torch.device, terms: Terms) -> None:
        self.model, self.terms, self.device, self.half = model.train(), terms, device, half_of(config, device)
        self.optimiser = torch.optim.Adam(model.parameters(), config.lr, weight_decay=config.weight_decay)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.half is torch.float16)

    def step(self, batch: Sample) -> None:
        """Learn from one batch."""
        with torch.autocast(self.device.type, self.half, enabled=self.half is not None):
            output = self.model(batch.image)
        loss = F.cross_entropy(output.logits.float(), batch.target)
        loss = loss + self.terms(output.features, batch.target, batch.bias)
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()


def wait_for(device: torch.device) -> None:
    """Return once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
