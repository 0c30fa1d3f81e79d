"""How fast a folder of DICOM films is scored: against its own parts measured alone, and against the plain MONAI pipeline."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Column, Table
from scipy.ndimage import zoom

from datasets.film.dicom import read_dicom, stored_values
from datasets.film.folder import LocalFolder
from datasets.film.preprocessing import Preprocessing
from datasets.phantom import film as phantom
from datasets.phantom.dicom_write import Exam, Scanner, dicom_film, save
from datasets.sample import DatasetInfo
from models.classifier import ModelConfig, build_classifier
from training.benchmark.timing import median_ms
from training.folder.shard import BATCH, FolderJob, ShardScorer, shards_of
from training.run.checkpoint import Checkpoint, save_checkpoint
from training.run.checkpoint_header import NAME
from training.run.report import machine, versions
from training.scoring.predict import Predictor

SIDE = 2048
MODEL, SIZE = "mobilenetv3_small_050", 224
SYNTAXES = {"uncompressed": ("explicit", 128), "JPEG 2000": ("jpeg 2000", 64)}


def dicom(repeats: int, workers: int) -> None:
    """Print a row a syntax: times of the parts, medians of `repeats`; films a second of the whole; and both ratios."""
    console = Console()
    console.print(f"{SIDE} x {SIDE} films of 12 bits, {MODEL} at {SIZE} px, {workers} decoding processes; {machine()}")
    headings = ("decode", "pixels", "forward", "allowed", "whole", "share", "MONAI", "ratio")
    table = Table("films", *(Column(heading, justify="right") for heading in headings))
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        run.mkdir()
        save_checkpoint(untrained(), run / NAME)
        for name, (syntax, films) in SYNTAXES.items():
            folder = Path(place) / name
            folder.mkdir()
            write_films(folder, syntax, films)
            sample = [path.read_bytes() for path in sorted(folder.iterdir())[:4]]
            decode, pipeline, forward = alone(sample, run, repeats)
            # The reading is spread over the processes; the forward pass, measured on all cores, comes on top of it.
            allowed = 1000 / ((decode + pipeline) / min(workers, os.cpu_count() or 1) + forward)
            whole = rate_of_whole(folder, run, workers)
            plain = rate_of_monai(folder, run, films // 4)
            rates = [f"{number:.1f}" for number in (decode, pipeline, forward, allowed, whole)]
            table.add_row(name, *rates, f"{100 * whole / allowed:.0f} %", f"{plain:.1f}", f"{whole / plain:.1f}")
    console.print(table)
    console.print(
        "decode, pixels (the rest of the reading), forward: milliseconds a film, alone. allowed: films a second that these "
        "leave room for. whole: films a second of the batch evaluation; share: whole / allowed. MONAI: films a second of "
        "LoadImage with PydicomReader, ScaleIntensity, Resize and one call a film, in one process. ratio: whole / MONAI.",
        highlight=False,
    )
    console.print(f"pydicom {versions()['pydicom']}, monai {versions()['monai']}")


def untrained() -> Checkpoint:
    """A checkpoint of random weights: as fast as a trained one."""
    model = ModelConfig(MODEL, 2, img_size=SIZE)
    info = DatasetInfo("covid", ("not covid", "covid"), ("a",), "source", 1, synthetic=True)
    return Checkpoint(
        model,
        Preprocessing(SIZE, 3),
        info,
        0.5,
        1.0,
        {"method": "erm"},
        {},
        versions(),
        build_classifier(model).state_dict(),
    )


def write_films(folder: Path, syntax: str, films: int) -> None:
    """Phantoms enlarged to detector size, each with grain of its own, for compression's sake."""
    scanner = Scanner("S1", "Lilliput Imaging", "Panel", "CR", "MONOCHROME2", 12, False, "window", syntax)
    small = [phantom.film(0, 3 * i, "normal", "north", 512).pixels for i in range(4)]
    for number in range(films):
        random = np.random.default_rng(number)
        grain = random.normal(0, 0.01, (SIDE, SIDE)).astype(np.float32)
        pixels = np.clip(zoom(small[number % 4], SIDE / 512, order=1) + grain, 0, 1)
        n = str(number)
        exam = Exam(f"phantom-{n}", f"PHANTOM^{n}", "F", 50, "PA", "North", f"A{n}", n, n)
        save(dicom_film(pixels, scanner, exam), folder / f"{number:04d}.dcm")


def alone(sample: list[bytes], run: Path, repeats: int) -> tuple[float, float, float]:
    """Milliseconds a film of decoding, of the rest of the reading (one thread), and of a forward pass (all cores)."""
    predictor = Predictor.load(run, "cpu")
    preprocessing = predictor.checkpoint.preprocessing

    def decode() -> None:
        for content in sample:
            stored_values(content)

    def read() -> None:
        for content in sample:
            preprocessing.pixels(read_dicom(content, key=b"key"))

    def forward() -> None:
        with torch.inference_mode():
            predictor.model(batch)

    batch = torch.randn(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    with one_thread():
        decoding, reading = median_ms(decode, repeats) / len(sample), median_ms(read, repeats) / len(sample)
    return decoding, reading - decoding, median_ms(forward, repeats) / BATCH


def rate_of_whole(folder: Path, run: Path, workers: int) -> float:
    """Films a second of the batch evaluation once its processes are there, which is a matter of seconds."""
    job = FolderJob(LocalFolder(folder), (run,), b"key" * 11, workers=workers)
    entries = list(job.folder.entries())
    with ShardScorer(job) as scorer:
        list(scorer.tables(shards_of(job, entries[: 2 * BATCH])))
        started = time.perf_counter()
        list(scorer.tables(shards_of(job, entries)))
        return len(entries) / (time.perf_counter() - started)


def rate_of_monai(folder: Path, run: Path, films: int) -> float:
    """Films a second of what MONAI's documentation shows: load, scale by the extremes, resize, one call a film."""
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Resize, ScaleIntensity

    model = Predictor.load(run, "cpu").model
    load = LoadImage(reader="PydicomReader", image_only=True)
    transform = Compose([load, EnsureChannelFirst(), ScaleIntensity(), Resize((SIZE, SIZE))])
    paths = sorted(folder.iterdir())[: films + 1]
    with torch.inference_mode():
        for number, path in enumerate(paths):
            if number == 1:  # the first call sets up readers
                started = time.perf_counter()
            model(torch.as_tensor(transform(path))[None].expand(-1, 3, -1, -1))
    return films / (time.perf_counter() - started)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread while inside, as in a decoding process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
