"""Regenerate the tables of the README: `python -m training.benchmark {cost,throughput,paired}`.

`cost` times EnD's terms against a Gram-matrix version and a training step, `throughput` times training with and without
them, `paired` trains a method beside ERM over several seeds and ends in the table of differences with intervals.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from training.commandline import Parser
from training.config import TrainConfig, as_settings, parse

PAIRED_METRICS = (
    ("test", "auroc"), ("test", "conflicting_accuracy"), ("test", "worst_group_accuracy"), ("test", "leak"),
    ("external", "auroc"),
)  # fmt: skip


def main(arguments: list[str]) -> None:
    """Run the benchmark that the command line names."""
    parser = Parser(prog="python -m training.benchmark", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cost = commands.add_parser("cost", help="time of the terms against batch, width and groups")
    cost.add_argument("--repeats", type=int, default=7, help="timings of each, of which the median counts")
    throughput = commands.add_parser("throughput", help="training with EnD against ERM, and the memory layouts")
    throughput.add_argument("--model", default="resnet18", help="timm backbone")
    throughput.add_argument("--img-size", type=int, default=224, help="px")
    throughput.add_argument("-b", "--batch-size", type=int, default=64, help="films per step")
    throughput.add_argument("--repeats", type=int, default=5, help="steps timed of each kind, in turn")
    paired = commands.add_parser(
        "paired", help="a method beside ERM over seeds; flags not listed here go to training.train"
    )
    paired.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="training seeds")
    paired.add_argument("--resplit", action="store_true", help="each seed draws its own split (its own phantom cohort)")
    paired.add_argument("--record", type=Path, help="also write the table and all runs to this JSON file")
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "paired":
        parser.error(f"unknown argument {rest[0]}")
    {"cost": _cost, "throughput": _throughput, "paired": lambda o: _paired(o, rest)}[options.command](options)


def machine() -> str:
    """What the numbers were measured on, in words."""
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{os.cpu_count()} CPU cores ({platform.machine()}){gpu}, torch {torch.__version__}, Python {platform.python_version()}"


def median_ms(action: Callable[[], object], repeats: int) -> float:
    """Median wall time of `action` in milliseconds, after one call to warm up."""
    action()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def _cost(options: argparse.Namespace) -> None:
    import torch
    from rich.table import Table
    from torch import Tensor
    from torch.nn import functional as F

    from models.classifier import ModelConfig, build_classifier
    from training.methods.end import disentangling_loss, entangling_loss

    def gram(features: Tensor, target: Tensor, bias: Tensor) -> Tensor:
        z = F.normalize(features, dim=1)
        cosines = z @ z.T
        upper = torch.ones_like(cosines, dtype=torch.bool).triu(1)
        perp = (bias[:, None] == bias) & upper
        par = (target[:, None] == target) & (bias[:, None] != bias) & upper
        by_bias = [cosines[perp & (bias == b)[:, None]].sum().abs() for b in bias.unique()]
        return torch.stack(by_bias).sum() / perp.sum() + (1 - cosines[par]).sum() / 2 / par.sum()

    console, generator = Console(), torch.Generator().manual_seed(0)
    console.print(f"Forward and backward of R_perp + R_par, median of {options.repeats}; {machine()}")
    table = Table()
    for heading in ("batch", "width", "targets x biases", "EnD signed, ms", "EnD absolute, ms", "Gram matrix, ms", "Gram / signed"):
        table.add_column(heading, justify="right")
    for size, width, targets, biases in (
        (64, 512, 2, 6), (256, 512, 2, 6), (1024, 512, 2, 6), (4096, 512, 2, 6),
        (256, 128, 10, 10), (256, 2048, 2, 6), (1024, 512, 10, 100),
    ):  # fmt: skip
        features = torch.randn(size, width, generator=generator).requires_grad_()
        target, bias = (torch.randint(n, (size,), generator=generator) for n in (targets, biases))

        def step(term: Callable[[], Tensor], features: Tensor = features) -> None:
            features.grad = None
            term().backward()

        def end(form: str, f: Tensor = features, t: Tensor = target, b: Tensor = bias, nt: int = targets, nb: int = biases) -> Tensor:
            return disentangling_loss(f, b, form, nb) + entangling_loss(f, t, b, nt, nb)

        signed = median_ms(lambda: step(lambda: end("signed")), options.repeats)
        absolute = median_ms(lambda: step(lambda: end("absolute")), options.repeats)
        naive = median_ms(lambda: step(lambda: gram(features, target, bias)), options.repeats)
        table.add_row(*map(str, (size, width, f"{targets} x {biases}")), *(f"{ms:.2f}" for ms in (signed, absolute, naive)), f"{naive / signed:.1f}")
    console.print(table)

    model = build_classifier(ModelConfig("resnet18", 2)).to(memory_format=torch.channels_last)
    image = torch.randn(64, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    target, bias = torch.randint(2, (64,)), torch.randint(6, (64,))
    whole = median_ms(lambda: F.cross_entropy(model(image).logits, target).backward(), max(2, options.repeats // 2))
    features = torch.randn(64, 512).requires_grad_()
    terms = median_ms(lambda: (disentangling_loss(features, bias, "signed", 6) + entangling_loss(features, target, bias, 2, 6)).backward(), options.repeats)
    console.print(f"resnet18, 224 px, batch 64, channels-last: step {whole:.0f} ms, terms {terms:.2f} ms = {100 * terms / whole:.3f} % of it")


def _throughput(options: argparse.Namespace) -> None:
    import torch

    from datasets.sample import DatasetInfo, Sample
    from models.classifier import ModelConfig, build_classifier
    from training.methods import METHODS, build_method

    info = DatasetInfo("phantom", ("no", "yes"), tuple("abcdef"), "source", 1, synthetic=True)
    size, side = options.batch_size, options.img_size
    batch = Sample(torch.randn(size, 3, side, side), torch.randint(2, (size,)), torch.randint(6, (size,)), torch.arange(size))
    steps: dict[str, Callable[[], None]] = {}
    for name, layout in (("erm", torch.channels_last), ("end", torch.channels_last), ("erm, nchw", torch.contiguous_format)):
        model = build_classifier(ModelConfig(options.model, 2, 3, side)).to(memory_format=layout)
        method = build_method(name.split(",")[0], METHODS[name.split(",")[0]].parameters(), info)
        optimiser = torch.optim.AdamW(model.parameters())
        image = batch.image.contiguous(memory_format=layout)

        def step(model: Any = model, method: Any = method, optimiser: Any = optimiser, image: Any = image) -> None:
            loss = torch.stack(list(method(model(image), batch).values())).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        steps[name] = step
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(options.repeats + 1):  # in turn, so that a change of the machine's speed meets all of them
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if repeat:
                times[name].append(time.perf_counter() - started)
    console = Console()
    console.print(f"{options.model}, {side} px, batch {size}, median of {options.repeats} training steps; {machine()}")
    for name, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(times["erm"], seconds, strict=True))
        console.print(f"{name:10} {size / statistics.median(seconds):7.1f} films/s, {ratio:.3f} x erm")


def _paired(options: argparse.Namespace, rest: list[str]) -> None:
    import numpy as np
    from rich.table import Table

    from training.bias.uncertainty import seed_interval
    from training.report import json_numbers

    console = Console()
    runs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for seed in options.seeds:
        split = ["--split-seed", str(seed)] if options.resplit else []
        config, parameters = parse([*rest, "--seed", str(seed), *split])
        if config.method == "erm":
            raise SystemExit("paired sets a method beside ERM: choose another --method")
        runs.append(_one_pair(dataclasses.replace(config, paired=True), parameters, console))

    table = Table(title=f"{config.method} against erm over {len(runs)} seeds; {machine()}", title_justify="left")
    for heading in ("", "erm", config.method, "difference", "95 % over seeds", "seeds in favour"):
        table.add_column(heading, justify="right")
    rows = []
    for part, name in PAIRED_METRICS:
        pair = np.array([[run["metrics"][part].get(name) for run in both] for both in runs], dtype=float)
        if np.isnan(pair).all():
            continue
        gaps = pair[:, 1] - pair[:, 0]
        interval = seed_interval(gaps)
        wanted = int(((gaps < 0) if name == "leak" else (gaps > 0)).sum())
        rows.append({"split": part, "metric": name, "erm": pair[:, 0].tolist(), config.method: pair[:, 1].tolist(), "difference": json_numbers(interval._asdict()), "in_favour": wanted})  # fmt: skip
        cells = [f"{pair[:, i].mean():.3f} ± {pair[:, i].std(ddof=1) if len(pair) > 1 else math.nan:.3f}" for i in (0, 1)]
        table.add_row(f"{part} {name.replace('_', ' ')}", *cells, f"{interval.estimate:+.3f}", f"{interval.low:+.3f} to {interval.high:+.3f}", f"{wanted}/{len(runs)}")
    console.print(table)

    record: dict[str, Any] = {"machine": machine(), "settings": as_settings(config, parameters), "seeds": options.seeds, "resplit": options.resplit, "rows": rows}  # fmt: skip
    record["settings"] = {k: v for k, v in record["settings"].items() if k not in ("data_dir", "output", "hash_key", "weights", "config")}
    if not options.resplit:
        tables = [[pd.read_parquet(Path(run["folder"]) / "predictions.parquet") for run in both] for both in runs]
        record["patients"] = _by_patient(tables, config.method, console)
    record["runs"] = [{**run, "folder": Path(run["folder"]).name} for both in runs for run in both]
    if options.record:
        options.record.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        console.print(f"recorded in {options.record}")


def _one_pair(config: TrainConfig, parameters: Any, console: Console) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both runs of one seed: those that the output folder holds with these very settings, else trained now."""
    import yaml

    from training.train import main as train

    wanted = as_settings(config, parameters)
    for folder in sorted(config.output.glob(f"*-{config.method}-*-s{config.seed}*")):
        report, settings = folder / "report.json", folder / "config.yaml"
        if report.is_file() and yaml.safe_load(settings.read_text(encoding="utf-8")) == wanted:
            runs = json.loads(report.read_text(encoding="utf-8"))["runs"]
            if len(runs) == 2:
                console.print(f"seed {config.seed}: found in {folder}")
                return runs[0], runs[1]
    train(config, parameters)
    return _one_pair(config, parameters, console)


def _by_patient(pairs: list[list[pd.DataFrame]], method: str, console: Console) -> list[dict[str, Any]]:
    """AUROC with patient intervals, averaged over seeds, over each part and within each source of both classes."""
    import numpy as np
    from rich.table import Table

    from training.bias.uncertainty import auroc_difference, auroc_interval
    from training.report import json_numbers

    first = pairs[0][0]
    positive = "covid" if "covid" in set(first["target"]) else None
    if positive is None:
        return []
    parts = [(f"{split}, all sources", first["split"] == split) for split in ("test", "external")]
    for (split, source), rows in first.groupby(["split", "source"]):
        if split in ("test", "external") and rows["target"].nunique() > 1:
            parts.append((f"{split}, within {source}", (first["split"] == split) & (first["source"] == source)))
    table = Table(title="AUROC by patient, mean over seeds, 95 % bootstrap over patients", title_justify="left")
    for heading in ("", "films", "patients", "erm", method, "difference", "detectable", "verdict"):
        table.add_column(heading, justify="right")
    found = []
    for name, chosen in parts:
        if not chosen.any():
            continue
        erm, ours = (np.stack([both[i]["score"][chosen].to_numpy() for both in pairs], axis=1) for i in (0, 1))
        is_positive, patient = (first["target"][chosen] == positive).to_numpy(), first["patient"][chosen].to_numpy()
        low, high = auroc_interval(is_positive, erm, patient), auroc_interval(is_positive, ours, patient)
        gap, detectable = auroc_difference(is_positive, ours, erm, patient)
        verdict = "cannot conclude" if not gap.low > 0 and not gap.high < 0 else "better" if gap.low > 0 else "worse"
        row = {"part": name, "films": int(chosen.sum()), "patients": len(set(patient)), "erm": json_numbers(low._asdict()), method: json_numbers(high._asdict()), "difference": json_numbers(gap._asdict()), **json_numbers({"detectable": detectable}), "verdict": verdict}  # fmt: skip
        found.append(row)
        spans = [f"{i.estimate:.3f} ({i.low:.2f} to {i.high:.2f})" if np.isfinite(i.estimate) else "" for i in (low, high)]
        shown = f"{gap.estimate:+.3f} ({gap.low:+.2f} to {gap.high:+.2f})" if np.isfinite(gap.estimate) else ""
        table.add_row(name, str(row["films"]), str(row["patients"]), *spans, shown, f"{detectable:.2f}" if np.isfinite(detectable) else "", verdict)
    console.print(table)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
