"""What EnD's terms cost: against versions that take the Gram matrix of the whole batch, and in a training step."""

import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import DatasetInfo, Sample
from models.classifier import ModelConfig, build_classifier, feature_width
from training.benchmark.timing import in_turn, median_ms
from training.methods import METHODS, Setup, build_method
from training.methods.end import disentangling_loss, entangling_loss
from training.run.report import machine

# batch, width, targets, biases
COST_CASES = (
    (64, 512, 2, 6), (256, 512, 2, 6), (1024, 512, 2, 6), (4096, 512, 2, 6),
    (256, 128, 10, 10), (256, 2048, 2, 6), (1024, 512, 10, 100),
)  # fmt: skip


Term = Callable[[Tensor], Tensor]


def gram_terms(features: Tensor, target: Tensor, bias: Tensor) -> Tensor:
    """R_perp + R_par by way of the matrix of all cosines and a loop over biases, as public code has them."""
    z = F.normalize(features, dim=1)
    cosines = z @ z.T
    upper = torch.ones_like(cosines, dtype=torch.bool).triu(1)
    perp = (bias[:, None] == bias) & upper
    par = (target[:, None] == target) & (bias[:, None] != bias) & upper
    by_bias = [cosines[perp & (bias == b)[:, None]].sum().abs() for b in bias.unique()]
    return torch.stack(by_bias).sum() / perp.sum() + (1 - cosines[par]).sum() / 2 / par.sum()


def gram_disentangling(features: Tensor, bias: Tensor) -> Tensor:
    """Absolute R_perp by way of the matrix of all cosines, also of pairs with different biases."""
    z = F.normalize(features, dim=1)
    pairs = (bias[:, None] == bias[None, :]).triu(diagonal=1)
    return (z @ z.T).abs().mul(pairs).sum() / pairs.sum().clamp(min=1)


def cost(repeats: int) -> None:
    """Print the time of the terms by batch, width and groups, that of absolute R_perp, and their share of a step."""
    console, generator = Console(), torch.Generator().manual_seed(0)
    console.print(f"Forward and backward of R_perp + R_par, median of {repeats}, in turn; {machine()}")
    headings = ("batch", "width", "groups", "signed, ms", "absolute, ms", "Gram matrix, ms", "Gram / signed")
    table = Table(*(Column(heading, justify="right") for heading in headings))

    for size, width, targets, biases in COST_CASES:
        features = torch.randn(size, width, generator=generator)
        target, bias = (torch.randint(n, (size,), generator=generator) for n in (targets, biases))
        terms = {form: _end(form, target, bias, targets, biases) for form in ("signed", "absolute")}
        times = _times(terms | {"gram": partial(gram_terms, target=target, bias=bias)}, features, repeats)
        cells = [f"{1000 * statistics.median(seconds):.2f}" for seconds in times.values()]
        among = statistics.median(_ratios(times["gram"], times["signed"]))
        table.add_row(str(size), str(width), f"{targets} x {biases}", *cells, f"{among:.1f}")
    console.print(table)
    _absolute(console, repeats, generator)

    model = build_classifier(ModelConfig("resnet18", 2)).to(memory_format=torch.channels_last)
    image = torch.randn(64, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    target, bias = torch.randint(2, (64,)), torch.randint(6, (64,))
    whole = median_ms(lambda: F.cross_entropy(model(image).logits, target).backward(), max(2, repeats // 2))
    own = _times({"end": _end("absolute", target, bias, 2, 6)}, torch.randn(64, 512), repeats)["end"]
    mine = 1000 * statistics.median(own)
    share = 100 * mine / whole
    console.print(f"resnet18, 224 px, batch 64: step {whole:.0f} ms, of which the terms {mine:.2f} ms = {share:.3f} %")


def _absolute(console: Console, repeats: int, generator: torch.Generator) -> None:
    """Print the time of absolute R_perp alone, taken in turn with its Gram-matrix version."""
    console.print("Absolute R_perp alone, a Gram matrix for each bias (blocks) against that of the batch; in turn")
    headings = ("batch", "width", "biases", "blocks, ms", "Gram matrix, ms", "Gram / blocks: median, range")
    table = Table(*(Column(heading, justify="right") for heading in headings))
    cases = [(size, width, biases) for size, width, _, biases in COST_CASES]
    for size, width, biases in (*cases, (1024, 512, 1)):
        features = torch.randn(size, width, generator=generator)
        bias = torch.randint(biases, (size,), generator=generator)
        blocks = partial(disentangling_loss, bias=bias, biases=biases, form="absolute")
        times = _times({"blocks": blocks, "gram": partial(gram_disentangling, bias=bias)}, features, repeats)
        cells = [f"{1000 * statistics.median(seconds):.2f}" for seconds in times.values()]
        ratios = _ratios(times["gram"], times["blocks"])
        among = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        table.add_row(str(size), str(width), str(biases), *cells, among)
    console.print(table)


def _end(form: str, target: Tensor, bias: Tensor, targets: int, biases: int) -> Term:
    return lambda f: disentangling_loss(f, bias, biases, form) + entangling_loss(f, target, bias, targets, biases)


def _times(terms: dict[str, Term], features: Tensor, repeats: int) -> dict[str, list[float]]:
    """Seconds of a forward and a backward pass of each term, in turn."""
    features = features.requires_grad_()
    return in_turn({name: partial(_there_and_back, term, features) for name, term in terms.items()}, repeats)


def _there_and_back(term: Term, features: Tensor) -> None:
    torch.autograd.grad(term(features), features)


def _ratios(theirs: list[float], ours: list[float]) -> list[float]:
    """How many times as long theirs takes, by round."""
    return [a / b for a, b in zip(theirs, ours, strict=True)]


def throughput(model: str, img_size: int, batch_size: int, repeats: int) -> None:
    """Print films a second of training steps with ERM and EnD, and of both memory layouts."""
    info = DatasetInfo("phantom", ("no", "yes"), tuple("abcdef"), "source", 1, synthetic=True)
    image = torch.randn(batch_size, 3, img_size, img_size)
    target, bias = torch.randint(2, (batch_size,)), torch.randint(6, (batch_size,))
    batch = Sample(image, target, bias, torch.arange(batch_size))
    kinds = {"erm": torch.channels_last, "end": torch.channels_last, "erm, nchw": torch.contiguous_format}
    times = in_turn(
        {name: _training_step(model, name.split(",")[0], batch, info, kinds[name]) for name in kinds}, repeats
    )
    console = Console()
    console.print(f"{model}, {img_size} px, batch {batch_size}, median of {repeats} training steps; {machine()}")
    for name, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(times["erm"], seconds, strict=True))
        console.print(f"{name:10} {batch_size / statistics.median(seconds):7.1f} films/s, {ratio:.3f} x erm")


def _training_step(
    model_name: str, method_name: str, batch: Sample, info: DatasetInfo, layout: torch.memory_format
) -> Callable[[], None]:
    config = ModelConfig(model_name, 2, 3, batch.image.shape[-1])
    model = build_classifier(config).to(memory_format=layout)
    counts = np.ones((len(info.targets), len(info.biases)), dtype=np.int64)
    setup = Setup(info, counts, feature_width(model.backbone), 3, len(batch.row), 1)
    method = build_method(method_name, METHODS[method_name].parameters(), setup)
    optimiser = torch.optim.AdamW(model.parameters())
    image = batch.image.contiguous(memory_format=layout)

    def step() -> None:
        loss = torch.stack(list(method(model(image), batch).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step
