"""A checkpoint as a finished run leaves it, of a network that nobody trained, and films to score with it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from datasets.film.preprocessing import Preprocessing
from datasets.phantom import film as phantom
from datasets.sample import DatasetInfo
from models.classifier import Classifier, ModelConfig
from training.run.checkpoint import Checkpoint, save_checkpoint
from training.run.checkpoint_header import NAME

INFO = DatasetInfo("phantom", ("not covid", "covid"), ("north", "south"), "source", 1, synthetic=True)


def small_checkpoint(
    name: str = "test_resnet", size: int = 32, channels: int = 1, aspect: str = "stretch", **options: Any
) -> Checkpoint:
    """Its logits are spread out, and statistics of normalisation layers are no longer 0 and 1."""
    torch.manual_seed(0)
    config = ModelConfig(name, 2, channels, size, **options)
    model = Classifier(config)
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(8, channels, size, size) + 0.3)
        model.head.weight.mul_(20)
    return Checkpoint(
        model=config,
        preprocessing=Preprocessing(size, channels, aspect, mean=(0.45,) * channels, std=(0.25,) * channels),
        info=INFO,
        threshold=0.4375,
        temperature=1.75,
        settings={"method": "end", "epochs": 1},
        metrics={"test": {"auroc": 0.625, "leak": None, "n": 3}},
        versions={"end-cxr": "0.1.0", "torch": "2"},
        weights=model.state_dict(),
    )


def small_run(folder: Path, **options: Any) -> Path:
    """The folder of a run that holds the checkpoint alone."""
    folder.mkdir()
    save_checkpoint(small_checkpoint(**options), folder / NAME)
    return folder


def write_films(folder: Path) -> list[Path]:
    """Phantom films of several shapes: 8 and 16 bit PNG, JPEG, TIFF, and one with transparency."""
    folder.mkdir()
    films = []
    for number, (suffix, deep) in enumerate(
        (("png", False), ("png", True), ("jpg", False), ("tif", True), ("tiff", False), ("PNG", False))
    ):
        hospital = phantom.HOSPITALS[number % len(phantom.HOSPITALS)].name
        pixels = phantom.film(1, number, phantom.LABELS[number % 2], hospital, 96).pixels[
            : 96 - 9 * number, 5 * number :
        ]
        grey = (pixels * (65535 if deep else 255)).round().astype(np.uint16 if deep else np.uint8)
        films.append(folder / f"{number}.{suffix}")
        Image.fromarray(grey).save(films[-1])
    grey = Image.fromarray((pixels * 255).astype(np.uint8))
    Image.merge("LA", (grey, grey)).save(folder / "clear.png")
    return [*films, folder / "clear.png"]
