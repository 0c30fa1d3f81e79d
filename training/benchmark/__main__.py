"""Regenerate the tables of the README: `python -m training.benchmark COMMAND`.

`cost` times EnD's terms against a Gram-matrix version and a training step; `throughput` training with and without them;
`train` training against timm's own; `epoch` an epoch of Biased MNIST against the released code's way; `dicom` the batch
evaluation of DICOM folders. `paired` sets a method beside ERM over seeds, with intervals of the differences; `biased-mnist`
compares every method on Biased MNIST.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from training.benchmark.biased_mnist.command import add_arguments, biased_mnist
from training.console.commandline import Parser


def read_arguments(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's options, and for `epoch` and `paired` the flags that go to training.train."""
    parser = Parser(prog="python -m training.benchmark", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cost = commands.add_parser("cost", help="time of the terms against batch, width and groups")
    cost.add_argument("--repeats", type=int, default=7, help="timings of each, of which the median counts")
    throughput = commands.add_parser("throughput", help="training with EnD against ERM, and the memory layouts")
    throughput.add_argument("--model", default="resnet18", help="timm backbone")
    throughput.add_argument("--img-size", type=int, default=224, help="px")
    throughput.add_argument("-b", "--batch-size", type=int, default=64, help="films per step")
    throughput.add_argument("--repeats", type=int, default=5, help="steps timed of each kind, in turn")
    speed = commands.add_parser(
        "train", help="training with EnD against timm's own recipe, and where a step's time goes"
    )
    speed.add_argument(
        "--data-dir", type=Path, help="folder of films with metadata.csv (default: phantom films as PNG)"
    )
    speed.add_argument("--films", type=int, default=400, help="phantom films to train on")
    speed.add_argument("--model", default="tf_efficientnet_lite0", help="timm backbone")
    speed.add_argument("--img-size", type=int, default=128, help="px")
    speed.add_argument("-b", "--batch-size", type=int, default=32, help="films per step")
    speed.add_argument("--repeats", type=int, default=11, help="epochs of each, in turn, of which the median counts")
    speed.add_argument("--workers", type=int, default=2, help="processes of those that decode at each epoch")
    epoch = commands.add_parser("epoch", help="Biased MNIST the released way and ours; takes training.train's flags")
    epoch.add_argument("--steps", type=int, default=5, help="steps of the epoch; 0 for all of them")
    epoch.add_argument("--repeats", type=int, default=5, help="timings of each, in turn, of which the median counts")
    paired = commands.add_parser(
        "paired", help="a method beside ERM over seeds; flags not listed here go to training.train"
    )
    paired.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="training seeds")
    paired.add_argument("--resplit", action="store_true", help="each seed draws its own split (its own phantom cohort)")
    paired.add_argument("--record", type=Path, help="also write the table and all runs to this JSON file")
    films = commands.add_parser("dicom", help="films a second of a DICOM folder, against the parts alone and MONAI")
    films.add_argument("--repeats", type=int, default=5, help="timings of each part, of which the median counts")
    films.add_argument("--workers", type=int, default=2, help="decoding processes")
    digits = commands.add_parser(
        "biased-mnist", help="every method on Biased MNIST: tuning, seeds, the literature's table"
    )
    add_arguments(digits)
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in ("epoch", "paired"):
        parser.error(f"unknown argument {rest[0]}")
    return options, rest


if __name__ == "__main__":
    if "dicom" in sys.argv[1:2]:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as training.evaluate
    OPTIONS = read_arguments(sys.argv[1:])  # before the heavy imports, so that --help answers at once

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import DatasetInfo, Sample
from models.classifier import ModelConfig, build_classifier, feature_width
from training.benchmark.timing import median_ms
from training.bias.numbers.auroc import auroc_difference, auroc_interval
from training.bias.numbers.uncertainty import Interval, seed_interval
from training.console.messages import mistakes_as_sentences
from training.loop.obtain import obtain
from training.loop.prepare import prepare
from training.methods import METHODS, Setup, build_method
from training.methods.end import disentangling_loss, entangling_loss
from training.run.checkpoint import load_checkpoint
from training.run.config import LOCAL_SETTINGS, as_settings, parse
from training.run.report import RunResult, json_numbers, machine

# batch, width, targets, biases
COST_CASES = (
    (64, 512, 2, 6), (256, 512, 2, 6), (1024, 512, 2, 6), (4096, 512, 2, 6),
    (256, 128, 10, 10), (256, 2048, 2, 6), (1024, 512, 10, 100),
)  # fmt: skip
PAIRED_METRICS = (
    ("test", "auroc"), ("test", "conflicting_accuracy"), ("test", "worst_group_accuracy"), ("test", "leak"),
    ("external", "auroc"),
)  # fmt: skip


def main(options: argparse.Namespace, rest: list[str]) -> None:
    """Run the benchmark that the command line names; `rest` are flags of training.train."""
    if options.command == "cost":
        _cost(options)
    elif options.command == "throughput":
        _throughput(options)
    elif options.command == "biased-mnist":
        with mistakes_as_sentences("interrupted; the same command goes on from here"):
            biased_mnist(options)
    elif options.command == "dicom":
        from training.benchmark.dicom import dicom  # pydicom and its codecs are for this one alone

        dicom(options.repeats, options.workers)
    elif options.command == "train":
        from training.benchmark.training import train

        with mistakes_as_sentences("interrupted"):
            train(**{name: value for name, value in vars(options).items() if name != "command"})
    elif options.command == "epoch":
        from training.benchmark.epoch import epoch

        epoch(rest, options.steps, options.repeats)
    else:
        with mistakes_as_sentences("interrupted; the same command goes on from here"):
            _paired(options, rest)


def gram_terms(features: Tensor, target: Tensor, bias: Tensor) -> Tensor:
    """R_perp + R_par by way of the matrix of all cosines and a loop over biases, as public code has them."""
    z = F.normalize(features, dim=1)
    cosines = z @ z.T
    upper = torch.ones_like(cosines, dtype=torch.bool).triu(1)
    perp = (bias[:, None] == bias) & upper
    par = (target[:, None] == target) & (bias[:, None] != bias) & upper
    by_bias = [cosines[perp & (bias == b)[:, None]].sum().abs() for b in bias.unique()]
    return torch.stack(by_bias).sum() / perp.sum() + (1 - cosines[par]).sum() / 2 / par.sum()


def _cost(options: argparse.Namespace) -> None:
    console, generator = Console(), torch.Generator().manual_seed(0)
    console.print(f"Forward and backward of R_perp + R_par, median of {options.repeats}; {machine()}")
    table = Table()
    for heading in ("batch", "width", "groups", "signed, ms", "absolute, ms", "Gram matrix, ms", "Gram / signed"):
        table.add_column(heading, justify="right")

    def time_of(term: Callable[[Tensor], Tensor], features: Tensor) -> float:
        return median_ms(lambda: torch.autograd.grad(term(features), features), options.repeats)

    def end(form: str, target: Tensor, bias: Tensor, targets: int, biases: int) -> Callable[[Tensor], Tensor]:
        return lambda f: disentangling_loss(f, bias, form, biases) + entangling_loss(f, target, bias, targets, biases)

    for size, width, targets, biases in COST_CASES:
        features = torch.randn(size, width, generator=generator).requires_grad_()
        target, bias = (torch.randint(n, (size,), generator=generator) for n in (targets, biases))
        signed, absolute = (
            time_of(end(form, target, bias, targets, biases), features) for form in ("signed", "absolute")
        )
        naive = time_of(partial(gram_terms, target=target, bias=bias), features)
        times = [f"{ms:.2f}" for ms in (signed, absolute, naive)]
        table.add_row(str(size), str(width), f"{targets} x {biases}", *times, f"{naive / signed:.1f}")
    console.print(table)

    model = build_classifier(ModelConfig("resnet18", 2)).to(memory_format=torch.channels_last)
    image = torch.randn(64, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    target, bias = torch.randint(2, (64,)), torch.randint(6, (64,))
    whole = median_ms(lambda: F.cross_entropy(model(image).logits, target).backward(), max(2, options.repeats // 2))
    terms = time_of(end("signed", target, bias, 2, 6), torch.randn(64, 512).requires_grad_())
    share = 100 * terms / whole
    console.print(f"resnet18, 224 px, batch 64: step {whole:.0f} ms, of which the terms {terms:.2f} ms = {share:.3f} %")


def _throughput(options: argparse.Namespace) -> None:
    info = DatasetInfo("phantom", ("no", "yes"), tuple("abcdef"), "source", 1, synthetic=True)
    size, side = options.batch_size, options.img_size
    batch = Sample(
        torch.randn(size, 3, side, side), torch.randint(2, (size,)), torch.randint(6, (size,)), torch.arange(size)
    )
    kinds = {"erm": torch.channels_last, "end": torch.channels_last, "erm, nchw": torch.contiguous_format}
    steps = {name: _training_step(options.model, name.partition(",")[0], batch, info, kinds[name]) for name in kinds}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(options.repeats + 1):  # in turn, so that a change of the machine's speed meets all of them
        for name, train_step in steps.items():
            started = time.perf_counter()
            train_step()
            if repeat:
                times[name].append(time.perf_counter() - started)
    console = Console()
    console.print(f"{options.model}, {side} px, batch {size}, median of {options.repeats} training steps; {machine()}")
    for name, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(times["erm"], seconds, strict=True))
        console.print(f"{name:10} {size / statistics.median(seconds):7.1f} films/s, {ratio:.3f} x erm")


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


def _paired(options: argparse.Namespace, rest: list[str]) -> None:
    console = Console()
    runs: list[tuple[RunResult, RunResult]] = []
    given = parse(rest)
    if given.method == "erm":
        raise ValueError("paired sets a method beside ERM: choose another --method")
    for seed in options.seeds:
        config = given.with_settings(seed=seed, split_seed=seed if options.resplit else given.split_seed)
        films = cache(partial(prepare, config, console))
        console.print(f"[bold]seed {seed}[/bold]", highlight=False)
        erm = obtain(config.with_settings(method="erm"), films)
        runs.append((erm, obtain(config, films)))

    table = Table(title=f"{config.method} against erm over {len(runs)} seeds; {machine()}", title_justify="left")
    for heading in ("", "erm", config.method, "difference", "95 % over seeds", "seeds in favour"):
        table.add_column(heading, justify="right")
    rows = []
    for part, name in PAIRED_METRICS:
        pair = np.array([[run.metrics[part].get(name, np.nan) for run in both] for both in runs])
        pair = pair[~np.isnan(pair).any(axis=1)]
        if not len(pair):
            continue
        gaps = pair[:, 1] - pair[:, 0]
        interval = seed_interval(gaps)
        favour = int(((gaps < 0) if name == "leak" else (gaps > 0)).sum())
        spread = pair.std(axis=0, ddof=1) if len(pair) > 1 else np.full(2, np.nan)
        cells = [f"{mean:.3f} ± {sd:.3f}" for mean, sd in zip(pair.mean(0), spread, strict=True)]
        span = f"{interval.low:+.3f} to {interval.high:+.3f}"
        heading = f"{part} {name.replace('_', ' ')}"
        table.add_row(heading, *cells, f"{interval.estimate:+.3f}", span, f"{favour} of {len(pair)}")
        row = {"split": part, "metric": name, "erm": pair[:, 0].tolist(), config.method: pair[:, 1].tolist()}
        rows.append(row | {"difference": json_numbers(interval._asdict()), "in_favour": favour})
    console.print(table)
    synthetic = runs[0][0].synthetic
    if synthetic:
        console.print("SYNTHETIC images: these numbers say nothing about any patient or hospital.")

    settings = {k: v for k, v in as_settings(config).items() if k not in LOCAL_SETTINGS}
    record: dict[str, Any] = {"machine": machine(), "seeds": options.seeds, "resplit": options.resplit}
    record |= {"synthetic": synthetic, "settings": settings, "rows": rows}
    if not options.resplit:  # one test set for all seeds: patients can be resampled
        tables = [[pd.read_parquet(run.folder / "predictions.parquet") for run in both] for both in runs]
        positive = load_checkpoint(runs[0][0].folder).info.positive_name
        record["patients"] = _by_patient(tables, positive, config.method, console)
    record["runs"] = [{**run.as_json(), "folder": run.folder.name} for both in runs for run in both]
    if options.record:
        options.record.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        console.print(f"recorded in {options.record}")


def _by_patient(
    pairs: list[list[pd.DataFrame]], positive: str | None, method: str, console: Console
) -> list[dict[str, Any]]:
    """AUROC with patient intervals, averaged over seeds, over each part and within each source of both classes."""
    first = pairs[0][0]
    if positive is None:
        return []
    parts = [(f"{split}, all sources", first["split"] == split) for split in ("test", "external")]
    for (split, source), rows in first.groupby(["split", "source"]):
        if split in ("test", "external") and rows["target"].nunique() > 1:
            parts.append((f"{split}, within {source}", (first["split"] == split) & (first["source"] == source)))
    table = Table(title="AUROC, mean over seeds, 95 % bootstrap over patients", title_justify="left")
    for heading in ("", "films", "patients", "erm", method, "difference", "detectable", "verdict"):
        table.add_column(heading, justify="right")
    found = []
    for name, chosen in parts:
        if not chosen.any():
            continue
        films = first[chosen]
        is_positive, patient = (films["target"] == positive).to_numpy(), films["patient"].to_numpy()
        erm, ours = (np.stack([both[i]["score"][chosen].to_numpy() for both in pairs], axis=1) for i in (0, 1))
        alone = [auroc_interval(is_positive, scores, patient) for scores in (erm, ours)]
        gap, detectable = auroc_difference(is_positive, ours, erm, patient)
        verdict = "better" if gap.low > 0 else "worse" if gap.high < 0 else "cannot conclude"
        counts = {"films": len(films), "patients": len(set(patient))}
        intervals = {"erm": alone[0], method: alone[1], "difference": gap}
        found.append(
            {"part": name, **counts, **{key: json_numbers(value._asdict()) for key, value in intervals.items()}}
            | json_numbers({"detectable": detectable})
            | {"verdict": verdict}
        )
        spans = [_span(interval, ".3f") for interval in alone]
        smallest = f"{detectable:.2f}" if np.isfinite(detectable) else ""
        table.add_row(name, *map(str, counts.values()), *spans, _span(gap, "+.3f"), smallest, verdict)
    console.print(table)
    return found


def _span(interval: Interval, form: str) -> str:
    if not np.isfinite(interval.estimate):
        return ""
    return f"{interval.estimate:{form}} ({interval.low:{form}} to {interval.high:{form}})"


if __name__ == "__main__":
    main(*OPTIONS)
