"""What several tests start from, made once: two tiny runs, a folder of phantom DICOM films, drawn digits."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from datasets.phantom.folder import write_folder


@pytest.fixture(scope="session")
def folder_runs(tmp_path_factory: pytest.TempPathFactory, folder_key: Path) -> tuple[Path, Path]:
    """ERM and EnD, one epoch each."""
    from training.train import main as train

    root = tmp_path_factory.mktemp("folder_runs")
    small = ["--films", "120", "--model", "test_resnet", "--img-size", "32", "--epochs", "1", "--in-chans", "1"]
    train(["--dataset", "phantom", *small, "--paired", "--output", str(root), "--hash-key", str(folder_key)])
    return root / "phantom-erm-test_resnet-s0", root / "phantom-end-test_resnet-s0"


@pytest.fixture(scope="session")
def film_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 films at 64 pixels of six hospitals, labels.csv, and what an archive also holds; never written to by a test."""
    place = tmp_path_factory.mktemp("film_folder") / "films"
    write_folder(place, 40, 0.9, 1, 64)
    return place


@pytest.fixture(scope="session")
def folder_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key file, so that the hashes of all outputs are the same."""
    file = tmp_path_factory.mktemp("folder_key") / "key"
    file.write_text(bytes(range(32)).hex())
    return file


@pytest.fixture(scope="session")
def drawn_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits in Pillow's own font at random places, in MNIST's files."""
    folder, rng = tmp_path_factory.mktemp("digits"), np.random.default_rng(0)
    glyphs = []
    for label in range(10):
        page = Image.new("L", (28, 28))
        ImageDraw.Draw(page).text((0, 0), str(label), fill=255, font_size=16)
        glyphs.append(np.asarray(page))
    for prefix, count in (("train", 1600), ("t10k", 1200)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.zeros((count, 28, 28), np.uint8)
        for image, label, (right, down) in zip(images, labels, rng.integers(3, 12, (count, 2)), strict=True):
            image[down:, right:] = glyphs[label][: 28 - down, : 28 - right]
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
    return folder


def write_idx(path: Path, values: np.ndarray) -> None:
    path.write_bytes(struct.pack(f">{values.ndim + 1}I", 0x800 + values.ndim, *values.shape) + values.tobytes())
